"""The affine map that is nearest to a deformation, and the rotation in an affine map."""

import math

import numpy as np

from autofuse_jax.transforms.grids import to_world, voxel_indices
from autofuse_jax.transforms.maps import AffineTransform, DenseTransform, Transform

# A dense transform is fitted on about so many points per axis.
FIT_POINTS = 12


def fit_affine(points: np.ndarray, displacement: np.ndarray) -> np.ndarray:
    """Fit an affine map to displaced points by least squares: `p + u(p) ~ M p + t`.

    Args:
        points: (N, 3), p, in any unit.
        displacement: (N, 3), u(p), in the same unit.

    Returns:
        float64 (4, 4), p -> M p + t. Along an axis on which all points are equal, M is the identity.
    """
    points, displacement = np.asarray(points, np.float64), np.asarray(displacement, np.float64)
    middle = points.mean(axis=0)
    # Around the middle, so that the derivative along an axis of a single voxel is 0 and not unknown.
    columns = np.hstack([points - middle, np.ones((len(points), 1))])
    slope, shift = np.split(np.linalg.lstsq(columns, displacement, rcond=None)[0], [3])
    matrix = np.eye(4)
    matrix[:3, :3] += slope.T
    matrix[:3, 3] = middle + shift[0] - matrix[:3, :3] @ middle
    return matrix


def nearest_affine(transform: Transform) -> np.ndarray:
    """Return the affine map that is nearest to a transform: exact for affine ones, least squares over a dense grid.

    Args:
        transform: An affine or dense transform; the identity stands for any other, and for a dense one whose fit is
            singular (its grid has a single slice, or everything goes to one plane).

    Returns:
        float64 (4, 4), RAS millimetres.
    """
    if isinstance(transform, AffineTransform):
        return np.asarray(transform.matrix, np.float64)
    if not isinstance(transform, DenseTransform) or min(transform.grid.shape) == 1:
        return np.eye(4)
    strides = [math.ceil(size / FIT_POINTS) for size in transform.grid.shape]
    displacement = transform.displacement[tuple(slice(None, None, stride) for stride in strides)].astype(np.float64)
    points = to_world(transform.affine, voxel_indices(displacement.shape[:3]) * strides)
    fit = fit_affine(points.reshape(-1, 3), displacement.reshape(-1, 3) @ transform.affine[:3, :3].T)
    return fit if np.linalg.matrix_rank(fit[:3, :3]) == 3 else np.eye(4)


def rotation_degrees(matrix: np.ndarray) -> float:
    """Return the angle of the rotation in a linear map, by polar decomposition.

    Args:
        matrix: (3, 3), in millimetres; of one that mirrors, the rotation beside the point reflection counts.

    Returns:
        0 to 180.
    """
    left, _, right = np.linalg.svd(matrix)
    rotation = left @ right
    cosine = (np.trace(rotation) * np.linalg.det(rotation) - 1) / 2
    return math.degrees(math.acos(max(-1.0, min(1.0, cosine))))
