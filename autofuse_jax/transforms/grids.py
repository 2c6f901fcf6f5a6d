"""Voxel grids in the world: a shape and an affine from voxel indices to RAS millimetres."""

import dataclasses
from collections.abc import Sequence

import nibabel as nib
import numpy as np

# Programs round affines and voxel sizes each in its own way; corners of equal grids differ by less than this share of a
# voxel, which is far below what can be seen or registered.
SAME_GRID_VOXELS = 0.05
# Voxels that are worked on at a time where positions of all of them would not fit in memory.
SLAB_VOXELS = 2_000_000
# No image, and no way between two, is longer than this (a thousand kilometres): larger numbers are damage, and their
# squares would be too large for a computer.
LONGEST_MM = 1e9
LAST_ROW_TOLERANCE = 1e-6


@dataclasses.dataclass(frozen=True, eq=False)
class ImageGrid:
    """The voxels of an image and where they are.

    Attributes:
        shape: (D, H, W), in voxels.
        affine: float64 (4, 4), from voxel indices to RAS millimetres.
    """

    shape: tuple[int, ...]
    affine: np.ndarray

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel size along (D, H, W) in millimetres."""
        return spacing_of(self.affine)

    @property
    def voxel_mm3(self) -> float:
        """Volume of a voxel in cubic millimetres."""
        return abs(float(np.linalg.det(self.affine[:3, :3])))

    @property
    def centre_mm(self) -> np.ndarray:
        """World position of the middle of the grid, (3,), RAS millimetres."""
        return to_world(self.affine, (np.asarray(self.shape, np.float64) - 1) / 2)

    @property
    def orientation(self) -> str:
        """Direction of each array axis, such as 'RAS' or 'LPI'; of oblique axes the nearest."""
        return ''.join(nib.aff2axcodes(self.affine))

    @property
    def tilt_degrees(self) -> float:
        """Largest angle between a voxel axis and the axis of the body nearest to it."""
        nearest = nib.io_orientation(self.affine)[:, 0].astype(int)
        cosines = np.abs(self.affine[nearest, range(3)]) / self.spacing
        return float(np.degrees(np.arccos(np.clip(cosines, 0, 1))).max())

    @property
    def shear_degrees(self) -> float:
        """Largest departure of two voxel axes from a right angle; a tilted gantry shears a stack of slices."""
        axes = self.affine[:3, :3] / self.spacing
        cosines = np.abs(axes.T @ axes - np.eye(3))
        return float(np.degrees(np.arcsin(np.clip(cosines, 0, 1))).max())

    def same_as(self, other: 'ImageGrid') -> bool:
        """Tell whether two grids have the same voxels at the same places, up to `SAME_GRID_VOXELS`."""
        if tuple(self.shape) != tuple(other.shape):
            return False
        return self.misfit_mm(other.affine) <= SAME_GRID_VOXELS * min(self.spacing)

    def misfit_mm(self, affine: np.ndarray) -> float:
        """Return the largest distance between where the grid and another affine (4, 4) put a corner, millimetres."""
        corners = np.array(np.meshgrid(*[(0, size - 1) for size in self.shape], indexing='ij')).reshape(3, -1).T
        return float(np.linalg.norm(to_world(affine, corners) - to_world(self.affine, corners), axis=-1).max())

    def contains(self, points: np.ndarray, *, margin: float = 0.5) -> np.ndarray:
        """Tell which points lie in the grid.

        Args:
            points: (..., 3), RAS millimetres.
            margin: Reach of the grid beyond the outermost voxel centres, in voxels; default 0.5, their faces.

        Returns:
            bool (...).
        """
        voxels = to_voxels(self.affine, points)
        return np.all((voxels >= -margin) & (voxels <= np.asarray(self.shape) - 1 + margin), axis=-1)


def spacing_of(affine: np.ndarray) -> tuple[float, float, float]:
    """Return the voxel size along each array axis: the lengths of the affine's columns.

    Args:
        affine: (4, 4), voxel indices to millimetres.

    Returns:
        Three lengths in millimetres.
    """
    first, second, third = np.linalg.norm(affine[:3, :3], axis=0).tolist()
    return first, second, third


def canonical_grid(grid: ImageGrid) -> ImageGrid:
    """Return the same voxels with axes in the order and direction closest to left-right, posterior-anterior and
    inferior-superior (RAS); oblique axes stay oblique.

    Args:
        grid: Any grid.

    Returns:
        The grid with axes permuted and turned around; itself where nothing changes.
    """
    orientation = nib.io_orientation(grid.affine)
    if np.array_equal(orientation, [[0, 1], [1, 1], [2, 1]]):
        return grid
    shape = [0, 0, 0]
    for size, (axis, _) in zip(grid.shape, orientation, strict=True):
        shape[int(axis)] = int(size)
    return ImageGrid(tuple(shape), grid.affine @ nib.orientations.inv_ornt_aff(orientation, grid.shape))


def axes_onto(grid: ImageGrid, target: ImageGrid) -> np.ndarray | None:
    """Return how the axes of a grid are permuted and turned around to give another.

    Args:
        grid: A grid.
        target: Another one.

    Returns:
        (3, 2), for each axis of `grid` the axis of `target` and 1 or -1, as nibabel writes orientations; None where the
        grids have different voxels.
    """
    axes = nib.orientations.ornt_transform(nib.io_orientation(grid.affine), nib.io_orientation(target.affine))
    shape = np.zeros(3, int)
    shape[axes[:, 0].astype(int)] = grid.shape
    turned = ImageGrid(tuple(shape.tolist()), grid.affine @ nib.orientations.inv_ornt_aff(axes, grid.shape))
    return axes if turned.same_as(target) else None


def resize_grid(grid: ImageGrid, shape: Sequence[int]) -> ImageGrid:
    """Return the grid of another number of voxels over the same field of view: voxel faces at the border coincide.

    Args:
        grid: Any grid.
        shape: The wanted shape.

    Returns:
        The grid whose voxels `data.resample.resize_image` makes.
    """
    ratio = np.asarray(grid.shape, np.float64) / np.asarray(shape, np.float64)
    scale = np.diag([*ratio, 1.0])
    scale[:3, 3] = (ratio - 1) / 2
    return ImageGrid(tuple(int(size) for size in shape), grid.affine @ scale)


def respace_grid(grid: ImageGrid, spacing: Sequence[float], shape: Sequence[int]) -> ImageGrid:
    """Return the grid of another voxel size with the same first voxel centre and directions.

    Args:
        grid: Any grid.
        spacing: The wanted voxel size along (D, H, W) in millimetres.
        shape: Number of these voxels.

    Returns:
        The grid whose voxels `data.resample.resample_image` makes.
    """
    ratio = np.asarray(spacing, np.float64) / np.asarray(grid.spacing, np.float64)
    return ImageGrid(tuple(int(size) for size in shape), np.asarray(grid.affine, np.float64) @ np.diag([*ratio, 1.0]))


def cut_grid(grid: ImageGrid, start: Sequence[float], shape: Sequence[int]) -> ImageGrid:
    """Return the grid of a box that begins at a voxel of a grid, with the same voxel size and directions.

    Args:
        grid: Any grid.
        start: Voxel index (D, H, W) at which the box begins; may be negative or lie between voxels.
        shape: Shape of the box.

    Returns:
        The grid whose voxels `data.resample.crop_or_pad` makes.
    """
    affine = np.array(grid.affine, np.float64)
    affine[:3, 3] += affine[:3, :3] @ np.asarray(start, np.float64)
    return ImageGrid(tuple(int(size) for size in shape), affine)


def to_world(affine: np.ndarray, voxels: np.ndarray) -> np.ndarray:
    """Return `affine[:3, :3] @ x + affine[:3, 3]` for every point.

    Args:
        affine: (4, 4).
        voxels: (..., 3).

    Returns:
        float64 (..., 3).
    """
    return np.asarray(voxels, np.float64) @ affine[:3, :3].T + affine[:3, 3]


def to_voxels(affine: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return the voxel coordinates of world points, the inverse of `to_world`.

    Args:
        affine: (4, 4), not singular.
        points: (..., 3), RAS millimetres.

    Returns:
        float64 (..., 3).
    """
    return to_world(np.linalg.inv(affine), points)


