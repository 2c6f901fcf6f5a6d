"""How sure a mean over pairs is, and whether two methods differ on the same pairs."""

import math
from collections.abc import Hashable, Sequence

import numpy as np
from scipy import stats

# Decimals of differences that are ranked, as shares of the largest score: what is behind them is rounding.
RANK_DECIMALS = 10


def bootstrap_interval(
    values: Sequence[float],
    *,
    groups: Sequence[Hashable] | None = None,
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean.

    Pairs of one person are alike, so resampling them one by one would promise too narrow an interval; with `groups`,
    whole persons are drawn instead.

    Args:
        values: One number per pair; nan is skipped.
        groups: The person of each pair; None treats every pair as its own group.
        confidence: Coverage, between 0 and 1.
        resamples: Number of bootstrap samples.
        seed: Seed of the resampling, so that a report can be repeated.

    Returns:
        Lower and upper limit; both nan where no value is left.

    Raises:
        ValueError: `groups` has another length than `values`, or `confidence` is not between 0 and 1.

    Reference:
        Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.

    Example:
        >>> low, high = bootstrap_interval([1.0, 2.0, 3.0])
        >>> bool(low <= 2.0 <= high)
        True
    """
    groups = range(len(values)) if groups is None else groups
    if len(groups) != len(values):
        raise ValueError(f'{len(groups)} groups for {len(values)} values: the lengths must be equal')
    if not 0 < confidence < 1:
        raise ValueError(f'confidence {confidence} must be between 0 and 1')
    members: dict[Hashable, list[float]] = {}
    for value, group in zip(values, groups, strict=True):
        if not math.isnan(value):
            members.setdefault(group, []).append(value)
    if not members:
        return math.nan, math.nan
    sums = np.array([sum(group) for group in members.values()])
    counts = np.array([len(group) for group in members.values()])
    draws = np.random.default_rng(seed).integers(len(sums), size=(resamples, len(sums)))
    means = sums[draws].sum(1) / counts[draws].sum(1)
    tail = (1 - confidence) / 2
    lower, upper = np.quantile(means, [tail, 1 - tail])
    return float(lower), float(upper)


def wilcoxon_p(first: Sequence[float], second: Sequence[float]) -> float:
    """Two-sided P value of the paired Wilcoxon signed-rank test that two methods score alike on the same pairs.

    Args:
        first: Score of one method on each pair.
        second: Score of the other method on the same pairs in the same order; pairs with nan in either are skipped.

    Returns:
        The P value, in (0, 1]; 1 where no difference is left to test.

    Raises:
        ValueError: The lengths differ.

    Reference:
        Wilcoxon, Individual comparisons by ranking methods, Biometrics Bulletin 1(6), 1945.

    Example:
        >>> round(wilcoxon_p([1.0, 2.0, 3.0, 4.0, 5.0], [1.1, 2.2, 3.3, 4.4, 5.5]), 4)
        0.0625
    """
    if len(first) != len(second):
        raise ValueError(f'{len(first)} and {len(second)} scores: the test needs the same pairs for both methods')
    difference = _for_ranks(first, second)
    if not difference.any():
        return 1.0
    return float(stats.wilcoxon(difference).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """P values corrected for testing them together, by the step-down method of Holm.

    With the m values sorted upwards, the k-th is multiplied by m - k + 1; none may be smaller than one before it, or
    above 1. The chance of any false finding among them is then at most the level they are held against.

    Args:
        p_values: P values of one family of tests; nan stands for a test that was not made and does not count.

    Returns:
        The corrected values in the same order, nan where there was nan.

    Reference:
        Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6(2), 1979.

    Example:
        >>> holm([0.01, 0.04])
        [0.02, 0.04]
    """
    values = np.asarray(p_values, np.float64)
    tests = np.flatnonzero(~np.isnan(values))
    order = tests[np.argsort(values[tests], kind='stable')]
    corrected = np.full(values.shape, math.nan)
    factors = np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(values[order] * factors)) if len(order) else []
    return corrected.tolist()


def rank_biserial(first: Sequence[float], second: Sequence[float]) -> float:
    """Matched-pairs rank-biserial correlation: the effect size that belongs to the Wilcoxon signed-rank test.

    r = (W+ - W-) / (W+ + W-), with W+ the sum of the ranks of the positive differences first - second.

    Args:
        first: Score of one method on each pair.
        second: Score of the other method on the same pairs in the same order; pairs with nan in either are skipped.

    Returns:
        A value in [-1, 1]: 1 where the first is higher on every pair that differs, 0 where neither is; nan where no
        pair is left. Pairs without a difference are left out.

    Raises:
        ValueError: The lengths differ.

    Reference:
        Kerby, The simple difference formula, Comprehensive Psychology 3, 2014.

    Example:
        >>> rank_biserial([2.0, 3.0], [1.0, 1.0])
        1.0
    """
    difference = _for_ranks(first, second)
    if not difference.size:
        return math.nan
    difference = difference[difference != 0]
    if not difference.size:
        return 0.0
    ranks = stats.rankdata(np.abs(difference))
    return float(np.dot(np.sign(difference), ranks) / ranks.sum())


def paired_differences(first: Sequence[float], second: Sequence[float]) -> np.ndarray:
    """Return first - second for every pair, nan where one of them is nan.

    Raises:
        ValueError: The lengths differ.
    """
    if len(first) != len(second):
        raise ValueError(f'{len(first)} and {len(second)} scores: the same pairs are needed for both methods')
    return np.asarray(first, np.float64) - np.asarray(second, np.float64)


def _for_ranks(first: Sequence[float], second: Sequence[float]) -> np.ndarray:
    """Differences of the pairs that have both numbers, as shares of the largest number, rounded to `RANK_DECIMALS`."""
    difference = paired_differences(first, second)
    known = ~np.isnan(difference)
    scores = np.abs([np.asarray(numbers, np.float64)[known] for numbers in (first, second)])
    largest = scores[np.isfinite(scores)].max(initial=0.0)
    # 0.9 - 0.8 and 0.8 - 0.7 are a tie, and no rank is to tell their last digits apart.
    return np.round(difference[known] / (largest or 1.0), RANK_DECIMALS)


def difference_interval(
    first: Sequence[float],
    second: Sequence[float],
    *,
    groups: Sequence[Hashable] | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean difference first - second on the same pairs.

    Args:
        first: Score of one method on each pair.
        second: Score of the other method on the same pairs in the same order; pairs with nan in either are skipped.
        groups: The person of each pair, see `bootstrap_interval`.
        confidence: Coverage, between 0 and 1.
        seed: Seed of the resampling.

    Returns:
        Lower and upper limit; both nan where no pair is left.

    Raises:
        ValueError: The lengths differ, or `confidence` is not between 0 and 1.

    Example:
        >>> difference_interval([2.0, 3.0], [1.0, 2.0])
        (1.0, 1.0)
    """
    difference = paired_differences(first, second)
    return bootstrap_interval(difference.tolist(), groups=groups, confidence=confidence, seed=seed)
