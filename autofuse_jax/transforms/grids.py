"""Voxel grids in the world: a shape and an affine from voxel indices to RAS millimetres."""

import dataclasses

import nibabel as nib
import numpy as np

# Headers hold affines as float32; corners of equal grids differ by less than this share of a voxel.
SAME_GRID_VOXELS = 1e-3


@dataclasses.dataclass(frozen=True, eq=False)
class ImageGrid:
    """The voxels of an image and where they are.

    Attributes:
        shape: (D, H, W), in voxels.
        affine: float64 (4, 4), from voxel indices to RAS millimetres.
    """

    shape: tuple[int, int, int]
    affine: np.ndarray

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel size along (D, H, W) in millimetres."""
        return tuple(float(length) for length in np.linalg.norm(self.affine[:3, :3], axis=0))

    @property
    def centre_mm(self) -> np.ndarray:
        """World position of the middle of the grid, (3,), RAS millimetres."""
        return to_world(self.affine, (np.asarray(self.shape, np.float64) - 1) / 2)

    @property
    def orientation(self) -> str:
        """Direction of each array axis, such as 'RAS' or 'LPI'; of oblique axes the nearest."""
        return ''.join(nib.aff2axcodes(self.affine))

    def same_as(self, other: 'ImageGrid') -> bool:
        """Tell whether two grids have the same voxels at the same places, up to the rounding of headers."""
        if tuple(self.shape) != tuple(other.shape):
            return False
        corners = np.array(np.meshgrid(*[(0, size - 1) for size in self.shape], indexing='ij')).reshape(3, -1).T
        apart = np.linalg.norm(to_world(self.affine, corners) - to_world(other.affine, corners), axis=-1)
        return bool(apart.max() <= SAME_GRID_VOXELS * min(self.spacing))


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


def grid_points(grid: ImageGrid) -> np.ndarray:
    """Return the world position of every voxel, float64 (D, H, W, 3), RAS millimetres."""
    return to_world(grid.affine, np.moveaxis(np.indices(grid.shape, np.float64), 0, -1))
