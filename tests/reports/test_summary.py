"""Numbers over pairs."""

import math

import pytest

from autofuse_jax.reports.evaluation_quantities import QUANTITIES
from autofuse_jax.reports.summary import (
    RunContent,
    gates_of,
    partial_sentences,
    present,
    seconds_apart,
    spread,
    spread_text,
    summary_numbers,
)

CLASSES = {1: 'right ventricle', 2: 'myocardium'}


def record(pair, before, after, **more):
    return {
        'pair': pair,
        'subject': pair[:4],
        'dsc_before': before,
        'dsc_after': after,
        'dsc_before_per_label': {1: before, 2: before},
        'dsc_after_per_label': {1: after + 0.1, 2: after - 0.1},
        'njd_percent': 0.25,
        'sdlogj': 0.125,
        'seconds': 2.0,
        **more,
    }


RECORDS = [record('a_to_b', 0.5, 0.8, seconds=9.0, first_call=True), record('b_to_a', 0.5, 0.6, first_call=False)]


def test_means_over_some_pairs_are_said_to_be():
    assert partial_sentences(RECORDS) == []
    missing = [*RECORDS, {'pair': 'c', 'dsc_after': 0.5, 'sdlogj': math.nan, 'njd_percent': 0.0}]
    assert partial_sentences(missing) == ['DSC before, SDlogJ: means over 2 of 3 pairs, the others have no number.']


def test_spread_by_hand():
    # Values 1, 2, 6: mean 3, squared deviations 4 + 1 + 9 = 14, divided by 2 is 7.
    result = spread([1.0, math.nan, 2.0, None, 6.0])
    assert result.mean == 3 and result.count == 3
    assert result.deviation == pytest.approx(math.sqrt(7))
    assert result.text(2) == '3.00 ± 2.65'
    assert result.text(1, 100) == '300.0 ± 264.6'


def test_spread_of_one_and_of_none():
    assert spread([0.5]).text(1, 100) == '50.0'
    assert spread([]).text(1) == spread([math.nan]).text(1) == '–'


def test_spread_of_a_quantity_before_after_and_of_a_structure():
    dsc = QUANTITIES[0]
    assert spread_text(RECORDS, dsc, dsc.before) == '50.0 ± 0.0'
    assert spread_text(RECORDS, dsc, dsc.key, 2) == '60.0 ± 14.1'
    assert spread_text(RECORDS, dsc, '') == '–'


def test_quantities_that_are_there():
    assert [quantity.title for quantity in present(RECORDS)] == ['DSC', 'NJD', 'SDlogJ']
    assert present([{'pair': 'a', 'njd_percent': math.nan}]) == []


def test_only_a_call_that_says_so_is_the_first():
    first, later = seconds_apart(RECORDS)
    assert (first, later.mean, later.count) == (9.0, 2.0, 1)
    first, later = seconds_apart([{'seconds': 1.0}, {'seconds': 3.0}, {}])
    assert (first, later.mean, later.count) == (None, 2.0, 2)


def test_gates_by_level():
    assert gates_of([{'gate_means': {'gate_10': 0.5}}, {'gate_means': {'gate_2': 0.5}}, {}]) == ['gate_2', 'gate_10']


def test_numbers_for_programs():
    numbers = summary_numbers(RunContent(RECORDS, CLASSES, 'Run', {}, None))
    assert numbers['pairs'] == 2
    assert numbers['dsc_after'] == pytest.approx(
        {'mean': 0.7, 'deviation': 0.1 * math.sqrt(2), 'count': 2, 'median': 0.7, 'p30': 0.66}
    )
    assert numbers['seconds_first_pair'] == 9 and numbers['seconds_later_pairs']['mean'] == 2
    assert numbers['structures']['myocardium']['dsc_after']['mean'] == pytest.approx(0.6)
    assert set(numbers['structures']['myocardium']) == {'dsc_before', 'dsc_after'}
    assert 'gate_means' not in numbers


def test_usual_numbers_are_there_even_where_nothing_was_measured():
    numbers = summary_numbers(RunContent([{'pair': 'a', 'gate_means': {'gate_2': 0.5}}], {}, 'Run', {}, None))
    assert numbers['dsc_after']['count'] == numbers['sdlogj']['count'] == 0 and math.isnan(
        numbers['dsc_after']['median']
    )
    assert numbers['gate_means']['gate_2']['mean'] == 0.5 and numbers['structures'] == {}
