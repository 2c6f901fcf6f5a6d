"""Local correlation of two images on the host: how alike they are where both are valid, whatever the scale of each."""

import functools
import math
from collections.abc import Callable, Sequence
from types import EllipsisType

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
# A part of a volume.
Rows = tuple[slice, ...] | EllipsisType


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

    def known_in(rows: Rows) -> np.ndarray:
        return np.ones(fixed[rows].shape) if valid is None else np.asarray(valid[rows], np.float64)

    def values_in(rows: Rows, image: np.ndarray) -> np.ndarray:
        weights = known_in(rows)
        return np.where(weights > 0, image[rows], 0) * weights

    step = math.ceil((fixed.size / MOST_VOXELS) ** (1 / 3))
    if step > 1:
        blocks = Blocks(fixed.shape, [min(step, size) for size in fixed.shape])
        known = blocks.means(known_in)
        sums = [blocks.means(functools.partial(values_in, image=image)) for image in (fixed, moved)]
        images = [total / np.maximum(known, LEAST_VALID) for total in sums]
    else:
        known = known_in(...)
        images = [np.where(known > 0, image, 0) for image in (fixed, moved)]
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


class Blocks:
    """Blocks of voxels of a volume, from its first voxel on; those that end less than half inside are left out.

    Args:
        shape: (D, H, W) of the volume.
        sides: Sides of a block, voxels, none longer than the volume.
    """

    def __init__(self, shape: Sequence[int], sides: Sequence[int]):
        self._sides = sides
        self._starts = [
            np.arange(len(range(side // 2, size, side))) * side for size, side in zip(shape, sides, strict=True)
        ]
        self._ends = [min(start[-1] + side, size) for start, side, size in zip(self._starts, sides, shape, strict=True)]

    def means(self, values_in: Callable[[Rows], np.ndarray]) -> np.ndarray:
        """Return the mean over each block; what a block lacks counts as zeros.

        Block by block along the first axis: a large volume in float64 would take many times its memory.

        Args:
            values_in: Gives the values of a part of the volume.
        """
        means = np.empty([start.size for start in self._starts])
        for number, first in enumerate(self._starts[0]):
            last = min(first + self._sides[0], self._ends[0])
            layer = values_in(np.s_[first:last, : self._ends[1], : self._ends[2]]).sum(axis=0)
            means[number] = np.add.reduceat(np.add.reduceat(layer, self._starts[1], axis=0), self._starts[2], axis=1)
        return means / math.prod(self._sides)


def _mean(image: np.ndarray) -> np.ndarray:
    """Mean over the window, zeros outside; a single slice is compared within itself."""
    sides = [1 if size == 1 else WINDOW for size in image.shape]
    return ndimage.uniform_filter(np.asarray(image, np.float64), sides, mode='constant')
