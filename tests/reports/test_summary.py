"""Means over pairs and the Markdown page."""

import math

import pytest

from autofuse_jax.reports.summary import markdown_summary, markdown_table, spread, summary_numbers

CLASSES = {0: 'background', 1: 'right ventricle', 2: 'myocardium'}


def record(pair: str, before: float, after: float, **more) -> dict:
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


def test_headline_structures_and_timing():
    records = [
        record('p001_ED_to_ES', 0.5, 0.8, seconds=40.0),
        record('p001_ES_to_ED', 0.6, 0.7),
        record('p002_ED_to_ES', 0.7, 0.6, seconds=3.0),
    ]
    page = markdown_summary(records, CLASSES, {'title': 'Run 7', 'split': 'test'})
    assert page.startswith('# Run 7\n\n- split: test\n- pairs: 3\n')
    # Mean 0.6, deviation 0.1 of 0.5, 0.6, 0.7; and of 0.8, 0.7, 0.6 mean 0.7. Later pairs: 2 s and 3 s.
    assert '| before | 60.0 ± 10.0 | – | – | – |' in page
    assert '| after | 70.0 ± 10.0 | 0.250 ± 0.000 | 0.125 ± 0.000 | 2.500 ± 0.707 |' in page
    assert '| right ventricle | 60.0 ± 10.0 | 80.0 ± 10.0 |' in page
    assert '| myocardium | 60.0 ± 10.0 | 60.0 ± 10.0 |' in page
    assert 'lowered the DSC of 1 of 3 pairs' in page
    assert 'The first pair took 40.000 s' in page
    assert '2 subjects resampled' in page
    assert 'background |' not in page
    assert 'segmentation' not in page and 'w_fuse' not in page


def test_segmentation_and_gates_appear_when_recorded():
    more = {'segmentation_dsc_per_label': {1: 0.9, 2: 0.8}}
    records = [
        record('a_to_b', 0.5, 0.8, gate_means={'gate_2': 0.5, 'gate_10': 0.25}, **more),
        record('b_to_a', 0.5, 0.8, gate_means={'gate_2': 0.6, 'gate_10': 0.25}, **more),
    ]
    page = markdown_summary(records, CLASSES, {})
    assert page.startswith('# Registration report\n')
    assert '| right ventricle | 50.0 ± 0.0 | 90.0 ± 0.0 | 90.0 ± 0.0 |' in page
    # 0.5 and 0.6: deviation 0.05 * sqrt(2) = 0.0707. Levels are sorted as numbers.
    assert '| 2 | 0.550 ± 0.071 |\n| 10 | 0.250 ± 0.000 |' in page


def test_worst_pairs_are_the_five_lowest_in_rising_order():
    records = [record(f'pair{number}', 0.5, 0.1 * number) for number in (7, 3, 5, 2, 6, 4, 8)]
    records.append(record('unlabelled', math.nan, math.nan))
    page = markdown_summary(records, CLASSES, {})
    worst = page.split('## Worst pairs')[1].split('##')[0]
    assert [line.split(' | ')[0] for line in worst.splitlines() if line.startswith('| pair')] == [
        '| pair',
        '| pair2',
        '| pair3',
        '| pair4',
        '| pair5',
        '| pair6',
    ]
    assert 'unlabelled' not in worst


def test_records_without_labels_or_times_still_make_a_page():
    page = markdown_summary([{'pair': 'a_to_b', 'njd_percent': 0.5}], CLASSES, {})
    assert '| after | – | 0.500 | – | – |' in page
    assert '| myocardium | – | – |' in page
    assert 'Worst pairs' not in page


def test_numbers_for_programs():
    numbers = summary_numbers([record('a_to_b', 0.5, 0.8, seconds=9.0), record('b_to_a', 0.5, 0.6)], CLASSES)
    assert numbers['pairs'] == 2
    assert numbers['dsc_after']['mean'] == pytest.approx(0.7)
    assert numbers['seconds_first_pair'] == 9 and numbers['seconds_later_pairs']['mean'] == 2
    assert numbers['structures']['myocardium']['dsc_after']['mean'] == pytest.approx(0.6)
    assert numbers['structures']['myocardium']['segmentation_dsc']['count'] == 0


def test_bars_in_cells_do_not_split_them():
    assert markdown_table(['a', 'b'], [['x|y', '1']]) == '| a | b |\n|:---|---:|\n| x\\|y | 1 |'
