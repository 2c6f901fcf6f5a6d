"""How regular a displacement field is: the Jacobian determinant of x + u(x), the share of folded voxels, its spread.

Numbers of different programs can be compared only if they use the same differences and the same voxels. Here these are
forward differences on the grid of (D-1, H-1, W-1) voxels where all three exist, with no mask. Evaluation protocols may
ask for central differences instead.
"""

import numpy as np

from autofuse_jax.metrics.determinants import DETERMINANTS
from autofuse_jax.transforms.grids import slabs

# Determinants below this count as this in the logarithm; about the volume change of a voxel squeezed to nothing.
SMALLEST_DETERMINANT = 1e-9


def jacobian_determinant(displacement: np.ndarray, kind: str = 'correct') -> np.ndarray:
    """Determinant of the deformation gradient: det J with J_ij = delta_ij + du_i / dx_j.

    Rows are displacement components, columns are axes, derivatives are forward differences. 1 means no volume change,
    2 that the fixed voxel covers twice its volume in the moving image, 0 or less that the field folds.

    Along an axis with a single voxel nothing changes: of a slice, it is the determinant within the plane.

    Args:
        displacement: (D, H, W, 3), in voxels, last axis along (D, H, W).
        kind: 'correct' (default), or 'official' for what the official AutoFuse code computes instead, see
            `determinants.official_determinant`; for replaying published numbers only.

    Returns:
        float64 array of shape (D-1, H-1, W-1), with 1 for an axis of a single voxel.

    Raises:
        ValueError: The shape is another one, or the field holds NaN or infinities.

    Example:
        >>> displacement = np.zeros((3, 3, 3, 3))
        >>> displacement[..., 0] = -0.5 * np.arange(3)[:, None, None]
        >>> float(jacobian_determinant(displacement)[0, 0, 0])
        0.5
    """
    _check_shape(displacement, 1)
    for axis in range(3):
        if displacement.shape[axis] == 1:
            # The slice twice, so that there is a difference, which is 0.
            displacement = np.repeat(displacement, 2, axis)
    determinant = np.empty([size - 1 for size in displacement.shape[:3]])
    for rows in slabs(determinant.shape):
        # The differences of the last row need the row behind it.
        field = _checked_field(displacement[rows.start : rows.stop + 1], 2)
        origin = field[:-1, :-1, :-1]
        along_d = field[1:, :-1, :-1] - origin
        along_h = field[:-1, 1:, :-1] - origin
        along_w = field[:-1, :-1, 1:] - origin
        determinant[rows] = DETERMINANTS[kind](along_d, along_h, along_w)
    return determinant


def central_determinant(displacement: np.ndarray, margin: int = 1) -> np.ndarray:
    """Determinant of the deformation gradient with central differences, (u(x + 1) - u(x - 1)) / 2.

    Args:
        displacement: (D, H, W, 3), in voxels, every size at least 2 margin + 1.
        margin: Number of voxels left out at each side, at least 1; Learn2Reg leaves out 2.

    Returns:
        float64 array of shape (D - 2 margin, H - 2 margin, W - 2 margin).

    Raises:
        ValueError: The shape is another one, the margin is below 1, or the field holds NaN or infinities.
    """
    if margin < 1:
        raise ValueError(f'margin {margin} must be at least 1: the outermost voxels have no neighbour on one side')
    field = _checked_field(displacement, 2 * margin + 1)
    derivatives = []
    for axis in range(3):
        ahead, behind = ([slice(margin, -margin)] * 3 for _ in range(2))
        ahead[axis] = slice(margin + 1, field.shape[axis] - margin + 1)
        behind[axis] = slice(margin - 1, -margin - 1)
        derivatives.append((field[tuple(ahead)] - field[tuple(behind)]) / 2)
    return DETERMINANTS['correct'](*derivatives)


def njd_percent(determinant: np.ndarray, threshold: float = 0.0) -> float:
    """Percentage of voxels whose Jacobian determinant is zero or negative (NJD).

    Args:
        determinant: Jacobian determinant as returned by `jacobian_determinant`, at least one voxel.
        threshold: A voxel is folded where the determinant is at most this.

    Returns:
        A value in [0, 100].

    Example:
        >>> float(njd_percent(np.array([1.0, 0.5, 0.0, -1.0]).reshape(4, 1, 1)))
        50.0
    """
    return 100.0 * np.count_nonzero(determinant <= threshold) / determinant.size


def official_njd_percent(displacement: np.ndarray) -> float:
    """Percentage of voxels where the official AutoFuse code counts a fold: its determinant is below zero.

    That quantity does not see a fold along axis 0 or 1, see `determinants.official_determinant`. The official code
    prints the count; the paper reports a percentage.

    Args:
        displacement: (D, H, W, 3), in voxels.

    Returns:
        A value in [0, 100].
    """
    determinant = jacobian_determinant(displacement, 'official')
    return 100.0 * np.count_nonzero(determinant < 0) / determinant.size


def sdlogj(determinant: np.ndarray) -> float:
    """Standard deviation of the logarithm of the Jacobian determinant (SDlogJ): std(log(max(det J, 1e-9))).

    Determinants that are not positive have no logarithm. They, and those below 1e-9, are set to 1e-9, so each folded
    voxel adds a deviation of about 21 and the value rises with folding instead of hiding it. No other voxel is
    changed or left out.

    Args:
        determinant: Jacobian determinant as returned by `jacobian_determinant`.

    Returns:
        The population standard deviation over all voxels, without unit; 0 for a rigid shift.

    Reference:
        Leow et al., Statistical properties of Jacobian maps, IEEE TMI 26(6), 2007. The Learn2Reg challenge adds 3 to
        the determinant before the logarithm, so its values are smaller than these.

    Example:
        >>> sdlogj(np.ones((2, 2, 2)))
        0.0
    """
    count, mean, squares = 0, 0.0, 0.0
    for rows in slabs(determinant.shape):
        logarithm = np.log(np.maximum(determinant[rows], SMALLEST_DETERMINANT), dtype=np.float64)
        more, apart = logarithm.size, logarithm.mean() - mean
        # Spreads of parts joined (Chan, Golub and LeVeque, 1979): a whole field at once takes several times its memory.
        squares += more * logarithm.var() + apart**2 * count * more / (count + more)
        count += more
        mean += apart * more / count
    return float(np.sqrt(squares / count))


def _check_shape(displacement: np.ndarray, smallest: int) -> None:
    shape = displacement.shape
    if len(shape) != 4 or shape[-1] != 3 or min(shape[:3]) < smallest:
        raise ValueError(f'displacement of shape {shape} must be (D, H, W, 3) with sizes of at least {smallest}')


def _checked_field(displacement: np.ndarray, smallest: int) -> np.ndarray:
    _check_shape(displacement, smallest)
    field = np.asarray(displacement, np.float64)
    if not np.isfinite(field).all():
        raise ValueError('the displacement holds NaN or infinite values, so it has no Jacobian determinant')
    return field
