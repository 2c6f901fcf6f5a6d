"""Intensity normalisation of a single volume."""

import numpy as np

from autofuse_jax.errors import UserError


def min_max_normalise(image: np.ndarray, name: str) -> np.ndarray:
    """Scale the grey values of one volume linearly to [0, 1]: (image - min) / (max - min).

    Args:
        image: Real numbers of any shape.
        name: What an error message calls this volume.

    Returns:
        float32 of the same shape, with smallest value 0 and largest value 1.

    Raises:
        UserError: NaN or infinite values, or the same value everywhere.
    """
    # float64, because max - min of large float32 values can overflow or lose the small differences.
    values = np.asarray(image, np.float64)
    if not np.isfinite(values).all():
        raise UserError(f'{name} holds NaN or infinite values', fix='repair or leave out this volume')
    low, high = values.min(), values.max()
    if low == high:
        raise UserError(
            f'{name} has the same value {low:g} everywhere',
            expected='an image with contrast inside the prepared grid',
            fix='leave out this volume, or check spacing and shape',
        )
    return ((values - low) / (high - low)).astype(np.float32)
