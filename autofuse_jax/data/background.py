"""What an image shows where there is nothing, so that what lies outside of it can be filled with that."""

import dataclasses

import numpy as np

from autofuse_jax.choices import AUTO, MINIMUM

# Side of the blocks at the corners, as a share of an axis and in voxels at most.
CORNER_SHARE, LARGEST_CORNER = 0.1, 8
# The corners show the background where most of their values lie within this share of the range of the image.
CORNER_SPREAD = 0.1
RANGE_PERCENTILES = (1.0, 99.0)
CORNER_PERCENTILES = (10.0, 90.0)
LOW_PERCENTILE = 0.1


@dataclasses.dataclass(frozen=True)
class Background:
    """A value to fill with.

    Attributes:
        value: The value, NaN for missing data.
        source: Origin of the value, in words.
    """

    value: float
    source: str

    @property
    def sentence(self) -> str:
        """The value and where it comes from, in words."""
        # Adding 0 takes the sign off a negative zero.
        return f'{self.value + 0.0:g} ({self.source})'


ZERO = Background(0.0, 'zero')


def choose_background(image: np.ndarray, wanted: float | str = AUTO) -> Background:
    """Return the value with which what lies outside of an image is filled.

    Args:
        image: (D, H, W) or (D, H, W, T), NaN where data are missing.
        wanted: A number; 'min', the smallest value of the image; or 'auto', its own background.

    Returns:
        The value. The own background is the value of the corners where those are alike: the most frequent one where it
        makes up half of them and their median otherwise, NaN where most of them are; else the low end of the image:
        its smallest value, a few strange voxels left out. It follows every change of offset and scale of the image.
    """
    if not isinstance(wanted, str):
        return Background(float(wanted), 'as asked for')
    finite = image[np.isfinite(image)]
    if not finite.size:
        return Background(float('nan'), 'no value is known')
    if wanted == MINIMUM:
        return Background(float(finite.min()), 'the smallest value of the image')
    corners = _corners(image)
    known = corners[np.isfinite(corners)]
    if 2 * known.size < corners.size:
        return Background(float('nan'), 'the corners of the image are missing data')
    values, counts = np.unique(known, return_counts=True)
    if 2 * counts.max() >= known.size:
        return Background(float(values[counts.argmax()]), 'the value of most of its corners')
    low, high = np.percentile(finite, RANGE_PERCENTILES)
    bottom, top = np.percentile(known, CORNER_PERCENTILES)
    if top - bottom <= CORNER_SPREAD * (high - low):
        return Background(float(np.median(known)), 'the median of its corners')
    low = np.percentile(finite, LOW_PERCENTILE, method='lower')
    return Background(float(low), 'the low end of the image, whose corners differ')


def _corners(image: np.ndarray) -> np.ndarray:
    """Return the values of the blocks at the eight corners."""
    blocks = image
    for axis in range(3):
        size = image.shape[axis]
        side = min(max(1, round(CORNER_SHARE * size)), LARGEST_CORNER, -(-size // 2))
        ends = np.unique(np.concatenate([np.arange(side), np.arange(size - side, size)]))
        blocks = np.take(blocks, ends, axis)
    return blocks.ravel()
