"""What the scores say in words, and when a user is warned."""

import numpy as np
import pytest

from autofuse_jax.reports.verdict import Verdict, judge, score_tiles, verdict_line, verdict_of_series
from tests.reports.parsed_page import ParsedPage

SHAPE = (4, 5, 6)
GOOD = {'ncc_before': 0.4, 'ncc_after': 0.8, 'dsc_before': 0.617, 'dsc_after': 0.8214, 'njd_percent': 0.0}


def verdict(scores=GOOD, **changes):
    image = np.arange(120.0).reshape(SHAPE)
    settings = {
        'moving_before': image,
        'moved': image,
        'displacement': np.ones((*SHAPE, 3)),
        'jacobian': np.ones((3, 4, 5)),
        'smallest_spacing': 2.0,
    }
    return judge(scores, **(settings | changes))


def test_better_scores_are_good_and_said_in_numbers():
    found = verdict()
    assert (found.level, found.warnings) == ('good', ())
    assert 'Similarity of the grey values (NCC) rose from 0.400 to 0.800.' in found.remarks
    assert 'Mean overlap of the structures (DSC) rose from 61.7 % to 82.1 %.' in found.remarks
    assert 'No voxel folds.' in found.remarks


@pytest.mark.parametrize(
    ('scores', 'level', 'warning'),
    [
        ({'dsc_after': 0.5}, 'failed', '(DSC) fell from 61.7 % to 50.0 %'),
        ({'dsc_after': 0.6}, 'look', '(DSC) fell from 61.7 % to 60.0 %'),
        ({'ncc_after': 0.3}, 'failed', '(NCC) fell from 0.400 to 0.300'),
        ({'njd_percent': 0.11}, 'look', '0.11 % of the voxels fold (more than 0.1 %)'),
        ({'njd_percent': 5.1}, 'failed', '5.10 % of the voxels fold (more than 0.1 %)'),
    ],
)
def test_worse_scores_and_folding_are_loud(scores, level, warning):
    found = verdict(GOOD | scores)
    assert found.level == level and len(found.warnings) == 1
    assert warning in found.warnings[0]
    page = ParsedPage(found.html())
    assert page.count('div', class_='warnings', role='alert') == 1 and warning in page.text


def test_limits_themselves_are_no_reason_to_warn():
    assert verdict(GOOD | {'njd_percent': 0.1}).level == 'good'
    same = verdict({'ncc_before': 0.5, 'ncc_after': 0.49995})
    assert (same.level, same.headline) == ('look', 'No better aligned than before')


@pytest.mark.parametrize(
    ('changes', 'warning'),
    [
        ({'displacement': np.full((*SHAPE, 3), 0.01)}, 'Nothing moved'),
        ({'displacement': np.full((*SHAPE, 3), np.nan)}, 'not finite'),
        ({'moved': np.zeros(SHAPE)}, 'The moved image shows nothing'),
        ({'moved': np.full(SHAPE, np.nan)}, 'The moved image shows nothing'),
    ],
)
def test_suspicious_results_are_loud(changes, warning):
    assert warning in verdict(**changes).warnings[0]


def test_images_apart_by_their_headers_are_a_remark():
    found = verdict(moving_before=np.zeros(SHAPE))
    assert found.level == 'good' and any('By their headers alone' in text for text in found.remarks)


def test_folding_is_counted_where_it_is_not_reported():
    jacobian = np.ones((10, 10, 10))
    jacobian[0, 0, :2] = [0, -1]
    found = verdict({}, jacobian=jacobian)
    assert '0.20 % of the voxels fold' in found.warnings[0]


def test_missing_scores_and_worse_structures():
    assert verdict({'ncc_before': None, 'dsc_after': float('nan')}).headline.startswith('No score says')
    scores = GOOD | {
        'dsc_before_per_label': {'1': 0.5, '2': 0.5, '3': None},
        'dsc_after_per_label': {'1': 0.4, '2': 0.6, '3': 0.1},
    }
    assert '1 of 2 structures overlap less than before; see the table.' in verdict(scores).remarks


def test_inverse_consistency_is_judged_in_voxels():
    # Half a voxel of 2 mm is 1 mm.
    right, wrong = (verdict({'inverse_consistency_mm': {'mean': mean, 'max': 3.0}}).remarks[-1] for mean in (1.0, 1.01))
    assert right == 'Forward and inverse applied one after the other miss by 1.000 mm on average, 3.00 mm at most.'
    assert wrong.endswith('which is more than half a voxel.')


def test_tiles_show_dashes_and_leave_out_what_is_unknown():
    scores = {'dsc_before': None, 'dsc_after': 0.8, 'seconds': 3, 'inverse_consistency_mm': {'mean': 0.5}}
    text = ParsedPage(score_tiles(scores, np.array([0.5, 2.0, np.nan]).reshape(1, 1, 3))).text
    assert text == (
        'DSC before → after – → 80.0 % folded voxels (NJD) none Jacobian, least – most 0.50 – 2.00 '
        'inverse consistency, mean 0.500 mm time 3.0 s'
    )


def test_a_negative_is_compared_without_its_sign():
    """Where one image is bright and the other dark, the similarity is squared, and -0.99 better than -0.8."""
    scores = {'ncc_before': -0.827, 'ncc_after': -0.996}
    negative = {'same_contrast': True, 'correlation': -0.83}
    assert verdict(scores, evidence=negative).level == 'good'
    assert verdict(dict(zip(scores, reversed(scores.values()), strict=True)), evidence=negative).level == 'failed'
    assert verdict(scores, evidence={'same_contrast': True, 'correlation': 0.9}).level == 'failed'


def test_a_series_is_as_good_as_its_worst_frames():
    good, look = Verdict('a', 'good', (), ()), Verdict('b', 'look', ('It folds.',), ())
    failed = Verdict('c', 'failed', ('It fell.',), ())
    assert verdict_of_series({1: good, 2: good}).record() == {
        'level': 'good',
        'headline': '2 frames are aligned',
        'reasons': [],
    }
    assert verdict_of_series({1: good}).headline == '1 frame is aligned'
    one = verdict_of_series({1: good, 2: look, 3: good})
    assert (one.level, one.warnings, one.remarks) == (
        'look',
        ('Frame 2: It folds.',),
        ('1 of 3 frames have this level.',),
    )
    many = verdict_of_series({0: look} | dict.fromkeys(range(1, 6), failed))
    assert many.warnings[::3] == ('Frame 1: It fell.', 'And 2 more frames of this level.')
    assert verdict_line(many.record()).startswith('verdict: failed. Frame 1: It fell. Frame 2: ')
