"""The page and the LaTeX tables of one run, by hand."""

import math

from autofuse_jax.evaluation.protocol import PROTOCOLS
from autofuse_jax.reports.summary import RunContent
from autofuse_jax.reports.summary_page import summary_latex, summary_page

CLASSES = {1: 'left_ventricle', 2: 'rest | other'}
DEFAULT, LEARN2REG = (PROTOCOLS[name].as_record() for name in ('default', 'learn2reg'))


def record(pair, after, second=0.5, **extra):
    """A record of a pair whose subject is the first letter of its name."""
    return {
        'pair': pair,
        'subject': pair[0],
        'dsc_before': 0.5,
        'dsc_after': after,
        'hd95_mm_before': 4.0,
        'hd95_mm_after': 2.0,
        'dsc_before_per_label': {1: 0.5, 2: 0.5},
        'dsc_after_per_label': {1: after, 2: second},
        'hd95_mm_before_per_label': {1: 4.0, 2: 4.0},
        'hd95_mm_after_per_label': {1: 2.0, 2: math.nan if second == 0 else 1.0},
        'njd_percent': 0.0,
        'sdlogj': 0.25,
        **extra,
    }


RECORDS = [record('a1', 0.75, 0.0), record('b1', 0.25, 0.5, seconds=3.0)]


def page_of(records, protocol=DEFAULT, classes=CLASSES, **facts):
    return summary_page(RunContent(records, classes, 'Run 7', facts, protocol, ['A note.']))


def section(page, title):
    return page.split(f'## {title}')[1].split('\n## ')[0]


def test_page_by_hand():
    page = page_of(RECORDS, split='test')
    assert page.startswith('# Run 7\n\n- split: test\n- pairs: 2\n')
    assert '| registration | DSC % | HD95 mm | NJD % | SDlogJ | s per pair |' in page
    assert '| before | 50.0 ± 0.0 | 4.00 ± 0.00 | – | – | – |' in page
    assert '| after | 50.0 ± 35.4 | 2.00 ± 0.00 | 0.000 ± 0.000 | 0.250 ± 0.000 | 3.000 |' in page
    assert '| rest \\| other | 50.0 ± 0.0 | 25.0 ± 35.4 | 4.00 ± 0.00 | 1.00 |' in page
    assert '| mean | 50.0 ± 0.0 | 50.0 ± 35.4 | 4.00 ± 0.00 | 2.00 ± 0.00 |' in page
    assert '| a1 | 50.0 | 75.0 | 4.00 | 2.00 | 0.000 | 0.250 |' in page
    assert 'mean DSC after registration is 25.0 to 75.0 % (2 fixed subjects resampled)' in page
    assert 'Registration lowered the DSC of 1 of 2 pairs.' in page
    assert '1 structure is in only one of the two label maps' in page
    assert '- A note.' in page and 'Protocol default' in page
    assert 'segmentation' not in page and 'w_fuse' not in page and 'compilation' not in page


def test_the_interval_is_of_the_subjects_that_have_a_number():
    unlabelled = [record(pair, math.nan) for pair in ('c1', 'd1')]
    assert 'is 25.0 to 75.0 % (2 fixed subjects resampled)' in page_of([*RECORDS, *unlabelled])
    # Of a single subject every resample is the same.
    assert 'bootstrap' not in page_of([record('a1', 0.5), record('a2', 0.75), *unlabelled])


def test_the_first_call_is_apart_from_the_seconds_of_a_pair():
    records = [
        record('a1', 0.8, seconds=40.0, first_call=True),
        record('a2', 0.7, seconds=2.0, first_call=False),
        record('b1', 0.6, seconds=3.0, first_call=False),
    ]
    page = page_of(records)
    # 2 s and 3 s: mean 2.5, deviation sqrt(1/2).
    assert '| 0.250 ± 0.000 | 2.500 ± 0.707 |' in page
    assert 'The first pair took 40.000 s, which may include compilation' in page
    assert '| s per pair |' in page and '| s per pair |' not in page_of(records[:1])


def test_segmentation_and_gates_appear_when_recorded():
    more = {'segmentation_dsc': 0.85, 'segmentation_dsc_per_label': {1: 0.9, 2: 0.8}}
    records = [
        record('a1', 0.8, gate_means={'gate_2': 0.5, 'gate_10': 0.25}, **more),
        record('b1', 0.8, gate_means={'gate_2': 0.6, 'gate_10': 0.25}, **more),
    ]
    page = page_of(records)
    assert '| HD95 mm before | HD95 mm after | segmentation DSC % |' in section(page, 'Structures')
    assert '| left_ventricle | 50.0 ± 0.0 | 80.0 ± 0.0 | 4.00 ± 0.00 | 2.00 ± 0.00 | 90.0 ± 0.0 |' in page
    # 0.5 and 0.6: deviation 0.05 * sqrt(2) = 0.0707. Levels are sorted as numbers.
    assert '| 2 | 0.550 ± 0.071 |\n| 10 | 0.250 ± 0.000 |' in page


def test_pairs_are_listed_from_the_worst():
    records = [record(f'pair{number}', 0.1 * number) for number in (7, 3, 5)]
    records.insert(1, record('unlabelled', math.nan))
    pairs = section(page_of(records), 'Pairs, the lowest DSC after registration first')
    assert [line.split(' | ')[0] for line in pairs.splitlines() if line.startswith('| ')] == [
        '| pair',
        '| pair3',
        '| pair5',
        '| pair7',
        '| unlabelled',
    ]


def test_records_without_labels_or_times_still_make_a_page():
    page = page_of([{'pair': 'a_to_b', 'njd_percent': 0.5}], None, {})
    assert '| registration | NJD % |' in page and '| after | 0.500 |' in page
    assert '## Structures' not in page and 'lowered' not in page
    assert 'The protocol of these scores was not recorded.' in page


def test_distances_without_millimetres_are_in_voxels():
    assert 'HD95 voxels after' in page_of(RECORDS, LEARN2REG)
    distances = [{'pair': pair, 'hd95_mm_after': value} for pair, value in (('a', 1.0), ('b', 2.0))]
    assert 'mean HD95 after registration is 1.00 to 2.00 voxels (2' in page_of(distances, LEARN2REG)
    assert 'mean HD95 after registration is 1.00 to 2.00 mm (2' in page_of(distances)


def test_latex_has_both_tables():
    text = summary_latex(RunContent(RECORDS, CLASSES, 'Run 7', {}, DEFAULT))
    assert text.count(r'\begin{tabular}') == text.count(r'\end{tabular}') == 2
    assert r'left\_ventricle & 50.0 $\pm$ 0.0 & 50.0 $\pm$ 35.4 & 4.00 $\pm$ 0.00 & 2.00 $\pm$ 0.00 \\' in text
