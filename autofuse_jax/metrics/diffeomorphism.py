"""Non-diffeomorphic volume (NDV): how much volume the transform turns inside out, without a choice of differences.

One-sided or central differences may each miss folds. Between voxels the transform is here linear on tetrahedra: a cell
of 2 x 2 x 2 voxels is cut into five in two ways. Every voxel is a corner of eight small tetrahedra, one for each choice
of forward and backward differences, and of two large ones in the middle of a cell; the two ways count half each.
"""

import itertools

import numpy as np

from autofuse_jax.metrics.determinants import DETERMINANTS

# Edges from a voxel to the other corners of the two large tetrahedra; their determinant is 2 where nothing moves.
LARGE_TETRAHEDRA = (((-1, -1, 0), (-1, 0, -1), (0, -1, -1)), ((1, 1, 0), (0, 1, 1), (1, 0, 1)))
# Six times the volume of a tetrahedron is its determinant, and every cell is cut in two ways.
VOLUME_SHARE = 1 / (6 * 2)


def ndv_percent(displacement: np.ndarray) -> float:
    """Non-diffeomorphic volume in percent of the volume of the interior voxels.

    NDV = 100 / n * sum over interior voxels and their ten tetrahedra of max(-det, 0) / 12, with det the determinant of
    the three edges x + e + u(x + e) - x - u(x), positive where nothing moves.

    Args:
        displacement: (D, H, W, 3), in voxels, every size at least 3.

    Returns:
        The percentage, 0 for a diffeomorphism; it may exceed 100.

    Raises:
        ValueError: The shape is another one, or the field holds NaN or infinities.

    Reference:
        Liu et al., On finite difference Jacobian computation in deformable image registration, IJCV 132, 2024.

    Example:
        >>> ndv_percent(np.zeros((4, 4, 4, 3)))
        0.0
    """
    field = np.asarray(displacement, np.float64)
    if field.ndim != 4 or field.shape[-1] != 3 or min(field.shape[:3]) < 3:
        raise ValueError(f'displacement of shape {field.shape} must be (D, H, W, 3) with sizes of at least 3')
    if not np.isfinite(field).all():
        raise ValueError('the displacement holds NaN or infinite values, so it has no volume')
    volume = 0.0
    for signs in itertools.product((1, -1), repeat=3):
        # Edges along the axes, written so that a backward difference is positive where nothing moves.
        edges = [sign * _moved_edge(field, np.eye(3, dtype=int)[axis] * sign) for axis, sign in enumerate(signs)]
        volume += _inverted(edges)
    for tetrahedron in LARGE_TETRAHEDRA:
        volume += _inverted([_moved_edge(field, edge) for edge in tetrahedron])
    interior = np.prod([size - 2 for size in field.shape[:3]])
    return float(100 * volume / interior)


def _moved_edge(field: np.ndarray, edge: tuple[int, int, int]) -> np.ndarray:
    """Where the edge from each interior voxel to its neighbour at `edge` points after the transform, (d, h, w, 3)."""
    there = tuple(slice(1 + step, size - 1 + step) for step, size in zip(edge, field.shape[:3], strict=True))
    return np.asarray(edge) + field[there] - field[1:-1, 1:-1, 1:-1]


def _inverted(edges: list[np.ndarray]) -> float:
    # The determinant of this package adds the identity, which these edges hold already.
    gradient = (edge - row for edge, row in zip(edges, np.eye(3), strict=True))
    return float(np.maximum(-DETERMINANTS['correct'](*gradient), 0).sum()) * VOLUME_SHARE
