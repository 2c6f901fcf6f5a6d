"""Prepare a data set for training: `python -m autofuse_jax.prepare --dataset=acdc --source=DIR --out=DIR`.

Cardiac volumes are resampled to one voxel size, cropped or padded to one shape and scaled to [0, 1]. Brains are aligned
to a template first, and keep their original labels beside the training classes. The output folder holds one npz file
per frame and manifest.json. An interrupted run continues where it stopped.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from autofuse_jax.choices import DATA_SETS, EXTRACTIONS, JOINED, LABEL_MEANINGS, SIMILARITIES, TEMPLATE_ALIGNMENTS
from autofuse_jax.commands.command_line import add_part_option, command_parser, run_parsed
from autofuse_jax.errors import CONTINUES

PROGRAM = 'python -m autofuse_jax.prepare'


def main(argv: Sequence[str] | None = None, program: str = PROGRAM) -> int:
    """Run the command line.

    Args:
        argv: Arguments without the program's name; None takes those of the process.
        program: Name of the program in help and records.

    Returns:
        The exit status: 0, 2 after bad input (the good subjects are prepared nevertheless), 130 after an interrupt.
    """
    return run_parsed(_parser(program), _run, argv, lambda _: CONTINUES)


def _run(options: argparse.Namespace) -> int:
    from autofuse_jax.commands.prepare import run

    return run(options)


def _parser(program: str) -> argparse.ArgumentParser:
    parser = command_parser(__doc__, PROGRAM, program)
    parser.add_argument('--dataset', required=True, choices=sorted(DATA_SETS), help='which data set the source is')
    parser.add_argument(
        '--source',
        required=True,
        type=Path,
        action='append',
        metavar='DIR',
        help=f'the data set as it was downloaded; with --dataset={JOINED} a prepared one, and --source is repeated',
    )
    parser.add_argument('--out', required=True, type=Path, metavar='DIR', help='where the prepared data goes')
    parser.add_argument('--splits', type=Path, metavar='FILE', help='JSON file with the subjects of each split')
    parser.add_argument(
        '--workers', type=_positive(int), metavar='N', help='processes; default: all cores for ACDC, 1 for brains'
    )
    add_part_option(parser, 'subjects; the last part joins the manifests of all')
    parser.add_argument('--shape', type=_three(int), metavar='D,H,W', help='voxels of the prepared grid')
    parser.add_argument('--spacing', type=_three(float), metavar='D,H,W', help='voxel size of that grid in millimetres')
    parser.add_argument('--overwrite', action='store_true', help='replace frames prepared with other settings')
    brains = parser.add_argument_group('brains')
    brains.add_argument('--template', type=Path, metavar='FILE', help='skull-stripped template; default: MNI-152')
    brains.add_argument(
        '--align', choices=TEMPLATE_ALIGNMENTS, help="to the template; default: affine, none for the authors' npz"
    )
    brains.add_argument('--similarity', choices=SIMILARITIES, default='ncc', help='what the alignment maximises')
    brains.add_argument(
        '--labels', choices=LABEL_MEANINGS, help='what the label ids mean; default: by data set, or ids'
    )
    brains.add_argument('--label-table', type=Path, metavar='FILE', help='JSON: original id to name and training class')
    brains.add_argument('--brain-extraction', choices=EXTRACTIONS, help='default: auto for images with skull, or none')
    brains.add_argument(
        '--no-fit', action='store_true', help='leave brains alone of which the grid cuts off more than 0.1 %%'
    )
    return parser


def _positive(kind: type) -> Callable[[str], Any]:
    def parse(text: str) -> Any:
        value = kind(text)
        if not 0 < value < float('inf'):
            raise argparse.ArgumentTypeError(f'{text} is not a positive number')
        return value

    parse.__name__ = kind.__name__
    return parse


def _three(kind: type) -> Callable[[str], tuple]:
    def parse(text: str) -> tuple:
        values = tuple(_positive(kind)(part) for part in text.split(','))
        if len(values) != 3:
            raise argparse.ArgumentTypeError(f'{text} is not three numbers such as 128,128,32')
        return values

    parse.__name__ = f'three {kind.__name__} values'
    return parse


if __name__ == '__main__':
    sys.exit(main())
