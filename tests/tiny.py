"""A run that is small enough for tests: two channels, phantoms of 32 x 32 x 16 voxels, a few steps."""

from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from autofuse_jax.configs import default

# The same numbers as command line arguments, for tests that start the program.
TINY = {
    'data.source': 'phantom',
    'data.phantom.train': 2,
    'data.phantom.validation': 1,
    'data.phantom.test': 1,
    'data.phantom.frames': 4,
    'data.phantom.shape': (32, 32, 16),
    'model.base_channels': 2,
    'model.num_classes': 4,
    'optimizer.learning_rate': 1e-3,
    'phases.phase_1.steps': 4,
    'phases.phase_1.pairs': 'semi',
    'phases.phase_2.steps': 5,
    'training.devices': 1,
    'training.log_every': 2,
    'training.validate_every': 6,
    'training.checkpoint_every': 3,
    'evaluation.pictures': 1,
}


def tiny_config(root: Path, **fields) -> ConfigDict:
    """Return the tiny config with its phantom in `root`; `fields` use '__' for dots."""
    return updated(default.get_config(), TINY, root, fields)


def tiny_arguments(root: Path, workdir: Path, **fields) -> list[str]:
    """Return command line arguments for the tiny config."""
    return arguments_of('configs/default.py', TINY, root, workdir, fields)


def updated(config: ConfigDict, values: dict[str, Any], root: Path, fields: dict[str, Any]) -> ConfigDict:
    """Put `values`, the place of the phantom and then `fields`, with '__' for dots, into a config."""
    config.update_from_flattened_dict(values | {'data.root': str(root)})
    config.update_from_flattened_dict({name.replace('__', '.'): value for name, value in fields.items()})
    return config


def arguments_of(file: str, values: dict[str, Any], root: Path, workdir: Path, fields: dict[str, Any]) -> list[str]:
    """Return the same as command line arguments for a config file."""
    values = values | {'data.root': str(root)} | {name.replace('__', '.'): value for name, value in fields.items()}
    overrides = [f'--config.{name}={str(value).replace(" ", "")}' for name, value in values.items()]
    return [f'--config={file}', f'--workdir={workdir}', *overrides]
