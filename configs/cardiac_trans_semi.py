"""Semi-supervised AutoFuse-Trans on ACDC: the schedule of cardiac_semi.py.

    python -m autofuse_jax.main --config=configs/cardiac_trans_semi.py --config.data.root=DIR

Made for an accelerator. The paper reports 86.2 % DSC and 0.047 % NJD on its test set. It describes Swin stages in every
branch; the released network, and this config, have convolutional single branches. For the form of the paper add
--config.model.single_branch=swin.
"""

import ml_collections

from autofuse_jax.configs import cardiac_semi, default


def get_config() -> ml_collections.ConfigDict:
    """Return the config; `data.root` must be given."""
    config = cardiac_semi.get_config()
    config.method = 'autofuse_trans'
    config.model = default.autofuse_trans_model()
    config.model.num_classes = 4
    config.model.single_branch = 'convolutional'
    config.lock()
    return config
