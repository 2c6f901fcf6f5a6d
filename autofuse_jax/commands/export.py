"""What `export` does: write a network in a form that runs without this package, and compare it with JAX."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from autofuse_jax.deployment.artefacts import check_target, export_model, load_exported, record_of
from autofuse_jax.errors import UserError
from autofuse_jax.training.run_parameters import read_run
from autofuse_jax.weights.pretrained import RegistrationModel, load_model

# What an exported network may differ from JAX by, in voxels.
TOLERANCE = 1e-3
MIB = 2**20


def read_network(path: Path) -> RegistrationModel:
    """Read a network from weights in the released format or from the folder of a training run.

    Raises:
        UserError: Something is missing or damaged.
    """
    return RegistrationModel(*read_run(path)) if path.is_dir() else load_model(path)


def largest_difference(model: RegistrationModel, path: Path, size: Sequence[int]) -> float:
    """Run an exported network and JAX on a random pair.

    Args:
        model: The exported model.
        path: The exported network.
        size: (D, H, W) of the images.

    Returns:
        The largest difference of displacements, in voxels.
    """
    images = np.random.default_rng(0).random((2, *size), dtype=np.float32)
    displacement = load_exported(path).register(*images).displacement
    return float(np.abs(displacement - model.register(*images).displacement).max())


def run(options: argparse.Namespace) -> int:
    """Export a network, and check it where that is wanted.

    Args:
        options: Options of `autofuse_jax.export`.

    Returns:
        The exit status.

    Raises:
        UserError: The weights cannot be read, the target cannot be written here, or the check fails.
    """
    check_target(options.to)
    model = read_network(options.weights)
    record = export_model(model, options.to, options.size, options.platforms)
    beside = [*record['sha256'], record_of(options.to).name]
    total = sum((options.to.parent / name).stat().st_size for name in beside) / MIB
    print(f'{model.description.method}, {model.num_parameters:,} parameters, images of {_times(record["size"])} voxels')
    if options.check:
        difference = largest_difference(model, options.to, options.size)
        print(f'largest difference from JAX on a random pair: {difference:.1e} voxels')
        # Not `>`, which lets NaN pass.
        if not difference <= TOLERANCE:
            raise UserError(
                f'{options.to} differs from JAX by {difference:.1e} voxels',
                expected=f'at most {TOLERANCE:g}',
                fix='report it, with the versions in the JSON beside the file',
            )
    print(f'written: {", ".join(str(options.to.parent / name) for name in beside)} ({total:.1f} MiB)')
    return 0


def _times(size: Sequence[int]) -> str:
    return ' x '.join(map(str, size))
