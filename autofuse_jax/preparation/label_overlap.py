"""How much of two label maps agrees before anything is registered."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from autofuse_jax.evaluation.pair_data import PairData
from autofuse_jax.evaluation.pair_scores import score_pair
from autofuse_jax.evaluation.protocol import DEFAULT, DSC

OVERLAP = dataclasses.replace(DEFAULT, name='overlap', quantities=(DSC,))


def label_overlap(first: np.ndarray, second: np.ndarray, classes: Sequence[int]) -> float:
    """Return the mean DSC of the structures of two label maps, as training reports it before registration.

    Args:
        first: Integer labels, (D, H, W).
        second: Integer labels of the same shape.
        classes: Ids to average over; background 0 is left out, and so is an id that neither map holds.

    Returns:
        The mean in [0, 1]; nan where no structure is present at all.
    """
    pair = PairData(fixed_labels=first, moving_labels=second, structures=classes)
    return score_pair(pair, OVERLAP)['dsc_before']
