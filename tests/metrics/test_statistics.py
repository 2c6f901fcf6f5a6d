"""Bootstrap interval and paired test."""

import math

import numpy as np
import pytest
from scipy import stats

from autofuse_jax.metrics.statistics import (
    bootstrap_interval,
    difference_interval,
    holm,
    rank_biserial,
    wilcoxon_p,
)


def test_interval_of_equal_values_is_that_value():
    assert bootstrap_interval([0.8, 0.8, 0.8]) == pytest.approx((0.8, 0.8))


def test_interval_agrees_with_the_normal_one_for_many_values():
    values = np.random.default_rng(0).normal(0.8, 0.05, size=400)
    lower, upper = bootstrap_interval(values)
    # Mean +- 1.96 standard errors.
    half = 1.96 * values.std() / 20
    assert lower == pytest.approx(values.mean() - half, abs=5e-4)
    assert upper == pytest.approx(values.mean() + half, abs=5e-4)


def test_groups_widen_the_interval_when_members_agree():
    values = np.repeat(np.random.default_rng(0).normal(size=20), 4)
    people = np.repeat(np.arange(20), 4).tolist()
    lower, upper = bootstrap_interval(values)
    lower_by_person, upper_by_person = bootstrap_interval(values, groups=people)
    # Four copies look like four times the data: standard errors differ by a factor of 2.
    assert (upper_by_person - lower_by_person) / (upper - lower) == pytest.approx(2, abs=0.15)


def test_nan_is_skipped_and_nothing_left_is_nan():
    assert bootstrap_interval([0.5, math.nan]) == (0.5, 0.5)
    assert all(math.isnan(limit) for limit in bootstrap_interval([math.nan]))


def test_interval_is_repeatable():
    values = [0.1, 0.4, 0.8, 0.9]
    assert bootstrap_interval(values) == bootstrap_interval(values)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match='1 groups for 2 values'):
        bootstrap_interval([1.0, 2.0], groups=['a'])
    with pytest.raises(ValueError, match='between 0 and 1'):
        bootstrap_interval([1.0, 2.0], confidence=95)


def test_wilcoxon_by_hand():
    # Five differences of one sign: of 2^5 sign patterns one is this extreme on each side, P = 2 / 32.
    assert wilcoxon_p([0.9, 0.8, 0.7, 0.6, 0.5], [0.85, 0.74, 0.63, 0.52, 0.41]) == pytest.approx(2 / 32)


def test_wilcoxon_is_two_sided_and_skips_nan():
    first, second = [0.9, 0.8, 0.7, math.nan, 0.5], [0.8, 0.85, 0.5, 0.1, 0.2]
    assert wilcoxon_p(first, second) == pytest.approx(wilcoxon_p(second, first))


def test_wilcoxon_without_differences_is_one():
    assert wilcoxon_p([0.5, 0.6], [0.5, 0.6]) == 1
    assert wilcoxon_p([], []) == 1


def test_rounding_breaks_no_ties():
    # All differences are 0.1 but for their last digits; one of them is the other way.
    first = np.array([0.8, 0.7, 0.9, 0.6, 0.5, 0.3])
    sign = np.array([1, 1, 1, 1, -1, 1])
    second = first - 0.1 * sign
    assert np.unique(np.abs(first - second)).size > 1
    assert wilcoxon_p(first, second) == pytest.approx(stats.wilcoxon(sign).pvalue)
    assert rank_biserial(first, second) == pytest.approx(4 / 6)
    assert wilcoxon_p([0.1 + 0.2], [0.3]) == 1.0 and rank_biserial([0.1 + 0.2], [0.3]) == 0.0
    assert rank_biserial(1e4 * first, 1e4 * second) == rank_biserial(first, second)


def test_an_infinite_score_is_the_largest():
    assert rank_biserial([math.inf, 1.0, 3.0], [1.0, 2.0, 1.0]) == pytest.approx((3 + 2 - 1) / 6)


def test_wilcoxon_needs_pairs():
    with pytest.raises(ValueError, match='same pairs'):
        wilcoxon_p([0.5], [0.5, 0.6])


def test_holm_by_hand():
    # Sorted: 0.01 * 4, 0.02 * 3, 0.03 * 2 (not below the one before), 0.5 * 1.
    assert holm([0.03, 0.01, 0.5, 0.02]) == pytest.approx([0.06, 0.04, 0.5, 0.06])
    assert holm([0.6, 0.7]) == pytest.approx([1.0, 1.0])
    assert holm([0.04]) == [0.04]


def test_holm_leaves_out_tests_that_were_not_made():
    corrected = holm([0.02, math.nan, 0.03])
    assert corrected[0] == pytest.approx(0.04) and corrected[2] == pytest.approx(0.04)
    assert math.isnan(corrected[1])
    assert holm([]) == []


def test_rank_biserial_by_hand():
    # Differences 1, -2, 3, 0: ranks 1, 2, 3; (1 + 3 - 2) / 6.
    assert rank_biserial([2, 1, 6, 4], [1, 3, 3, 4]) == pytest.approx(1 / 3)
    assert rank_biserial([2, 3], [1, 1]) == 1
    assert rank_biserial([1, 1], [2, 3]) == -1
    assert rank_biserial([1, 2], [1, 2]) == 0
    assert math.isnan(rank_biserial([math.nan], [1]))


def test_rank_biserial_goes_with_the_statistic_of_the_test():
    first, second = np.random.default_rng(0).normal(size=(2, 12))
    smaller = stats.wilcoxon(first - second).statistic
    total = 12 * 13 / 2
    assert abs(rank_biserial(first, second)) == pytest.approx(1 - 2 * smaller / total)


def test_interval_of_a_difference():
    assert difference_interval([0.5, 0.7, math.nan], [0.4, 0.6, 0.1]) == pytest.approx((0.1, 0.1))
    first, second = np.random.default_rng(1).normal(size=(2, 20))
    people = np.repeat(range(10), 2).tolist()
    assert difference_interval(first, second, groups=people) == bootstrap_interval(
        (first - second).tolist(), groups=people
    )
    with pytest.raises(ValueError, match='2 and 1 scores'):
        difference_interval([1, 2], [1])
