"""MidFuse on brains."""

import ml_collections

from configs.comparison.presets import BRAIN, comparison_config


def get_config() -> ml_collections.ConfigDict:
    """Return the config; `data.root` must be given."""
    return comparison_config(BRAIN, 'mid_fuse')
