"""Comparisons by hand."""

import math

import pytest

from autofuse_jax.evaluation.comparison import compare
from autofuse_jax.metrics.statistics import difference_interval


def records(values, structure=None, subjects='aabbcc'):
    structure = values if structure is None else structure
    return [
        {
            'pair': f'{subject}{number}',
            'subject': subject,
            'dsc_after': value,
            'dsc_after_per_label': {1: value, 2: other},
            'njd_percent': 0.0,
        }
        for number, (subject, value, other) in enumerate(zip(subjects, values, structure, strict=True))
    ]


BASE = [0.5, 0.6, 0.7, 0.5, 0.6, 0.7]
BETTER = [0.6, 0.8, 1.0, 0.9, 0.7, 0.9]
RUNS = {'base': records(BASE), 'better': records(BETTER), 'same': records(BASE)}


def found(rows, **wanted):
    (row,) = [row for row in rows if all(getattr(row, name) == value for name, value in wanted.items())]
    return row


def test_difference_test_and_effect_by_hand():
    row = found(compare(RUNS, 'base', {1: 'one', 2: 'two'}), quantity='dsc_after', label=None, run='better')
    assert row.pairs == 6 and row.reference == 'base'
    assert row.mean == pytest.approx(4.9 / 6) and row.reference_mean == pytest.approx(0.6)
    assert row.difference == pytest.approx(1.3 / 6)
    # All six differences of one sign: 2 of 2^6 patterns are as extreme; ties make it no exact test of SciPy's.
    assert row.effect == 1.0 and row.p < 0.05
    # Two runs in the family of means: P of `same` is 1.
    assert row.p_holm == pytest.approx(2 * row.p)
    expected = difference_interval(BETTER, BASE, groups=list('aabbcc'))
    assert (row.lower, row.upper) == expected


def test_structures_are_a_family_of_their_own():
    rows = compare(RUNS, 'base', {1: 'one', 2: 'two'})
    row = found(rows, quantity='dsc_after', label=2, run='better')
    assert row.structure == 'two'
    # Four tests: two runs, two structures.
    assert row.p_holm == pytest.approx(min(1.0, 4 * row.p))


def test_equal_runs_do_not_differ():
    row = found(compare(RUNS, 'base', {}), quantity='dsc_after', label=None, run='same')
    assert (row.difference, row.effect, row.p, row.p_holm) == (0, 0, 1, 1)


def test_any_run_can_be_the_reference():
    rows = compare(RUNS, 'better', {})
    assert {row.run for row in rows} == {'base', 'same'}
    assert found(rows, quantity='dsc_after', run='base').effect == -1.0


def test_pairs_without_a_number_are_left_out():
    runs = {'base': records(BASE), 'lost': records([math.nan, *BETTER[1:]])}
    row = found(compare(runs, 'base', {}), quantity='dsc_after', run='lost')
    assert row.pairs == 5 and row.reference_mean == pytest.approx(3.1 / 5)
    runs = {'base': records(BASE), 'lost': records([math.nan] * 6)}
    assert [row.quantity for row in compare(runs, 'base', {})] == ['njd_percent']


def test_single_subject_has_no_interval():
    runs = {name: records(values, subjects='aaaaaa') for name, values in (('base', BASE), ('better', BETTER))}
    row = found(compare(runs, 'base', {}), quantity='dsc_after', run='better')
    assert math.isnan(row.lower) and math.isnan(row.upper)
