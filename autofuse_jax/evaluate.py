"""Score registrations under a protocol and compare runs: `python -m autofuse_jax.evaluate RUN [RUN ...] --out=DIR`.

A RUN is a folder of results of `register` (of one pair or of many), a folder of Learn2Reg displacement fields, a
training folder or released weights (with --data), or the folder of an earlier evaluation. Two or more runs are compared
on the pairs that all of them have.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from autofuse_jax.choices import DEFAULT_PROTOCOL, PROTOCOLS, SPLITS
from autofuse_jax.commands.command_line import command_parser, run_parsed

DEFAULT_OUT = 'evaluation'
PROGRAM = 'python -m autofuse_jax.evaluate'


def main(argv: Sequence[str] | None = None, program: str = PROGRAM) -> int:
    """Run the command line.

    Args:
        argv: Arguments without the program's name; None takes those of the process.
        program: Name of the program in help and records.

    Returns:
        The exit status: 0, 2 after bad input, 130 after an interrupt.
    """
    return run_parsed(_parser(program), _run, argv)


def _run(options: argparse.Namespace) -> None:
    from autofuse_jax.commands.evaluate import run

    run(options)


def _parser(program: str) -> argparse.ArgumentParser:
    parser = command_parser(__doc__, PROGRAM, program)
    parser.add_argument('runs', nargs='+', type=Path, metavar='RUN', help='what to score; name runs before options')
    parser.add_argument(
        '--out', type=Path, default=Path(DEFAULT_OUT), metavar='DIR', help=f'where tables go; default {DEFAULT_OUT}'
    )
    parser.add_argument(
        '--protocol',
        nargs='+',
        action='extend',
        metavar='NAME|FILE',
        help=f'{", ".join(PROTOCOLS)}, or a JSON file; several show the same pairs side by side; without it '
        f'{DEFAULT_PROTOCOL}',
    )
    parser.add_argument('--data', type=Path, metavar='DIR', help='images and labels, or prepared data for a network')
    parser.add_argument('--dataset-json', type=Path, metavar='FILE', help='data set of Learn2Reg fields')
    parser.add_argument(
        '--split',
        choices=SPLITS,
        help='split of prepared data to register with a network; default: that of the run, else test',
    )
    parser.add_argument('--names', nargs='+', metavar='NAME', help='what tables call the runs')
    parser.add_argument('--reference', metavar='NAME', help='the run that others are compared with; default the first')
    parser.add_argument('--overwrite', action='store_true', help='replace an earlier evaluation in --out')
    return parser


if __name__ == '__main__':
    sys.exit(main())
