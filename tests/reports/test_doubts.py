"""Evidence against a registration, in sentences."""

import numpy as np
import pytest

from autofuse_jax.reports.doubts import doubts_of
from autofuse_jax.reports.verdict import judge

ALIGNED = {
    'local_correlation': 0.6,
    'foreground_overlap': 0.92,
    'covered_percent': 95.0,
    'volume_change': 1.1,
    'stretch': 1.1,
    'mirrored': 0.95,
    'shared_percent': 90.0,
    'both_ways_share': 0.04,
    'dependence': 0.7,
    'same_contrast': True,
    'jacobian_p1': 0.6,
    'jacobian_p99': 1.7,
    'points_outside': 0,
    'points_growth': -3.0,
}


def test_aligned_images_raise_no_doubt():
    assert doubts_of(ALIGNED) == [] and doubts_of({}) == []
    assert doubts_of(dict.fromkeys(ALIGNED)) == []


@pytest.mark.parametrize(
    ('evidence', 'level', 'sentence'),
    [
        ({'foreground_overlap': 0.6}, 'look', 'What is imaged overlaps by 60 % only'),
        ({'foreground_overlap': 0.2}, 'failed', 'What is imaged overlaps by 20 % only'),
        ({'covered_percent': 10.0}, 'look', 'The moving image covers 10 % of the fixed one'),
        ({'shared_percent': 1.0}, 'failed', 'share 1 % of what counts of the smaller one'),
        ({'both_ways_share': 0.8}, 'look', 'differ by 80 % of the size of what is imaged'),
        ({'volume_change': 0.5}, 'look', 'changes volumes by a factor of 0.50'),
        ({'volume_change': -1.0}, 'failed', 'changes volumes by a factor of −1.00'),
        ({'stretch': 3.5}, 'failed', 'stretches one direction 3.50 times as much'),
        ({'mirrored': 1.01}, 'look', 'A mirror image fits as well or better (1.010 times as similar)'),
        ({'local_correlation': 0.1}, 'failed', 'resembles it little (local correlation 0.10)'),
        ({'same_contrast': False, 'dependence': 0.1}, 'failed', 'say little of those of the other (dependence 0.10)'),
        ({'jacobian_p99': 9.0}, 'look', 'grows to more than 9.0 times its volume'),
        ({'points_outside': 1}, 'look', 'The points that guide are not all inside of their images (1 outside)'),
        ({'points_growth': 1.25}, 'look', 'further apart than before, by 1.2 voxels on average'),
    ],
)
def test_each_kind_of_evidence_has_its_limits(evidence, level, sentence):
    ((found, text),) = doubts_of(ALIGNED | evidence)
    assert found == level and sentence in text


def test_other_contrasts_are_not_judged_by_their_correlation():
    assert doubts_of(ALIGNED | {'same_contrast': False, 'local_correlation': 0.1}) == []


def verdict(evidence, scores=None, displacement=1.0):
    image = np.arange(60.0).reshape(3, 4, 5)
    return judge(
        scores or {'ncc_before': 0.2, 'ncc_after': 0.6},
        moving_before=image,
        moved=image,
        displacement=np.full((3, 4, 5, 3), displacement),
        jacobian=np.ones((2, 3, 4)),
        smallest_spacing=1.0,
        evidence=evidence,
    )


def test_a_score_that_rose_does_not_outweigh_the_evidence():
    assert verdict(ALIGNED).level == 'good'
    failed = verdict(ALIGNED | {'foreground_overlap': 0.2, 'mirrored': 1.01})
    assert (failed.level, failed.headline) == ('failed', 'This registration has failed')
    # What has failed is said first.
    assert len(failed.warnings) == 2 and 'overlaps' in failed.warnings[0] and 'mirror' in failed.warnings[1]


def test_an_image_and_itself_are_aligned_already():
    scores = {'ncc_before': 1.0, 'ncc_after': 1.0}
    assert verdict(ALIGNED | {'local_correlation': 0.99}, scores, 0.0).headline == 'Aligned already'
    assert verdict(ALIGNED, scores, 0.0).level == 'look'


def test_a_correlation_that_fell_says_nothing_of_different_contrasts():
    scores = {'ncc_before': 0.6, 'ncc_after': 0.1}
    assert verdict(ALIGNED | {'same_contrast': False}, scores).level == 'good'
    assert verdict(ALIGNED, scores).level == 'failed'
