"""Apply saved transforms to images, label maps and points, turn them round, join them, convert them, explain them.

    python -m autofuse_jax.apply_transform --transform forward_itk.nii.gz --image t2.nii.gz --out DIR
    python -m autofuse_jax.apply_transform --transform inverse:forward_itk.nii.gz --labels atlas.nii.gz --out DIR
    python -m autofuse_jax.apply_transform --transform forward_itk.nii.gz --points landmarks.csv --out DIR
    python -m autofuse_jax.apply_transform --transform a_to_b.nii.gz b_to_c.nii.gz --image a.nii.gz --out DIR
    python -m autofuse_jax.apply_transform --transform forward_itk.nii.gz --format fsl --save-transform warp_fsl.nii.gz
    python -m autofuse_jax.apply_transform --explain forward_itk.nii.gz

Several transforms are named in the order in which an image passes through them; they are joined first, so that every
image is interpolated once. `inverse:FILE` turns one of them round, --inverse the whole composition (the same order on
the command line, the way back for the image). Results are written when everything has succeeded, or not at all.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from autofuse_jax.choices import AUTO, CONVENTIONS, FORMATS, ITK, LABEL_INTERPOLATIONS, POINT_UNITS, ROLES
from autofuse_jax.commands.command_line import background_value, command_parser, run_parsed

PROGRAM = 'python -m autofuse_jax.apply_transform'


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
    from autofuse_jax.commands.apply_transform import run

    return run(options)


def _parser(program: str) -> argparse.ArgumentParser:
    parser = command_parser(__doc__, PROGRAM, program)
    add = parser.add_argument
    add('--transform', nargs='+', default=[], metavar='T', help='transform files, each FILE or inverse:FILE')
    add('--inverse', action='store_true', help='apply the inverse of the whole composition')
    add('--image', nargs='+', type=Path, default=[], metavar='FILE', help='images, interpolated linearly')
    add('--labels', nargs='+', type=Path, default=[], metavar='FILE', help='label maps, never mixed with each other')
    add(
        '--label-interpolation',
        choices=LABEL_INTERPOLATIONS,
        default='nearest',
        help='linear: each label is interpolated by itself and the largest share wins',
    )
    add('--points', nargs='+', type=Path, default=[], metavar='FILE', help='files of points, .csv, .fcsv or .mrk.json')
    add(
        '--points-units',
        choices=POINT_UNITS,
        help='mm is RAS; ITK and Slicer count in mm-lps; default: what the names of the columns say, else mm',
    )
    add('--points-in', choices=ROLES, default='moving', help='the image in which the points were set')
    add(
        '--background',
        type=background_value,
        default=AUTO,
        metavar='min|VALUE',
        help='value where an image does not reach: its smallest or a number; default: its own background; labels: 0',
    )
    add('--reference', type=Path, metavar='FILE', help='image whose grid the results get; default: the fixed image')
    add('--out', type=Path, metavar='DIR', help='folder of the results, NAME_moved.nii.gz and NAME_moved.csv')
    add('--overwrite', action='store_true', help='replace results that are there already')
    add('--save-transform', type=Path, metavar='FILE', help='write all transforms as one, in the convention --format')
    add('--format', choices=FORMATS, default=ITK, help='convention of --save-transform, default itk')
    add('--convention', choices=CONVENTIONS, help='convention of transforms without sidecar, if it is not clear')
    add('--fixed', type=Path, metavar='FILE', help='fixed image of a transform that does not say it')
    add('--moving', type=Path, metavar='FILE', help='moving image of a transform that does not say it')
    add('--explain', nargs='+', type=Path, metavar='FILE', help='say what these files contain, and do nothing else')
    return parser


if __name__ == '__main__':
    sys.exit(main())
