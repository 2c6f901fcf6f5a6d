"""Comparing runs on the same pairs: differences, their intervals, effect sizes and corrected paired tests."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from autofuse_jax.metrics.statistics import difference_interval, holm, paired_differences, rank_biserial, wilcoxon_p
from autofuse_jax.reports.evaluation_quantities import QUANTITIES, Quantity

Records = Sequence[Mapping[str, Any]]


@dataclasses.dataclass(frozen=True)
class Comparison:
    """One run against the reference in one quantity, over the pairs in which both have a number.

    Attributes:
        quantity: Key of the quantity.
        label: Id of the structure; None for the mean over structures, and for quantities without structures.
        structure: Name of the structure; '' where `label` is None.
        run: Name of the run.
        reference: Name of the reference run.
        pairs: Number of pairs.
        mean: Mean of the run over these pairs.
        reference_mean: Mean of the reference over these pairs.
        difference: Mean of run - reference.
        lower: Lower limit of the 95 % bootstrap interval of the difference; nan with fewer than two groups.
        upper: Upper limit.
        effect: Matched-pairs rank-biserial correlation, positive where the run's number is higher.
        p: P value of the Wilcoxon signed-rank test.
        p_holm: The same corrected by Holm within its family.
    """

    quantity: str
    label: int | None
    structure: str
    run: str
    reference: str
    pairs: int
    mean: float
    reference_mean: float
    difference: float
    lower: float
    upper: float
    effect: float
    p: float
    p_holm: float


def compare(runs: Mapping[str, Records], reference: str, classes: Mapping[int, str]) -> list[Comparison]:
    """Compare every run with the reference.

    P values of a quantity are corrected in two families: all runs in the mean, and all runs and structures.

    Args:
        runs: Records by the name of the run; the same pairs in the same order.
        reference: Name of the run that the others are compared with.
        classes: Names of the structures by label id.

    Returns:
        Comparisons by quantity: means of all runs first, then structures; none where no pair has a number in both.
    """
    comparisons = []
    for quantity in QUANTITIES:
        comparisons += _corrected(_family(runs, reference, quantity, [(None, '')]))
        if quantity.per_label:
            comparisons += _corrected(_family(runs, reference, quantity, list(classes.items())))
    return comparisons


def _family(
    runs: Mapping[str, Records], reference: str, quantity: Quantity, structures: Sequence[tuple[int | None, str]]
) -> list[Comparison]:
    members = []
    for label, name in structures:
        base = values_of(runs[reference], quantity, label)
        for run, records in runs.items():
            if run != reference:
                member = _compare(values_of(records, quantity, label), base, _groups(records))
                if member is not None:
                    members.append(Comparison(quantity.key, label, name, run, reference, **member, p_holm=math.nan))
    return members


def values_of(records: Records, quantity: Quantity, label: int | None = None) -> list[float]:
    """Return one number a pair, nan where there is none."""
    if label is None:
        return [record.get(quantity.key, math.nan) for record in records]
    return [(record.get(f'{quantity.key}_per_label') or {}).get(label, math.nan) for record in records]


def _groups(records: Records) -> list[str]:
    return [record.get('subject', record['pair']) for record in records]


def _compare(values: Sequence[float], base: Sequence[float], groups: Sequence[str]) -> dict[str, Any] | None:
    difference = paired_differences(values, base)
    both = ~np.isnan(difference)
    if not both.any():
        return None
    # With a single group every resample is the same, and the interval would promise certainty.
    several = len({group for group, in_both in zip(groups, both, strict=True) if in_both}) > 1
    lower, upper = difference_interval(values, base, groups=groups) if several else (math.nan, math.nan)
    return {
        'pairs': int(both.sum()),
        'mean': float(np.asarray(values)[both].mean()),
        'reference_mean': float(np.asarray(base)[both].mean()),
        'difference': float(difference[both].mean()),
        'lower': lower,
        'upper': upper,
        'effect': rank_biserial(values, base),
        'p': wilcoxon_p(values, base),
    }


def _corrected(family: Sequence[Comparison]) -> list[Comparison]:
    corrected = holm([member.p for member in family])
    return [dataclasses.replace(member, p_holm=p) for member, p in zip(family, corrected, strict=True)]
