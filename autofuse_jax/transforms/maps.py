"""The two kinds of transform, affine and dense, and chains of them."""

import dataclasses
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from scipy import ndimage

from autofuse_jax.transforms.grids import ImageGrid, slab_indices, slabs, to_voxels, to_world


class Transform(Protocol):
    """What every transform can do."""

    def map_points(self, points: np.ndarray) -> np.ndarray:
        """Take points of the fixed world to the moving world, both (..., 3) in RAS millimetres."""
        ...


@dataclasses.dataclass(frozen=True, eq=False)
class AffineTransform:
    """`p -> matrix @ p`.

    Attributes:
        matrix: float64 (4, 4), from the fixed to the moving world, RAS millimetres.
    """

    matrix: np.ndarray

    def map_points(self, points: np.ndarray) -> np.ndarray:
        """Take points of the fixed world to the moving world, both (..., 3) in RAS millimetres."""
        return to_world(self.matrix, points)


@dataclasses.dataclass(frozen=True, eq=False)
class DenseTransform:
    """A displacement at every voxel of a grid: `p -> A (x + u(x))` with `x = A^-1 p`, linear between voxels.

    Outside its grid the displacement of the nearest voxel counts, so that a point just beyond the border moves with
    its neighbours. ITK takes no displacement at all there; inside the grid both agree.

    Attributes:
        displacement: float32 (D, H, W, 3), in voxels of its own grid, along (D, H, W), pull direction.
        affine: float64 (4, 4) of its grid A, from voxel indices to RAS millimetres of the fixed world.
    """

    displacement: np.ndarray
    affine: np.ndarray

    @property
    def grid(self) -> ImageGrid:
        """The grid on which the displacement is given."""
        return ImageGrid(self.displacement.shape[:3], self.affine)

    def map_points(self, points: np.ndarray) -> np.ndarray:
        """Take points of the fixed world to the moving world, both (..., 3) in RAS millimetres."""
        voxels = to_voxels(self.affine, points)
        return to_world(self.affine, voxels + sample_field(self.displacement, voxels))

    def covers(self, points: np.ndarray) -> np.ndarray:
        """Tell which points (..., 3) in RAS millimetres lie among the voxel centres of the grid."""
        # Half a thousandth of a voxel is rounding of headers.
        return self.grid.contains(points, margin=5e-4)


@dataclasses.dataclass(frozen=True, eq=False)
class Chain:
    """Transforms one after the other: the last one's fixed image is the first to be entered.

    An image passes through them in the order of the list: with A registered to B by the first and B to C by the
    second, the chain shows A on C. A point of C therefore goes through the second first.

    Attributes:
        transforms: Transforms in the order in which an image passes through them.
    """

    transforms: tuple[Transform, ...]

    def map_points(self, points: np.ndarray) -> np.ndarray:
        """Take points of the last fixed world to the first moving world, both (..., 3) in RAS millimetres."""
        for transform in reversed(self.transforms):
            points = transform.map_points(points)
        return np.asarray(points, np.float64)


def sample_field(field: np.ndarray, voxels: np.ndarray) -> np.ndarray:
    """Interpolate a vector field linearly; outside its grid the nearest voxel counts.

    Args:
        field: (D, H, W, C).
        voxels: (..., 3), positions in voxels.

    Returns:
        float64 (..., C).
    """
    voxels = np.asarray(voxels, np.float64)
    # Flat, because SciPy takes no single point.
    coordinates = voxels.reshape(-1, 3).T
    channels = [
        ndimage.map_coordinates(field[..., channel], coordinates, output=np.float64, order=1, mode='nearest')
        for channel in range(field.shape[-1])
    ]
    return np.stack(channels, axis=-1).reshape(*voxels.shape[:-1], field.shape[-1])


def to_dense(transforms: Sequence[Transform], grid: ImageGrid) -> DenseTransform:
    """Sample a chain of transforms on a grid: one displacement field for all of them.

    Args:
        transforms: Transforms in the order in which an image passes through them.
        grid: Grid of the last one's fixed image.

    Returns:
        The dense transform, float32.
    """
    chain = Chain(tuple(transforms))
    displacement = np.empty((*grid.shape, 3), np.float32)
    for rows in slabs(grid.shape):
        voxels = slab_indices(grid.shape, rows)
        displacement[rows] = to_voxels(grid.affine, chain.map_points(to_world(grid.affine, voxels))) - voxels
    return DenseTransform(displacement, grid.affine)
