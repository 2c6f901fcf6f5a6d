"""Any row of the comparison on small brain structures: hippocampi of the Medical Segmentation Decathlon.

    python -m autofuse_jax.main --config=configs/comparison/hippocampus.py:voxelmorph --config.data.root=DIR

The name behind the colon is one of configs/comparison/rows.py.
"""

import ml_collections
from autofuse_jax.configs.comparison.presets import HIPPOCAMPUS, comparison_config


def get_config(row: str = 'autofuse') -> ml_collections.ConfigDict:
    """Return the config of a row; `data.root` must be given."""
    return comparison_config(HIPPOCAMPUS, row)
