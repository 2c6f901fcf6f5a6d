"""LKU-Net (16) on ACDC."""

import ml_collections

from configs.comparison.presets import CARDIAC, comparison_config


def get_config() -> ml_collections.ConfigDict:
    """Return the config; `data.root` must be given."""
    return comparison_config(CARDIAC, 'lku_net_16')
