"""Target registration error (TRE): how far landmarks are from where they belong, in millimetres."""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

# Order of the spline by its name in a protocol.
SPLINE_ORDERS = {'linear': 1, 'cubic': 3}
ROBUST_PERCENTILE = 30


def target_registration_errors(
    fixed_points: np.ndarray,
    moving_points: np.ndarray,
    displacement: np.ndarray | None,
    to_mm: np.ndarray | Sequence[float],
    *,
    interpolation: str = 'linear',
) -> np.ndarray:
    """Distance between the place that each fixed landmark is mapped to and its moving landmark: |M (x + u(x) - y)|.

    Points follow the displacement from the fixed to the moving image, the same way in which an image is pulled.

    Args:
        fixed_points: (n, 3), x, in voxels of the fixed grid.
        moving_points: (n, 3), y, in voxels of the same grid (those of the moving image where both grids are one).
        displacement: (D, H, W, 3), u, in voxels of the fixed grid; outside it the nearest voxel counts. None is no
            displacement: the error before registration.
        to_mm: M: voxel size along (D, H, W) in millimetres, or the (3, 3) part of the affine.
        interpolation: 'linear' or 'cubic' (spline; values outside the grid count as 0, as in Learn2Reg).

    Returns:
        float64 (n,), in millimetres.

    Raises:
        ValueError: The points are not two lists of the same length, or the interpolation is unknown.
    """
    fixed_points, moving_points = (np.asarray(points, np.float64) for points in (fixed_points, moving_points))
    if fixed_points.ndim != 2 or fixed_points.shape[1] != 3 or fixed_points.shape != moving_points.shape:
        raise ValueError(f'landmarks of shapes {fixed_points.shape} and {moving_points.shape} must both be (n, 3)')
    if interpolation not in SPLINE_ORDERS:
        raise ValueError(f'interpolation {interpolation!r} is not one of {", ".join(SPLINE_ORDERS)}')
    mapped = fixed_points
    if displacement is not None:
        mapped = fixed_points + _displacement_at(np.asarray(displacement, np.float64), fixed_points, interpolation)
    matrix = np.asarray(to_mm, np.float64)
    matrix = np.diag(matrix) if matrix.ndim == 1 else matrix
    return np.linalg.norm((mapped - moving_points) @ matrix.T, axis=1)


def robust_summary(errors: np.ndarray) -> dict[str, float]:
    """Mean, median and 30th percentile of landmark errors; the last is the 'robustness' of Learn2Reg.

    Args:
        errors: (n,), in millimetres, at least one.

    Returns:
        'mean', 'median' and 'p30', in millimetres.

    Example:
        >>> robust_summary(np.array([1.0, 2.0, 3.0]))
        {'mean': 2.0, 'median': 2.0, 'p30': 1.6}
    """
    return {
        'mean': float(np.mean(errors)),
        'median': float(np.median(errors)),
        f'p{ROBUST_PERCENTILE}': float(np.percentile(errors, ROBUST_PERCENTILE)),
    }


def _displacement_at(displacement: np.ndarray, points: np.ndarray, interpolation: str) -> np.ndarray:
    mode = 'nearest' if interpolation == 'linear' else 'constant'
    return np.stack(
        [
            ndimage.map_coordinates(
                displacement[..., axis], points.T, output=np.float64, order=SPLINE_ORDERS[interpolation], mode=mode
            )
            for axis in range(3)
        ],
        axis=-1,
    )
