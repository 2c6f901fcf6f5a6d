"""The affine part of a displacement field, and the local deformation that remains without it."""

import dataclasses
import math

import numpy as np

from autofuse_jax.transforms.affine_fit import fit_affine, rotation_degrees
from autofuse_jax.transforms.grids import to_world


@dataclasses.dataclass(frozen=True, eq=False)
class AffinePart:
    """Least-squares fit `x + u(x) ~ matrix @ x + offset` in voxels, and the size of what it leaves.

    Attributes:
        matrix: (3, 3).
        offset: (3,), voxels.
        shift_mm: Length of the displacement that the fit gives the middle of the points.
        rotation_degrees: Angle of the rotation in the fit (polar decomposition in millimetres).
        volume_factor: Determinant of the matrix: volume in the moving image of a unit of volume in the fixed one.
        rest_mean_mm: Mean length of the local rest over the fitted points.
        rest_max_mm: Largest length of the rest among them.
    """

    matrix: np.ndarray
    offset: np.ndarray
    shift_mm: float
    rotation_degrees: float
    volume_factor: float
    rest_mean_mm: float
    rest_max_mm: float

    def rest(self, points: np.ndarray, displacement: np.ndarray) -> np.ndarray:
        """Return the local part r of the map: x + r(x) = matrix^-1 (x + u(x) - offset).

        Args:
            points: (..., 3), x in voxels.
            displacement: (..., 3), u(x) in voxels.

        Returns:
            (..., 3), voxels.
        """
        return (points + displacement - self.offset) @ np.linalg.pinv(self.matrix).T - points


def affine_part(points: np.ndarray, displacement: np.ndarray, spacing: tuple[float, ...]) -> AffinePart:
    """Split a displacement field into an affine part and a rest.

    Args:
        points: (N, 3), voxel positions evenly spread over the grid.
        displacement: (N, 3), displacement of each in voxels, finite.
        spacing: Voxel size along the three axes in millimetres.

    Returns:
        The fit.
    """
    points, displacement = np.asarray(points, np.float64), np.asarray(displacement, np.float64)
    in_mm = np.asarray(spacing, np.float64)
    affine = fit_affine(points, displacement)
    matrix, middle = affine[:3, :3], points.mean(axis=0)
    fit = AffinePart(
        matrix=matrix,
        offset=affine[:3, 3],
        shift_mm=float(np.linalg.norm((to_world(affine, middle) - middle) * in_mm)),
        rotation_degrees=rotation_degrees(in_mm[:, None] * matrix / in_mm),
        volume_factor=float(np.linalg.det(matrix)),
        rest_mean_mm=math.nan,
        rest_max_mm=math.nan,
    )
    lengths = np.linalg.norm(fit.rest(points, displacement) * in_mm, axis=-1)
    return dataclasses.replace(fit, rest_mean_mm=float(lengths.mean()), rest_max_mm=float(lengths.max()))
