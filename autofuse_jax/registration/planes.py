"""Images of one slice: registered in the plane, as slabs of equal slices in a world of their own."""

import dataclasses
from typing import NamedTuple

import numpy as np

from autofuse_jax.data.volumes import Volume
from autofuse_jax.transforms.grids import ImageGrid
from autofuse_jax.transforms.maps import AffineTransform

# Slices of a slab: as many as the coarsest level of any image keeps, so that none is lost or made up.
SLAB_SLICES = 8
# Planes that make a larger angle than this with each other show different directions of the body: what their headers
# say of each other is of no use in a plane. Cosine of 60 degrees.
LEAST_PARALLEL = 0.5
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

    Where the planes are nearly parallel, a point of one belongs to the point of the other that is nearest along the
    normal, and what the headers say of positions in the plane holds.

    Args:
        fixed: An image of one slice, along any axis, with labels and mask or without.
        moving: Another one.

    Returns:
        The slabs.
    """
    frame = _frame(fixed.grid)
    other = _frame(moving.grid)
    normals = frame[:3, ACROSS], other[:3, ACROSS]
    parallel = float(normals[0] @ normals[1])
    if abs(parallel) >= LEAST_PARALLEL:
        normal = normals[1] * np.sign(parallel)
        other = np.eye(4)
        other[:3, :3] = _turn(normals[0], normal) @ frame[:3, :3]
        # The origin of the fixed plane, carried along the normal.
        other[:3, 3] = frame[:3, 3] + normal * (normal @ (moving.grid.centre_mm - frame[:3, 3]))
    return SlabPair(_slab(fixed, frame), _slab(moving, other), AffineTransform(frame), AffineTransform(other))


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
