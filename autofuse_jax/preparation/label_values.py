"""Telling a label map from an image by its values, where its name does not."""

import numpy as np

from autofuse_jax.data.voxel_values import is_whole

# Of the pairs of neighbours inside the structures this share and more have one value in a label map: 0.64 and more in
# label maps of 140 structures down to 4 mm, 0.1 and less in MR images of 8 bit and more.
SAME_NEIGHBOURS = 0.5
MOST_VALUES = 256
# Values on every fourth voxel that are more than the limit spare the count of all.
COARSE = 4


def looks_like_labels(image: np.ndarray) -> bool:
    """Tell whether an image holds what a label map holds: a few whole numbers, each over areas of many voxels.

    Measured are pairs of voxels side by side that both differ from the most frequent value, the background: at least
    half of them have the same value in a label map. Without such pairs an image is none.

    Args:
        image: (D, H, W), real numbers; NaN is in no label map.

    Returns:
        Whether it does.
    """
    if len(np.unique(image[::COARSE, ::COARSE, ::COARSE])) > MOST_VALUES or not is_whole(image):
        return False
    values, counts = np.unique(image, return_counts=True)
    if len(values) > MOST_VALUES:
        return False
    inside = image != values[counts.argmax()]
    same = pairs = 0
    for axis in range(image.ndim):
        ahead, behind = (np.moveaxis(image, axis, 0)[part] for part in (slice(1, None), slice(None, -1)))
        both = np.logical_and(*(np.moveaxis(inside, axis, 0)[part] for part in (slice(1, None), slice(None, -1))))
        pairs += int(np.count_nonzero(both))
        same += int(np.count_nonzero(both & (ahead == behind)))
    return pairs > 0 and same >= SAME_NEIGHBOURS * pairs
