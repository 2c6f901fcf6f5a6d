"""AutoFuse without ELK on ACDC."""

import ml_collections

from configs.comparison.presets import CARDIAC, comparison_config


def get_config() -> ml_collections.ConfigDict:
    """Return the config; `data.root` must be given."""
    return comparison_config(CARDIAC, 'autofuse_no_elk')
