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

from autofuse_jax.applying.images import Request, apply
from autofuse_jax.applying.points import POINT_FRAMES
from autofuse_jax.data.formats import IMAGE_KEY, load_array
from autofuse_jax.errors import USER_ERROR_STATUS, UserError, run_command
from autofuse_jax.transforms.grids import ImageGrid
from autofuse_jax.transforms_io.conventions import CONVENTIONS, ITK
from autofuse_jax.transforms_io.explain import explain
from autofuse_jax.transforms_io.sidecar import ImageRecord


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: Without the program's name; default those of the process.

    Returns:
        Exit status: 0, or 2 after an error that the user can act on.
    """
    options = _parser().parse_args(arguments)
    return run_command(lambda: _run(options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='python -m autofuse_jax.apply_transform',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add('--transform', nargs='+', default=[], metavar='T', help='transform files, each FILE or inverse:FILE')
    add('--inverse', action='store_true', help='apply the inverse of the whole composition')
    add('--image', nargs='+', type=Path, default=[], metavar='FILE', help='images, interpolated linearly')
    add('--labels', nargs='+', type=Path, default=[], metavar='FILE', help='label maps, never mixed with each other')
    add(
        '--label-interpolation',
        choices=('nearest', 'linear'),
        default='nearest',
        help='linear: each label is interpolated by itself and the largest share wins',
    )
    add('--points', nargs='+', type=Path, default=[], metavar='FILE', help='CSV files of points')
    add('--points-units', choices=tuple(POINT_FRAMES), default='mm', help='mm is RAS; ITK and Slicer count in mm-lps')
    add('--points-in', choices=('fixed', 'moving'), default='moving', help='the image in which the points were set')
    add('--reference', type=Path, metavar='FILE', help='image whose grid the results get; default: the fixed image')
    add('--out', type=Path, metavar='DIR', help='folder of the results, NAME_moved.nii.gz and NAME_moved.csv')
    add('--overwrite', action='store_true', help='replace results that are there already')
    add('--save-transform', type=Path, metavar='FILE', help='write all transforms as one, in the convention --format')
    add('--format', choices=tuple(CONVENTIONS), default=ITK, help='convention of --save-transform, default itk')
    add('--convention', choices=tuple(CONVENTIONS), help='convention of transforms without sidecar, if it is not clear')
    add('--fixed', type=Path, metavar='FILE', help='fixed image of a transform that does not say it')
    add('--moving', type=Path, metavar='FILE', help='moving image of a transform that does not say it')
    add('--explain', nargs='+', type=Path, metavar='FILE', help='say what these files contain, and do nothing else')
    return parser


def _run(options: argparse.Namespace) -> int:
    fixed, moving = (None if path is None else image_record(path) for path in (options.fixed, options.moving))
    if options.explain:
        if options.transform:
            raise UserError('--explain together with --transform', fix='name the files behind --explain alone')
        return _explain(options.explain, options.convention, fixed, moving)
    if not options.transform:
        raise UserError('no transform is named', fix='add --transform FILE, or --explain FILE')
    request = Request(
        transforms=tuple(options.transform),
        inverse=options.inverse,
        images=tuple(options.image),
        labels=tuple(options.labels),
        label_interpolation=options.label_interpolation,
        points=tuple(options.points),
        points_units=options.points_units,
        points_in=options.points_in,
        reference=None if options.reference is None else image_record(options.reference),
        out=options.out,
        overwrite=options.overwrite,
        save_transform=options.save_transform,
        format=options.format,
        convention=options.convention,
        fixed=fixed,
        moving=moving,
    )
    apply(request)
    return 0


def _explain(
    paths: Sequence[Path], convention: str | None, fixed: ImageRecord | None, moving: ImageRecord | None
) -> int:
    """Print a sentence about every file; the status tells whether all of them are transforms."""
    status = 0
    for path in paths:
        try:
            print(explain(path, convention, fixed=fixed, moving=moving))
        except UserError as error:
            # The message says what the file is instead; the others are still explained.
            print(f'error: {error}', file=sys.stderr)
            status = USER_ERROR_STATUS
    return status


def image_record(path: Path) -> ImageRecord:
    """Read the grid of an image, of which the first frame counts where it is a series.

    Args:
        path: An image or a label map.

    Returns:
        Its name and grid.

    Raises:
        UserError: It cannot be read.
    """
    array, affine = load_array(path, IMAGE_KEY)
    if array.ndim < 3 or 0 in array.shape:
        raise UserError(f'{path} has shape {array.shape}', expected='an image of three axes (D, H, W)')
    return ImageRecord(path.name, ImageGrid(array.shape[:3], affine))


if __name__ == '__main__':
    sys.exit(main())
