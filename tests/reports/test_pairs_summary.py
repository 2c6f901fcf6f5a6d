"""The summary of many pairs: order, words, numbers."""

import csv

from autofuse_jax.reports.pairs_summary import PairOutcome, counts_sentence, worst_first, write_summary
from tests.reports.parsed_page import ParsedPage


def outcome(name, level, dsc=None, **more):
    report = {
        'verdict': {'level': level, 'headline': 'A headline', 'reasons': [] if level == 'good' else ['Too far.']},
        'scores': {'dsc_before': 0.5, 'dsc_after': dsc, 'njd_percent': 0.0, 'inverse_consistency_mm': {'mean': 0.25}},
        'seconds': 3.0,
        'times': {'compile_seconds': 1.5, 'programs': 7},
        'files': ['report.html'],
    }
    return PairOutcome(name, {'fixed': f'/{name}.nii'}, report | more)


OUTCOMES = [
    outcome('best', 'good', 0.9),
    PairOutcome('later', {'fixed': '/later.nii'}),
    outcome('fair', 'good', 0.7),
    PairOutcome('broken', {'fixed': '/broken.nii'}, error='the image is <empty>'),
    outcome('odd', 'look', 0.95),
    outcome('wrong', 'failed'),
]
ORDER = ['broken', 'wrong', 'odd', 'fair', 'best', 'later']


def test_the_worst_comes_first_and_what_is_open_last():
    assert [one.name for one in worst_first(OUTCOMES)] == ORDER
    assert counts_sentence(OUTCOMES) == '6 pairs: 1 error, 1 failed, 1 look at it, 2 good, 1 not yet registered'
    assert counts_sentence(OUTCOMES[:1]) == '1 pair: 1 good'


def test_a_report_without_a_verdict_is_to_be_looked_at():
    assert PairOutcome('old', {}, {'scores': {}}).level == 'look'


def test_reports_of_other_versions_are_summarised(tmp_path):
    scores = {'dsc_after': 'high', 'inverse_consistency_mm': 0.3}
    strange = PairOutcome('strange', {}, {'verdict': {'level': 'splendid'}, 'scores': scores})
    assert strange.level == 'look'
    write_summary(tmp_path, [strange], command='')
    with (tmp_path / 'summary.csv').open(newline='') as file:
        row = next(csv.DictReader(file))
    assert (row['verdict'], row['dsc_after'], row['inverse_consistency_mm']) == ('look', '', '0.3')


def test_page_and_table_say_the_same(tmp_path):
    write_summary(tmp_path, OUTCOMES, command='register --pairs "a & b.csv"')
    with (tmp_path / 'summary.csv').open(newline='') as file:
        rows = {row['name']: row for row in csv.DictReader(file)}
    assert list(rows) == ORDER
    assert (rows['fair']['dsc_after'], rows['fair']['programs'], rows['fair']['fixed']) == ('0.7', '7', '/fair.nii')
    assert rows['odd']['reason'] == 'Too far.' and rows['best']['reason'] == 'A headline'
    assert (rows['broken']['reason'], rows['broken']['dsc_after']) == ('the image is <empty>', '')
    text = (tmp_path / 'summary.html').read_text()
    page = ParsedPage(text)
    assert [row[0] for row in page.rows()[1:]] == ORDER
    assert page.rows()[4] == ['fair', 'good', 'A headline', '50.0', '70.0', '–', '–', '0.0000', '0.250', '3.0']
    assert '&lt;empty&gt;' in text and 'a &amp; b.csv' in text
    assert 'href="fair/report.html"' in text and 'href="broken' not in text


def test_means_before_and_after_are_over_the_same_pairs(tmp_path):
    # One pair has no number before, another none after.
    scores = {'x': (0.5, 0.8), 'y': (None, 0.2), 'z': (0.1, None)}
    outcomes = [
        outcome(name, 'good', scores={'ncc_before': before, 'ncc_after': after})
        for name, (before, after) in scores.items()
    ]
    write_summary(tmp_path, outcomes, command='')
    assert '<span>NCC before → after</span><b>0.500 → 0.800</b>' in (tmp_path / 'summary.html').read_text()
