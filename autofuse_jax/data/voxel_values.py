"""What the voxels of label maps and masks may hold: ids that are whole numbers, weights from 0 to 1, never NaN."""

import numpy as np

from autofuse_jax.errors import UserError

# Scaling by a slope in float32 misses whole numbers by this share of them at most; so does rounding of weights.
WHOLE_TOLERANCE = 1e-6
WEIGHT_TOLERANCE = 1e-3


def whole_numbers(array: np.ndarray, name: str, *, allow_series: bool = False) -> np.ndarray:
    """Return the ids of a label map.

    Scaling in a header leaves 1.00000001 for 1, so that values within `WHOLE_TOLERANCE` of a whole number are it.

    Args:
        array: (D, H, W), with axes of length 1 behind or without.
        name: Name of the label map in messages.
        allow_series: Whether (D, H, W, T) is accepted; default False.

    Returns:
        int32 of that shape, axes of length 1 behind left out.

    Raises:
        UserError: Another shape, or values that are NaN or no whole numbers below 2^31.
    """
    array = without_trailing_ones(np.asarray(array))
    series = ' or a series (D, H, W, T)' if allow_series else ''
    if array.ndim not in ((3, 4) if allow_series else (3,)) or 0 in array.shape:
        raise UserError(f'{name} has shape {array.shape}', expected=f'three axes (D, H, W){series}')
    _refuse_not_finite(array, name, 'one integer id per voxel, 0 for the background')
    limits = np.iinfo(np.int32)
    if not is_whole(array) or array.min() < limits.min or array.max() > limits.max:
        raise UserError(
            f'{name} holds values that are not whole numbers',
            expected='one integer id per voxel, below 2^31',
            fix='check that it is a label map and not an image, and that it was resampled by nearest neighbour',
        )
    return np.ascontiguousarray(array if array.dtype.kind in 'biu' else np.rint(array), np.int32)


def is_whole(values: np.ndarray) -> bool:
    """Tell whether all values are whole numbers, up to what the scaling of a header leaves.

    Args:
        values: Real numbers.
    """
    if values.dtype.kind in 'biu':
        return True
    # Not finite numbers are not near anything.
    with np.errstate(invalid='ignore'):
        return bool((np.abs(values - np.rint(values)) <= WHOLE_TOLERANCE * np.maximum(np.abs(values), 1)).all())


def mask_weights(array: np.ndarray, name: str) -> np.ndarray:
    """Return how much each voxel counts.

    Whole numbers say where the image counts: where they are not 0. Other values between 0 and 1 are the weights
    themselves, such as probabilities.

    Args:
        array: (D, H, W), with axes of length 1 behind or without.
        name: Name of the mask in messages.

    Returns:
        float32 (D, H, W) in [0, 1].

    Raises:
        UserError: Another shape, values that are neither or NaN, or 0 everywhere.
    """
    array = without_trailing_ones(np.asarray(array))
    if array.ndim != 3 or 0 in array.shape:
        raise UserError(f'{name} has shape {array.shape}', expected='three axes (D, H, W)')
    _refuse_not_finite(array, name, 'a number per voxel, 0 where the image does not count')
    if is_whole(array):
        weights = (np.rint(array) if array.dtype.kind == 'f' else array) != 0
    elif array.min() < -WEIGHT_TOLERANCE or array.max() > 1 + WEIGHT_TOLERANCE:
        raise UserError(
            f'{name} holds fractions and values from {array.min():.6g} to {array.max():.6g}',
            expected='whole numbers, not 0 where the image counts, or weights from 0 to 1',
            fix='divide a probability map by its largest value, or threshold it',
        )
    else:
        weights = np.clip(array, 0, 1)
    if not weights.any():
        raise UserError(f'{name} is empty', fix='leave it out, or mark what counts by 1')
    return np.ascontiguousarray(weights, np.float32)


def _refuse_not_finite(array: np.ndarray, name: str, expected: str) -> None:
    """Refuse a label map or mask with voxels of which it says nothing: whether they are background is not known."""
    bad = int(array.size - np.count_nonzero(np.isfinite(array)))
    if bad:
        raise UserError(
            f'{name} holds NaN or infinite values in {bad} of {array.size} voxels',
            expected=expected,
            fix='replace them by 0; fslmaths IN -nan OUT does so with NaN',
        )


def without_trailing_ones(array: np.ndarray) -> np.ndarray:
    """Drop axes of length 1 behind the third: many tools write a single volume as (D, H, W, 1)."""
    while array.ndim > 3 and array.shape[-1] == 1:
        array = array[..., 0]
    return array
