"""What `apply_transform` does: apply transforms to images, labels and points, or explain files."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from autofuse_jax.applying.images import Request, apply
from autofuse_jax.commands.needs import Need, check_needs
from autofuse_jax.data.formats import IMAGE_KEY, LABELS_KEY, NPZ_SUFFIX, npz_names
from autofuse_jax.data.headers import read_header
from autofuse_jax.errors import USER_ERROR_STATUS, UserError
from autofuse_jax.transforms_io.explain import explain
from autofuse_jax.transforms_io.sidecar import ImageRecord

NEEDS = (
    Need(
        ('image', 'labels', 'points', 'save_transform', 'out', 'inverse', 'reference'),
        lambda options: not options.explain,
        'together with --explain, which does nothing else',
    ),
    Need(('label_interpolation',), lambda options: bool(options.labels), 'without --labels', 'leave it out'),
    Need(('background',), lambda options: bool(options.image), 'without --image', 'leave it out'),
    Need(('points_units', 'points_in'), lambda options: bool(options.points), 'without --points', 'leave it out'),
    Need(
        ('format',),
        lambda options: options.save_transform is not None,
        'without --save-transform',
        'add --save-transform FILE, or leave it out',
    ),
)


def run(options: argparse.Namespace) -> int:
    """Apply transforms, or explain files.

    Args:
        options: Options of `autofuse_jax.apply_transform`.

    Returns:
        The exit status.

    Raises:
        UserError: Something is wrong with a file, or options do not fit together.
    """
    check_needs(options, NEEDS)
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
        background=options.background,
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
    facts = read_header(path, key=_key_in(path), alone=True)
    if len(facts.shape) < 3 or 0 in facts.shape:
        raise UserError(f'{path} has shape {facts.shape}', expected='an image of three axes (D, H, W)')
    return ImageRecord(path.name, facts.grid, facts.itk_obstacle, facts.fsl_obstacle)


def _key_in(path: Path) -> str:
    """Name of the array of an npz file that counts: the image, or the label map where that is alone."""
    names = npz_names(path) if path.name.lower().endswith(NPZ_SUFFIX) else []
    return LABELS_KEY if LABELS_KEY in names and IMAGE_KEY not in names else IMAGE_KEY
