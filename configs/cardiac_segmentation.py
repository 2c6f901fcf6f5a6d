"""The single branch of the semi-supervised AutoFuse on ACDC alone, as a segmenter: the first part of training on CPU.

    python -m autofuse_jax.main --config=configs/cardiac_segmentation.py --config.data.root=DIR

Parts of 96 x 96 x 16 voxels first, a quarter of a volume and of its time, then whole volumes. Other phases
start from what it learns, see `config.weights`.
"""

import ml_collections

from configs import cardiac_semi


def get_config() -> ml_collections.ConfigDict:
    """Return the config; `data.root` must be given."""
    config = cardiac_semi.get_config()
    # The images in the plane of their slices at 1.5 mm, where they are segmented; the motion at 3 mm.
    config.model.base_channels = 16
    config.model.fine_channels = 8
    config.model.fusion_channels = 16
    config.model.fusion_pooling = (2, 2, 1)
    config.model.thin_levels = 2
    config.model.background_in_padding = True
    config.data.augmentation.rotation = 30.0
    config.data.augmentation.scale = 0.15
    config.data.augmentation.gamma = 0.4
    config.loss.segmentation_phases = ('phase_0', 'phase_1')
    config.phases.phase_0 = ml_collections.ConfigDict(
        {'steps': 3_000, 'pairs': 'labelled_frames', 'crop': (96, 96, 16)}
    )
    config.phases.phase_1 = ml_collections.ConfigDict({'steps': 500, 'pairs': 'labelled_frames', 'crop': (0, 0, 0)})
    config.phases.phase_2.steps = 0
    config.optimizer.learning_rate = 4e-3
    set_recipe(config)
    return config


def set_recipe(config: ml_collections.ConfigDict) -> None:
    """Set how a branch that segments is trained, whatever it segments."""
    # Its bias alone has a long way to go: most voxels are background.
    config.optimizer.multiples = (('segmentation_head', 4.0),)
    config.optimizer.average_decay = 0.99
    config.optimizer.schedule = 'cosine'
    config.optimizer.warmup_steps = 100
    config.optimizer.clip_norm = 1.0
    config.training.log_every = 50
    config.training.validate_every = 10_000
    config.training.checkpoint_every = 100
    config.evaluation.split = 'validation'
