"""A run of a network that compiles in seconds, for tests of the trainer: random draws, labels and two phases.

VoxelMorph-diff samples its velocity in training, and with a Dice term it looks at labels. As a config file, because
the command line cannot choose a method.
"""

from pathlib import Path

from ml_collections import ConfigDict

from autofuse_jax.configs import default
from autofuse_jax.methods.registry import section_options
from tests.tiny import TINY, arguments_of, updated

METHOD = 'voxelmorph_diff'
LIGHT = {name: value for name, value in TINY.items() if name != 'model.num_classes'} | {
    'loss.num_classes': 4,
    'loss.dice': 1.0,
}


def get_config() -> ConfigDict:
    """Return the default config with the method and the sections that belong to it."""
    config = default.get_config().copy_and_resolve_references().unlock()
    config.method = METHOD
    for section in ('model', 'loss', 'inference'):
        config[section] = ConfigDict(section_options(METHOD, section))
    return config.lock()


def light_config(root: Path, **fields) -> ConfigDict:
    """Return the light config with its phantom in `root`; `fields` use '__' for dots."""
    return updated(get_config(), LIGHT, root, fields)


def light_arguments(root: Path, workdir: Path) -> list[str]:
    """Return command line arguments for the light config."""
    return arguments_of('tests/light.py', LIGHT, root, workdir, {})
