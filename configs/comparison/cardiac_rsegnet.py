"""RSegNet on ACDC, with labels on part of the data."""

import ml_collections

from configs.comparison.presets import CARDIAC, comparison_config


def get_config() -> ml_collections.ConfigDict:
    """Return the config; `data.root` must be given."""
    return comparison_config(CARDIAC, 'rsegnet')
