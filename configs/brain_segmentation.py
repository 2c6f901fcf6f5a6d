"""The single branch of the semi-supervised AutoFuse on brains of 2 mm voxels alone, as a segmenter, on CPU.

    python -m autofuse_jax.prepare --dataset=folder --source=MALC2012 --labels=neuromorphometrics --align=none \\
        --spacing=2,2,2 --shape=96,96,96 --brain-extraction=none --out=DIR
    python -m autofuse_jax.main --config=configs/brain_segmentation.py --config.data.root=DIR

Parts of 64 x 64 x 64 voxels first, a third of a volume, then whole volumes. Brains are left where they lie, as
`register` sees them. Other phases start from what it learns, see `config.weights`.
"""

import ml_collections

from configs import brain_semi, cardiac_segmentation


def get_config() -> ml_collections.ConfigDict:
    """Return the config; `data.root` must be given."""
    config = brain_semi.get_config()
    # Segmented at 2 mm, registered at 4: what is finer is left to instance optimisation.
    config.model.base_channels = 16
    config.model.fine_channels = 12
    config.model.fusion_channels = 16
    config.model.fusion_pooling = (2, 2, 2)
    config.model.background_in_padding = True
    config.data.augmentation.rotation = 15.0
    config.data.augmentation.scale = 0.1
    config.data.augmentation.gamma = 0.4
    config.data.augmentation.elastic = 0.3
    config.loss.segmentation_phases = ('phase_0', 'phase_1')
    config.phases.phase_0 = ml_collections.ConfigDict(
        {'steps': 2_500, 'pairs': 'labelled_frames', 'crop': (64, 64, 64)}
    )
    config.phases.phase_1.steps = 300
    config.phases.phase_1.pairs = 'labelled_frames'
    config.phases.phase_2.steps = 0
    config.optimizer.learning_rate = 2e-3
    cardiac_segmentation.set_recipe(config)
    config.optimizer.warmup_steps = 50
    config.training.log_every = 25
    return config
