"""Unsupervised AutoFuse on ACDC for two CPU cores: half the paper's width, a coarser grid, at most an hour of training.

    python -m autofuse_jax.main --config=configs/cardiac_cpu_unsup.py --config.data.root=DIR

79.8 % DSC and 0.000 % NJD on 10 validation patients. The recorded run (experiments/results/acdc_cpu_unsup.json) was
ended early; its best parameters are those of step 1,600 of 2,800, after 27 minutes.
"""

import ml_collections

from autofuse_jax.configs import cardiac_unsup


def get_config() -> ml_collections.ConfigDict:
    """Return the config; `data.root` must be given."""
    config = cardiac_unsup.get_config()
    # 3 x 3 x 6.3 mm: ACDC's slices are 5 to 10 mm thick, and the motion is smooth. Scores are on the prepared grid.
    config.data.grid = (64, 64, 16)
    config.data.augmentation.rotation = 15.0
    config.data.augmentation.scale = 0.1
    config.data.augmentation.shift = 0.03
    config.data.augmentation.gamma = 0.2
    config.model.base_channels = 8
    # Fewer voxels to a displacement than at full size, so smoothness needs less weight for the same motion.
    config.loss.kl = 0.003
    config.loss.inverse = 1.0
    config.optimizer.learning_rate = 4e-4
    config.optimizer.schedule = 'cosine'
    config.optimizer.warmup_steps = 50
    config.optimizer.clip_norm = 1.0
    # Both directions of ED and ES only: there are no other frames in the flat ACDC layout.
    config.phases.phase_1.steps = 0
    config.phases.phase_2.steps = 2_800
    config.training.log_every = 50
    config.training.validate_every = 200
    config.training.checkpoint_every = 200
    config.training.max_minutes = 60.0
    config.evaluation.split = 'validation'
    return config
