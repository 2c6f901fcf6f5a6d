"""The configs that come with the package: `from autofuse_jax.configs import quickstart`.

In a checkout they lie in configs/ beside the package. An installed package holds that folder as autofuse_jax/configs/,
which Python then imports instead of this module.
"""

from pathlib import Path

__path__ = [str(Path(__file__).resolve().parents[1] / 'configs')]
