"""Write a trained network in a form that runs without this package, as an OpenVINO graph also without JAX.

    python -m autofuse_jax.export --weights=params.npz --size=128,128,32 --to=model.stablehlo --platforms=cpu,cuda,tpu
    python -m autofuse_jax.export --weights=runs/semi --size=128,128,32 --to=model.xml --check

--weights is an npz in the released format (autofuse_jax.port_weights) or the folder of a training run, of which the
best parameters are taken. The suffix of --to says what is written: .stablehlo is a program that JAX reads on CPU, GPU
and TPU, .xml with its .bin is a graph of OpenVINO for CPUs. A JSON beside it says what goes in and what comes out.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from autofuse_jax.deployment.artefacts import check_target, export_model, load_exported, record_of
from autofuse_jax.deployment.stablehlo import PLATFORMS
from autofuse_jax.errors import UserError, run_command
from autofuse_jax.training.run_parameters import read_run
from autofuse_jax.weights.pretrained import RegistrationModel, load_model

# What an exported network may differ from JAX by, in voxels.
TOLERANCE = 1e-3
MIB = 2**20


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: Arguments without the program's name; None takes those of the process.

    Returns:
        The exit status: 0, or 2 after an error that the user can act on.
    """
    options = _parser().parse_args(argv)
    return run_command(lambda: _run(options))


def read_network(path: Path) -> RegistrationModel:
    """Read a network from weights in the released format or from the folder of a training run.

    Raises:
        UserError: Something is missing or damaged.
    """
    return RegistrationModel(*read_run(path)) if path.is_dir() else load_model(path)


def largest_difference(model: RegistrationModel, path: Path, size: Sequence[int]) -> float:
    """Run an exported network and JAX on a random pair.

    Args:
        model: What was exported.
        path: The exported network.
        size: (D, H, W) of the images.

    Returns:
        The largest difference of displacements, in voxels.
    """
    images = np.random.default_rng(0).random((2, *size), dtype=np.float32)
    displacement = load_exported(path).register(*images).displacement
    return float(np.abs(displacement - model.register(*images).displacement).max())


def _run(options: argparse.Namespace) -> int:
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='python -m autofuse_jax.export',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--weights', type=Path, required=True, metavar='FILE', help='npz with its JSON, or a run')
    parser.add_argument(
        '--size',
        type=_size,
        required=True,
        metavar='D,H,W',
        help='of the padded images, multiples of 16',
    )
    parser.add_argument('--to', type=Path, required=True, metavar='FILE', help='NAME.stablehlo or NAME.xml')
    parser.add_argument(
        '--platforms',
        type=lambda text: tuple(text.split(',')),
        default=PLATFORMS,
        metavar='NAME,..',
        help=f'what StableHLO is for; default {",".join(PLATFORMS)}',
    )
    parser.add_argument('--check', action='store_true', help='run it and JAX on a random pair, and compare')
    return parser


def _size(text: str) -> tuple[int, int, int]:
    depth, height, width = (int(part) for part in text.split(','))
    return depth, height, width


_size.__name__ = 'three whole numbers D,H,W'


def _times(size: Sequence[int]) -> str:
    return ' x '.join(map(str, size))


if __name__ == '__main__':
    sys.exit(main())
