"""Unsupervised AutoFuse on ACDC for two CPU cores: half the paper's width, a coarser grid, an hour of training.

    python -m autofuse_jax.main --config=configs/cardiac_cpu_unsup.py --config.data.root=DIR --workdir=runs/cardiac_cpu_unsup
"""

import ml_collections

from configs import default


def get_config() -> ml_collections.ConfigDict:
    """Return the config; `data.root` must be given."""
    config = default.get_config()
    # 2 x 2 x 6.3 mm: ACDC's slices are 5 to 10 mm thick, so resolution is spent within the slices.
    config.data.grid = (96, 96, 16)
    config.model.base_channels = 8
    config.optimizer.learning_rate = 1e-3
    config.optimizer.schedule = 'cosine'
    config.optimizer.warmup_steps = 50
    config.optimizer.clip_norm = 5.0
    config.phases.phase_1.steps = 0
    config.phases.phase_2.steps = 3_000
    config.training.log_every = 20
    config.training.validate_every = 250
    config.training.checkpoint_every = 250
    config.training.max_minutes = 60.0
    config.evaluation.split = 'validation'
    return config
