"""Unsupervised AutoFuse on brains as in the paper: 100,000 steps on any two subjects of the training set.

    python -m autofuse_jax.main --config=configs/brain_unsup.py --config.data.root=DIR

Made for an accelerator. The paper trains on OASIS, ADNI, ABIDE, ADHD and IXI (join them with `python -m
autofuse_jax.prepare --dataset=joined`) and reports 80.8 % DSC and 0.025 % NJD on OASIS, over its 35 structures.
"""

import ml_collections

from autofuse_jax.configs import default


def get_config() -> ml_collections.ConfigDict:
    """Return the config; `data.root` must be given."""
    config = default.get_config()
    config.data.source = 'prepared'
    config.phases.phase_1.steps = 100_000
    config.phases.phase_1.pairs = 'inter'
    config.phases.phase_2.steps = 0
    config.evaluation.pairs = 'inter_fixed'
    return config
