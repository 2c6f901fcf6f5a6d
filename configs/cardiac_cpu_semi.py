"""Semi-supervised AutoFuse on ACDC for two CPU cores: half the paper's width, a coarser grid, at most an hour of training.

    python -m autofuse_jax.main --config=configs/cardiac_cpu_semi.py --config.data.root=DIR

The recorded run and its scores are in experiments/results/.
"""

import ml_collections

from configs import cardiac_cpu_unsup


def get_config() -> ml_collections.ConfigDict:
    """Return the config; `data.root` must be given."""
    config = cardiac_cpu_unsup.get_config()
    config.model.num_classes = 4
    config.phases.phase_2.steps = 2_200
    return config
