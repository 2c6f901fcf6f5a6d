"""Whether two images can be registered to each other at all."""

import numpy as np

from autofuse_jax.data.volumes import Volume
from autofuse_jax.errors import UserError
from autofuse_jax.registration.planes import is_plane
from autofuse_jax.transforms.grids import to_world
from autofuse_jax.transforms.maps import Transform

# Fewer voxels along an axis leave nothing to deform: such an image is a stack of two or three slices.
FEWEST_VOXELS = 4


def check_pair(fixed: Volume, moving: Volume) -> None:
    """Check that two images can be registered to each other: two volumes, or two images of one slice.

    Args:
        fixed: The fixed image.
        moving: The moving image.

    Raises:
        UserError: One of them is a series or too thin, or only one has a single slice.
    """
    volumes = (('fixed', fixed), ('moving', moving))
    for role, volume in volumes:
        if volume.image.ndim != 3:
            raise UserError(
                f'the {role} image {volume.name} has shape {volume.image.shape}',
                expected='one volume (D, H, W)',
                fix='pass a series as --moving together with --reference-frame',
            )
    planes = [is_plane(volume.grid) for _, volume in volumes]
    if any(planes) and not all(planes):
        single, other = (fixed, moving) if planes[0] else (moving, fixed)
        raise UserError(
            f'{single.name} is a 2-D image, and {other.name} a volume of shape {other.image.shape}',
            expected='two volumes or two 2-D images; a single slice and a volume are not supported',
            fix='cut the slice that belongs to it out of the volume',
        )
    for role, volume in volumes:
        sizes = sorted(volume.image.shape)[1 if all(planes) else 0 :]
        if min(sizes) < FEWEST_VOXELS:
            raise UserError(
                f'the {role} image {volume.name} has shape {volume.image.shape}',
                expected=f'at least {FEWEST_VOXELS} voxels along each axis, or a single slice in both images',
                fix='register larger images, or cut the same slice out of both',
            )


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
