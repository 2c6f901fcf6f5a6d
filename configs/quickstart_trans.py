"""A small semi-supervised AutoFuse-Trans on the synthetic cine phantom, like quickstart.py.

    python -m autofuse_jax.main --config=configs/quickstart_trans.py --workdir=runs/quickstart_trans

No data needed; Swin stages in every branch, a quarter of the paper's width.
"""

import ml_collections

from autofuse_jax.configs import default, quickstart


def get_config() -> ml_collections.ConfigDict:
    """Return the config."""
    config = quickstart.get_config()
    config.method = 'autofuse_trans'
    config.model = default.autofuse_trans_model()
    config.model.base_channels = 8
    config.model.num_classes = 4
    config.lock()
    return config