def voxel_indices(shape: Sequence[int]) -> np.ndarray:
    """Return the index of every voxel, float64 (D, H, W, 3); entry [i, j, k] is (i, j, k)."""
    return np.moveaxis(np.indices(tuple(shape), np.float64), 0, -1)


def grid_points(grid: ImageGrid, rows: slice = slice(None)) -> np.ndarray:
    """Return the world position of every voxel, or of a slab of `slabs`, float64 (D, H, W, 3), RAS millimetres."""
    return to_world(grid.affine, slab_indices(grid.shape, rows))


def slab_indices(shape: Sequence[int], rows: slice) -> np.ndarray:
    """Return the index of every voxel in some rows of the first axis, float64 (d, H, W, 3)."""
    first, last, _ = rows.indices(shape[0])
    indices = voxel_indices((last - first, *shape[1:]))
    indices[..., 0] += first
    return indices


def slabs(shape: Sequence[int], voxels: int = SLAB_VOXELS) -> list[slice]:
    """Return rows of the first axis that hold few voxels each, in order.

    What is computed for every voxel in float64 takes many times the memory of an image; slab by slab it takes little.

    Args:
        shape: (D, H, W, ...).
        voxels: Number of voxels of a slab at most, as far as one row has no more; default 2 million.
    """
    count = max(1, voxels // max(1, int(np.prod(shape[1:3]))))
    return [slice(first, min(first + count, shape[0])) for first in range(0, shape[0], count)]


def affine_fault(affine: np.ndarray) -> str:
    """Return in words why an array is no affine map that can be inverted; '' where it is one.

    Args:
        affine: Array that should be (4, 4), finite and of lengths up to `LONGEST_MM`, with a last row of 0 0 0 1.
    """
    if affine.shape != (4, 4) or affine.dtype.kind not in 'iuf' or not np.isfinite(affine).all():
        return 'is not a finite (4, 4) matrix'
    if np.abs(affine).max() > LONGEST_MM:
        return f'holds {float(np.abs(affine).max()):g}, which is no length in millimetres'
    if np.abs(affine[3] - [0, 0, 0, 1]).max() > LAST_ROW_TOLERANCE:
        return f'has the last row {affine[3].tolist()} and not 0 0 0 1'
    if np.linalg.matrix_rank(affine[:3, :3]) < 3:
        return f'is singular: {affine[:3, :3].tolist()}'
    return ''
