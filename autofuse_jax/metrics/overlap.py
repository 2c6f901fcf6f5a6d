"""Overlap of integer label maps: the Dice similarity coefficient (DSC)."""

import math
from collections.abc import Iterable

import numpy as np

from autofuse_jax.metrics.structures import BACKGROUND


def dice_per_label(fixed_labels: np.ndarray, warped_labels: np.ndarray, labels: Iterable[int]) -> dict[int, float]:
    """Dice similarity coefficient of every structure: DSC = 2 |A and B| / (|A| + |B|).

    The same function scores a registration (fixed against warped labels) and a segmentation (true against predicted
    labels).

    Args:
        fixed_labels: Integer label map, (D, H, W).
        warped_labels: Integer label map of the same shape, in any integer type.
        labels: Ids to score; the background 0 is left out even if it is named.

    Returns:
        Label id to DSC in [0, 1], in the order of `labels`: nan where neither map holds the label, 0 where only one
        does.

    Raises:
        ValueError: The shapes differ or a map is not of an integer type.

    Reference:
        Dice, Measures of the amount of ecologic association between species, Ecology 26(3), 1945.

    Example:
        >>> fixed = np.array([0, 1, 1, 2]).reshape(4, 1, 1)
        >>> warped = np.array([0, 1, 2, 2]).reshape(4, 1, 1)
        >>> {label: round(float(score), 2) for label, score in dice_per_label(fixed, warped, [1, 2, 3]).items()}
        {1: 0.67, 2: 0.67, 3: nan}
    """
    fixed_labels, warped_labels = np.asarray(fixed_labels), np.asarray(warped_labels)
    if fixed_labels.shape != warped_labels.shape:
        raise ValueError(f'label maps of shapes {fixed_labels.shape} and {warped_labels.shape} must have equal shapes')
    for array in (fixed_labels, warped_labels):
        if not np.issubdtype(array.dtype, np.integer):
            raise ValueError(f'label maps must be integers, not {array.dtype}: warp labels with nearest sampling')
    scores = {}
    for label in labels:
        if label == BACKGROUND:
            continue
        in_fixed, in_warped = fixed_labels == label, warped_labels == label
        total = np.count_nonzero(in_fixed) + np.count_nonzero(in_warped)
        both = np.count_nonzero(in_fixed & in_warped)
        scores[int(label)] = 2 * both / total if total else math.nan
    return scores
