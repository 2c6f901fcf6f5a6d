"""Structures of label maps: which ids there are, how large they are, what they are called, and means over them."""

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping

import numpy as np

BACKGROUND = 0
# Ids up to here are counted in a table with a place for each; larger ones are sorted, which takes longer.
LARGEST_TABLED = 2**16 - 1


def voxel_counts(labels: np.ndarray) -> dict[int, int]:
    """Return the number of voxels of every id.

    Args:
        labels: Integer label map of any shape.

    Returns:
        Label id to number of voxels, background included, in ascending order of the ids.
    """
    labels = np.asarray(labels)
    if not labels.size:
        return {}
    if labels.min() >= 0 and labels.max() <= LARGEST_TABLED:
        table = np.bincount(labels.reshape(-1))
        ids = np.flatnonzero(table)
        counts = table[ids]
    else:
        ids, counts = np.unique(labels, return_counts=True)
    return dict(zip(ids.tolist(), counts.tolist(), strict=True))


def label_ids(*maps: np.ndarray | None) -> list[int]:
    """Return the ids that occur in any of the maps, background left out, in ascending order.

    Args:
        *maps: Integer label maps of any shapes; None is a map that holds nothing.

    Returns:
        Ids; empty where there is background only.
    """
    ids = set().union(*(voxel_counts(labels) for labels in maps if labels is not None))
    return sorted(ids - {BACKGROUND})


def structure_names(ids: Iterable[int], classes: Mapping[int, str], *, taken: Collection[str] = ()) -> dict[int, str]:
    """Return the names of structures; 'label 7' for an id without one.

    Args:
        ids: Label ids; the background is left out even if it is among them.
        classes: Label id to name, as far as names are known.
        taken: Names of something else.

    Returns:
        Label id to name, in the order of `ids`. No two are the same, because results are kept by name: where a name is
        there twice, or differs by blanks and underscores only, the id stands behind it.
    """
    names = {label: classes.get(label, f'label {label}') for label in ids if label != BACKGROUND}
    times = Counter(map(_column, (*names.values(), *taken)))
    return {label: name if times[_column(name)] == 1 else f'{name} (label {label})' for label, name in names.items()}


def mean_over_structures(scores: Mapping[int, float]) -> float:
    """Return the mean of the scores of one pair over its structures; those without a number (nan) are skipped.

    Args:
        scores: Label id to score.

    Returns:
        The mean; nan where no score is a number or there is none.

    Example:
        >>> round(mean_over_structures({1: 0.8, 2: 0.6, 3: math.nan}), 2)
        0.7
    """
    numbers = [score for score in scores.values() if not math.isnan(score)]
    return float(np.mean(numbers)) if numbers else math.nan


def _column(name: str) -> str:
    """A name as the columns of tables have it."""
    return name.replace(' ', '_')
