"""Say what a report of a problem needs: versions, devices, and what the headers of images and transforms hold.

    python -m autofuse_jax.describe
    python -m autofuse_jax.describe fixed.nii.gz moving.nii.gz forward_itk.nii.gz

The text is made to be pasted into an issue. It holds no voxel values, no free text of headers and no folders; names of
files it does hold, so rename files that are called after patients.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from autofuse_jax.command_line import command_parser, run_parsed

PROGRAM = 'python -m autofuse_jax.describe'


def main(argv: Sequence[str] | None = None, program: str = PROGRAM) -> int:
    """Run the command line.

    Args:
        argv: Arguments without the program's name; None takes those of the process.
        program: What the help calls the program.

    Returns:
        The exit status: 0, also where something cannot be described, which is then said.
    """
    return run_parsed(_parser(program), _run, argv)


def _run(options: argparse.Namespace) -> None:
    from autofuse_jax.commands.describe import run

    run(options)


def _parser(program: str) -> argparse.ArgumentParser:
    parser = command_parser(__doc__, PROGRAM, program)
    parser.add_argument('files', nargs='*', type=Path, metavar='FILE', help='images, label maps or transforms')
    parser.add_argument('--json', action='store_true', help='print JSON instead of text')
    return parser


if __name__ == '__main__':
    sys.exit(main())
