"""Unsupervised AutoFuse-Trans on ACDC as in the paper: Swin stages in every branch, schedule of cardiac_unsup.py.

    python -m autofuse_jax.main --config=configs/cardiac_trans_unsup.py --config.data.root=DIR

Made for an accelerator. The paper reports 80.2 % DSC and 0.045 % NJD on its test set.
"""

import ml_collections

from autofuse_jax.configs import cardiac_unsup, default


def get_config() -> ml_collections.ConfigDict:
    """Return the config; `data.root` must be given."""
    config = cardiac_unsup.get_config()
    config.method = 'autofuse_trans'
    config.model = default.autofuse_trans_model()
    config.lock()
    return config
