"""Whether two images can be registered to each other at all."""

from typing import NamedTuple

import numpy as np

from autofuse_jax.data.headers import HeaderFacts
from autofuse_jax.data.volumes import Volume
from autofuse_jax.errors import UserError
from autofuse_jax.registration.planes import check_directions, is_plane
from autofuse_jax.transforms.grids import ImageGrid, to_world
from autofuse_jax.transforms.maps import Transform

# Fewer voxels along an axis leave nothing to deform: such an image is a stack of two or three slices.
FEWEST_VOXELS = 4


class _Sized(NamedTuple):
    """What is known of an image without its values."""

    name: str
    shape: tuple[int, ...]
    grid: ImageGrid


def check_pair(fixed: Volume, moving: Volume) -> None:
    """Check that two images can be registered to each other: two volumes, or two images of one slice.

    Args:
        fixed: The fixed image.
        moving: The moving image.

    Raises:
        UserError: One of them is a series or too thin, only one has a single slice, or two slices have different
            directions.
    """
    _check_sizes(*(_Sized(volume.name, volume.image.shape, volume.grid) for volume in (fixed, moving)))


def check_headers(fixed: HeaderFacts, moving: HeaderFacts) -> None:
    """Check before any values are read that two images can be registered to each other, see `check_pair`.

    Args:
        fixed: What the header of the fixed image says.
        moving: What that of the moving image says.

    Raises:
        UserError: As `check_pair`.
    """
    _check_sizes(*(_Sized(facts.file, facts.image_shape, facts.grid) for facts in (fixed, moving)))


def _check_sizes(fixed: _Sized, moving: _Sized) -> None:
    images = (('fixed', fixed), ('moving', moving))
    for role, image in images:
        if len(image.shape) != 3:
            raise UserError(
                f'the {role} image {image.name} has shape {image.shape}',
                expected='one volume (D, H, W)',
                fix='cut out the volume that is meant, or pass a series as --moving together with --reference-frame',
            )
    planes = [is_plane(image.grid) for _, image in images]
    if any(planes) and not all(planes):
        single, other = (fixed, moving) if planes[0] else (moving, fixed)
        raise UserError(
            f'{single.name} is a 2-D image, and {other.name} a volume of shape {other.shape}',
            expected='two volumes or two 2-D images; a single slice and a volume are not supported',
            fix='cut the slice that belongs to it out of the volume',
        )
    for role, image in images:
        sizes = sorted(image.shape)[1 if all(planes) else 0 :]
        if min(sizes) < FEWEST_VOXELS:
            raise UserError(
                f'the {role} image {image.name} has shape {image.shape}',
                expected=f'at least {FEWEST_VOXELS} voxels along each axis, or a single slice in both images',
                fix='register larger images, or cut the same slice out of both',
            )
    if all(planes):
        check_directions((fixed.name, moving.name), (fixed.grid, moving.grid))


def check_overlap(fixed: Volume, moving: Volume, transform: Transform) -> None:
    """Check that a transform puts the images on top of each other.

    Args:
        fixed: The fixed volume.
        moving: The moving volume.
        transform: Transform from the fixed to the moving world.

    Raises:
        UserError: No voxel of the fixed image lies inside the moving one.
    """
    # A coarse lattice of points is enough to find an overlap that is worth anything.
    lattice = np.stack(np.meshgrid(*[np.linspace(0, size - 1, 24) for size in fixed.image.shape], indexing='ij'), -1)
    if not moving.grid.contains(transform.map_points(to_world(fixed.affine, lattice))).any():
        gap = np.linalg.norm(fixed.grid.centre_mm - moving.grid.centre_mm)
        raise UserError(
            f'{fixed.name} and {moving.name} do not overlap: their centres are {gap:.0f} mm apart',
            expected='images that show the same place, or an alignment that brings them there',
            fix='leave --align at its default, add --start=masses, or correct the headers',
        )
