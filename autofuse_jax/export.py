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

from autofuse_jax.choices import PLATFORMS
from autofuse_jax.commands.command_line import command_parser, run_parsed

PROGRAM = 'python -m autofuse_jax.export'


def main(argv: Sequence[str] | None = None, program: str = PROGRAM) -> int:
    """Run the command line.

    Args:
        argv: Arguments without the program's name; None takes those of the process.
        program: Name of the program in help and records.

    Returns:
        The exit status: 0, or 2 after an error that the user can act on.
    """
    return run_parsed(_parser(program), _run, argv)


def _run(options: argparse.Namespace) -> int:
    from autofuse_jax.commands.export import run

    return run(options)


def _parser(program: str) -> argparse.ArgumentParser:
    parser = command_parser(__doc__, PROGRAM, program)
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
        metavar='NAME,..',
        help=f'what StableHLO is for; default {",".join(PLATFORMS)}',
    )
    parser.add_argument('--check', action='store_true', help='run it and JAX on a random pair, and compare')
    return parser


def _size(text: str) -> tuple[int, int, int]:
    depth, height, width = (int(part) for part in text.split(','))
    return depth, height, width


_size.__name__ = 'three whole numbers D,H,W'

if __name__ == '__main__':
    sys.exit(main())
