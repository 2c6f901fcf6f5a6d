"""Local correlation of two images on the host: how alike they are where both are valid, whatever the scale of each."""

import math

import numpy as np
from scipy import ndimage

# Side of the window, voxels.
WINDOW = 9
# Images are compared with about this many voxels at most: the mean of millions of windows says no more.
MOST_VOXELS = 500_000
# Windows whose variance is below this share of the image's are flat: nothing can be compared there.
FLAT_SHARE = 0.01
# Windows valid for less than this share say nothing.
LEAST_VALID = 0.2


def local_correlation(fixed: np.ndarray, moved: np.ndarray, valid: np.ndarray | None = None) -> float:
    """Return the mean squared local correlation of two images over the windows in which the fixed one shows anything.

    `mean of cross^2 / (var_I var_J)` over windows of 9^3 voxels, only valid voxels being counted; a window in which the
    moved image is flat counts 0.

    Args:
        fixed: (D, H, W).
        moved: (D, H, W).
        valid: (D, H, W), at least 0: where both images are known; None: everywhere.

    Returns:
        0 .. 1; nan where nothing can be compared.
    """
    known = np.ones(fixed.shape, np.float32) if valid is None else np.asarray(valid, np.float32)
    images = [np.where(known > 0, image, 0) for image in (fixed, moved)]
    step = math.ceil((known.size / MOST_VOXELS) ** (1 / 3))
    if step > 1:
        sides = [min(step, size) for size in known.shape]
        weights = _thinned(known, sides)
        images = [_thinned(image * known, sides) / np.maximum(weights, LEAST_VALID) for image in images]
        known = weights
    images = [np.asarray(image, np.float64) for image in images]
    if not known.any():
        return float('nan')
    images = [image - np.average(image, weights=known) for image in images]
    count = np.maximum(_mean(known), np.finfo(np.float32).eps)
    first, second = (_mean(known * image) / count for image in images)
    squares = [
        _mean(known * image * image) / count - mean**2 for image, mean in zip(images, (first, second), strict=True)
    ]
    cross = _mean(known * images[0] * images[1]) / count - first * second
    floors = [FLAT_SHARE * np.average(image**2, weights=known) for image in images]
    shown = (known > 0.5) & (count > LEAST_VALID) & (squares[0] > floors[0])
    if not shown.any() or not floors[1]:
        return float('nan')
    correlation = np.where(squares[1] > floors[1], cross**2 / np.maximum(squares[0] * squares[1], 1e-30), 0.0)
    return float(np.clip(correlation[shown], 0.0, 1.0).mean())


def _thinned(image: np.ndarray, sides: list[int]) -> np.ndarray:
    """Mean over blocks of voxels."""
    first = tuple(slice(side // 2, None, side) for side in sides)
    return ndimage.uniform_filter(np.asarray(image, np.float64), sides, mode='constant')[first]


def _mean(image: np.ndarray) -> np.ndarray:
    """Mean over the window, zeros outside; a single slice is compared within itself."""
    sides = [1 if size == 1 else WINDOW for size in image.shape]
    return ndimage.uniform_filter(np.asarray(image, np.float64), sides, mode='constant')
