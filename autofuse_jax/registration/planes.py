"""Images of one slice: registered in the plane, as slabs of equal slices in a world of their own."""

import dataclasses
from typing import NamedTuple

import numpy as np

from autofuse_jax.data.volumes import Volume
from autofuse_jax.errors import UserError
from autofuse_jax.transforms.grids import ImageGrid
from autofuse_jax.transforms.maps import AffineTransform

# Slices of a slab: as many as the coarsest level of any image keeps, so that none is lost or made up.
SLAB_SLICES = 8
# Planes that make a larger angle than this with each other show the body from different sides.
LARGEST_ANGLE_DEGREES = 15.0
# Axis of the world of slabs, and of their arrays, across the plane.
ACROSS = 2


class SlabPair(NamedTuple):
    """Two images of one slice as slabs.

    The world of the slabs has the plane of either image as its plane z = 0.

    Attributes:
        fixed: The fixed image.
        moving: The moving image.
        to_fixed: From the world of the slabs to that of the fixed image, a rotation and a shift.
        to_moving: The same of the moving image.
    """

    fixed: Volume
    moving: Volume
    to_fixed: AffineTransform
    to_moving: AffineTransform


def is_plane(grid: ImageGrid) -> bool:
    """Tell whether a grid has one slice."""
    return sorted(grid.shape)[0] == 1 and sorted(grid.shape)[1] > 1


def slabs_of(fixed: Volume, moving: Volume) -> SlabPair:
    """Repeat two images of one slice along the normal of their planes.

    A point of one plane belongs to the point of the other that is nearest along the normal, so that what the headers
    say of positions in the plane holds; how far the planes are apart does not count.

    Args:
        fixed: An image of one slice, along any axis, with labels and mask or without.
        moving: Another one.

    Returns:
        The slabs.

    Raises:
        UserError: The planes make an angle of more than 15 degrees.
    """
    check_directions((fixed.name, moving.name), (fixed.grid, moving.grid))
    frame = _frame(fixed.grid)
    normal, across = _normals(fixed.grid, moving.grid)
    other = np.eye(4)
    other[:3, :3] = _turn(normal, across) @ frame[:3, :3]
    # The origin of the fixed plane, carried along the normal.
    other[:3, 3] = frame[:3, 3] + across * (across @ (moving.grid.centre_mm - frame[:3, 3]))
    return SlabPair(_slab(fixed, frame), _slab(moving, other), AffineTransform(frame), AffineTransform(other))


def check_directions(names: tuple[str, str], grids: tuple[ImageGrid, ImageGrid]) -> None:
    """Check that two slices have the same direction.

    Args:
        names: Names of the fixed and the moving image in messages.
        grids: Their grids, of one slice each.

    Raises:
        UserError: Their planes make an angle of more than 15 degrees.
    """
    normal, across = _normals(*grids)
    angle = float(np.degrees(np.arccos(np.clip(normal @ across, -1.0, 1.0))))
    if angle > LARGEST_ANGLE_DEGREES:
        raise UserError(
            f'the slices of {names[0]} and {names[1]} make an angle of {angle:.0f} degrees',
            expected=f'slices of one direction, up to {LARGEST_ANGLE_DEGREES:g} degrees apart',
            fix='correct the headers, so that both give the slice the same direction',
        )


def plane_of(volume: np.ndarray, plane: ImageGrid) -> np.ndarray:
    """Return the middle slice of what was measured on a slab, in the shape of the image that it was made of.

    Args:
        volume: Array of the slab's shape.
        plane: Grid of the image.
    """
    axis = _thin_axis(plane)
    return np.take(volume, [volume.shape[axis] // 2], axis)


def _thin_axis(grid: ImageGrid) -> int:
    return int(np.argmin(grid.shape))


def _normals(fixed: ImageGrid, moving: ImageGrid) -> tuple[np.ndarray, np.ndarray]:
    """Normals of two planes, (3,) each, that of the moving one pointing to the side of the other."""
    normal, across = _frame(fixed)[:3, ACROSS], _frame(moving)[:3, ACROSS]
    return normal, across if normal @ across > 0 else -across


def _frame(grid: ImageGrid) -> np.ndarray:
    """The right-handed world of a plane: x along its first axis, z across, the origin in its first voxel."""
    thin = _thin_axis(grid)
    first, second = (grid.affine[:3, axis] for axis in range(3) if axis != thin)
    along = first / np.linalg.norm(first)
    normal = np.cross(first, second)
    normal = normal / np.linalg.norm(normal)
    frame = np.eye(4)
    frame[:3, :3] = np.stack([along, np.cross(normal, along), normal], axis=1)
    frame[:3, 3] = grid.affine[:3, 3]
    return frame


def _turn(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """The smallest rotation of one unit vector, (3,), onto another that is not opposite."""
    x, y, z = np.cross(start, end)
    skew = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.eye(3) + skew + skew @ skew / (1.0 + start @ end)


def _slab(volume: Volume, frame: np.ndarray) -> Volume:
    """Repeat the slice at the size of its smallest voxels, around z = 0 of the frame."""
    thin = _thin_axis(volume.grid)
    affine = np.linalg.inv(frame) @ volume.affine
    in_plane = [axis for axis in range(3) if axis != thin]
    step = min(volume.spacing[axis] for axis in in_plane)
    affine[:3, thin] = 0.0
    affine[ACROSS, thin] = step
    affine[ACROSS, in_plane] = 0.0
    affine[ACROSS, 3] = -step * (SLAB_SLICES - 1) / 2

    def repeated(array: np.ndarray | None) -> np.ndarray | None:
        return None if array is None else np.repeat(array, SLAB_SLICES, axis=thin)

    return dataclasses.replace(
        volume,
        image=np.repeat(volume.image, SLAB_SLICES, axis=thin),
        labels=repeated(volume.labels),
        mask=repeated(volume.mask),
        affine=affine,
    )
