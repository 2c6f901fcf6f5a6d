"""Intensity normalisation of a single volume."""

import dataclasses

import numpy as np

from autofuse_jax.data.volumes import Volume
from autofuse_jax.errors import UserError
from autofuse_jax.transforms.grids import slabs

# Values above this percentile of the foreground are clipped, and values below that one of all, if they are outliers:
# if they take more than this share of the range between both percentiles.
HIGH_PERCENTILE = 99.8
LOW_PERCENTILE = 0.1
OUTLIER_GAP = 0.5
# Of a volume with one bright voxel the percentiles coincide.
SMALLEST_WINDOW = 1e-6


def min_max_normalise(image: np.ndarray, name: str) -> np.ndarray:
    """Scale the grey values of one volume linearly to [0, 1]: (image - min) / (max - min).

    Args:
        image: Real numbers of any shape.
        name: Name of this volume in an error message.

    Returns:
        float32 of the same shape, with smallest value 0 and largest value 1.

    Raises:
        UserError: NaN or infinite values, or the same value everywhere.
    """
    image = np.asarray(image)
    if not np.isfinite(image).all():
        raise UserError(f'{name} holds NaN or infinite values', fix='repair or leave out this volume')
    low, high = np.float64(image.min()), np.float64(image.max())
    if low == high:
        raise UserError(
            f'{name} has the same value {low:g} everywhere',
            expected='an image with contrast inside the prepared grid',
            fix='leave out this volume, or check spacing and shape',
        )
    scaled = np.empty(image.shape, np.float32)
    for rows in slabs(image.shape):
        # float64, because max - min of large float32 values can overflow or lose the small differences.
        scaled[rows] = (image[rows].astype(np.float64) - low) / (high - low)
    return scaled


def window_normalise(volume: Volume) -> Volume:
    """Scale the grey values of one volume to [0, 1] between two percentiles and clip what is beyond.

    A few extreme voxels, such as vessels or metal, then no longer squeeze everything else into a narrow range, which
    matters wherever a similarity has a scale. What a mask leaves out has no say.

    Args:
        volume: Grey values of any range, finite.

    Returns:
        The volume with its image in [0, 1].

    Raises:
        UserError: NaN or infinite values, or the same value everywhere.
    """
    counted = volume.image if volume.mask is None else volume.image[volume.mask > 0]
    if counted.min() == counted.max():
        counted = volume.image
    scaled = min_max_normalise(counted, volume.name)
    # The background is often a large constant; the upper end is that of the values above it.
    high = np.percentile(scaled[scaled > 0], HIGH_PERCENTILE)
    low = np.percentile(scaled, LOW_PERCENTILE)
    # The smallest value is the lower end, unless a few voxels lie so far below all others that these would be squeezed.
    if high > low > OUTLIER_GAP * (high - low):
        # The background is among the values above them.
        high = np.percentile(scaled[scaled > low], HIGH_PERCENTILE)
    else:
        low = 0.0
    smallest = np.float64(counted.min())
    span = np.float64(counted.max()) - smallest
    image = scaled if counted is volume.image else np.empty(volume.image.shape, np.float32)
    for rows in slabs(image.shape):
        if counted is not volume.image:
            image[rows] = (volume.image[rows] - smallest) / span
        image[rows] = np.clip((image[rows] - low) / max(high - low, SMALLEST_WINDOW), 0.0, 1.0)
    return dataclasses.replace(volume, image=image)


def fill_missing(volume: Volume) -> Volume:
    """Give missing values, NaN or infinite, the smallest value there is and the weight 0.

    Args:
        volume: The volume, with a mask or without.

    Returns:
        The volume, finite everywhere; itself where nothing is missing.

    Raises:
        UserError: Nothing is left.
    """
    known = np.isfinite(volume.image)
    if known.all():
        return volume
    mask = known.astype(np.float32) if volume.mask is None else np.where(known, volume.mask, 0.0).astype(np.float32)
    if not mask.any():
        raise UserError(
            f'{volume.name} holds no value that is a number and counts',
            expected='an image with numbers inside its mask',
            fix='check the file and its mask',
        )
    image = np.where(known, volume.image, volume.image[known].min()).astype(np.float32)
    return dataclasses.replace(volume, image=image, mask=mask)


def scale_weights(volume: Volume) -> Volume:
    """Scale a mask so that what counts most has weight 1: weights say how much voxels count beside each other.

    Args:
        volume: The volume, with a mask or without.

    Returns:
        The volume, its mask in [0, 1]; itself without a mask, and where nothing counts.
    """
    largest = 0.0 if volume.mask is None else float(volume.mask.max())
    if volume.mask is None or largest in (0.0, 1.0):
        return volume
    return dataclasses.replace(volume, mask=(volume.mask / largest).astype(np.float32))
