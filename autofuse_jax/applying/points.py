"""Points in `python -m autofuse_jax.apply_transform`: they are pushed where images are pulled."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from autofuse_jax.choices import MILLIMETRES, MILLIMETRES_LPS, VOXELS
from autofuse_jax.errors import UserError
from autofuse_jax.transforms.grids import to_voxels, to_world
from autofuse_jax.transforms.inversion import failed_mm
from autofuse_jax.transforms.maps import Transform
from autofuse_jax.transforms_io.composition import Step, backward_of, forward_of, inside, record_of_field
from autofuse_jax.transforms_io.points import INSIDE_COLUMN, LPS_FROM_RAS, PointTable, read_points, write_points
from autofuse_jax.transforms_io.sidecar import ImageRecord

# What the coordinates of points may be counted in.
POINT_FRAMES = {MILLIMETRES: 'mm, RAS', MILLIMETRES_LPS: 'mm, LPS', VOXELS: 'voxels'}
# What antsApplyTransformsToPoints reads and writes.
ANTS_COLUMNS = {'x', 'y', 'z', 't'}
# Line numbers in a warning.
SHOWN_LINES = 8


def move_points(
    steps: Sequence[Step],
    path: Path,
    target: Path,
    *,
    units: str | None,
    points_in: str,
    say: Callable[[str], Any],
    reference: ImageRecord | None = None,
) -> None:
    """Move the points of a CSV file from one image of a composition to the other, and say which way they took.

    Args:
        steps: The composition, in the order in which an image passes through it.
        path: The CSV file.
        target: File for the moved points.
        units: A key of `POINT_FRAMES`, of the points that are read and written alike; None: what the file says.
        points_in: The image in which the points were set, 'moving' or 'fixed'.
        say: Callback for every sentence to the user.
        reference: Image in whose voxels points that come to the fixed image are counted, as results of images lie on
            its grid; None: the fixed image.

    Raises:
        UserError: The file cannot be read, voxels are asked for of an image that is not known, or the transform cannot
            be inverted.
        OSError: The target cannot be written.
    """
    table = read_points(path, units)
    if units is None and table.header is not None and ANTS_COLUMNS <= {name.strip().lower() for name in table.header}:
        say(
            f'warning: the columns x, y, z, t of {path} are those of ANTs, which counts in LPS; they are taken for '
            f'RAS: add --points-units {MILLIMETRES_LPS} if they were written by ANTs or for it'
        )
    units = table.units
    fixed, moving = steps[-1].fixed or record_of_field(steps[-1]), steps[0].moving
    from_moving = points_in == 'moving'
    source, destination = (moving, reference or fixed) if from_moving else (fixed, moving)
    forward, backward = forward_of(steps), backward_of(steps)
    world = _to_ras(table, units, source, points_in)
    there, back = (backward, forward) if from_moving else (forward, backward)
    counterparts = there.map_points(world)
    is_inside = inside(steps, *((counterparts, world) if from_moving else (world, counterparts)))
    other = 'fixed' if from_moving else 'moving'
    write_points(target, table, _from_ras(counterparts, units, destination, other), is_inside)
    way = 'inverse' if from_moving else 'transform as it is'
    say(
        f'{path}: {len(table.points)} points of the {points_in} image ({POINT_FRAMES[units]}) '
        f'moved to the {other} image. An image is pulled: each voxel of the fixed image asks where in the moving '
        f'image to read. Points are pushed, so points of the {points_in} image take the {way}'
    )
    if table.others:
        names = ', '.join(str(column + 1) for column in table.others)
        say(
            f'warning: the columns {names} of {path} hold coordinates in other units than {units}, which do not move; '
            'they are left empty'
        )
    say(f'{path}: {_there_and_back(back, counterparts, world)}')
    outside = [line for line, flag in zip(table.lines, is_inside, strict=True) if not flag]
    if outside:
        numbers = ', '.join(map(str, outside[:SHOWN_LINES])) + (', ...' if len(outside) > SHOWN_LINES else '')
        say(
            f'warning: {len(outside)} of {len(is_inside)} points of {path} are outside the images (lines {numbers}); '
            'they move with the nearest voxel of the field'
            + (f', column {INSIDE_COLUMN!r} is 0' if table.header is not None else '')
        )


def _there_and_back(back: Transform, counterparts: np.ndarray, world: np.ndarray) -> str:
    try:
        away = np.linalg.norm(back.map_points(counterparts) - world, axis=-1)
    except UserError as error:
        # The points themselves went the way that needs no inverse, so they are good nevertheless.
        return f'warning: there and back cannot be checked, {error.found}'
    limit = failed_mm(back)
    warning = f'warning: more than {limit:.2g} mm, ' if away.max() > limit else ''
    return f'{warning}there and back: mean {away.mean():.2g} mm, largest {away.max():.2g} mm'


def _to_ras(table: PointTable, units: str, image: ImageRecord | None, name: str) -> np.ndarray:
    if units == 'voxel':
        return to_world(_require_image(image, name).grid.affine, table.points)
    return table.points * LPS_FROM_RAS if units == 'mm-lps' else table.points


def _from_ras(points: np.ndarray, units: str, image: ImageRecord | None, name: str) -> np.ndarray:
    if units == 'voxel':
        return to_voxels(_require_image(image, name).grid.affine, points)
    return points * LPS_FROM_RAS if units == 'mm-lps' else points


def _require_image(image: ImageRecord | None, name: str) -> ImageRecord:
    if image is None:
        raise UserError(
            f'--points-units voxel needs the grid of the {name} image, which is not known',
            fix=f'name it with --{name}, or give the points in millimetres',
        )
    return image
