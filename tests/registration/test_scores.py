"""How good a registration is."""

import numpy as np
import pytest

from autofuse_jax.data.volumes import Volume
from autofuse_jax.registration.scores import correlation, inverse_consistency, score_registration
from autofuse_jax.transforms.maps import DenseTransform

WHEN = ('before', 'after')


def shift(voxels, shape=(8, 8, 8), spacing=2.0):
    return DenseTransform(np.full((*shape, 3), voxels, np.float32), np.diag([spacing] * 3 + [1.0]))


def test_correlation_does_not_depend_on_scale():
    image = np.random.default_rng(0).normal(size=(4, 5, 6))
    assert correlation(image, 3 * image + 7) == pytest.approx(1)
    assert correlation(image, -image) == pytest.approx(-1)
    assert np.isnan(correlation(image, np.ones_like(image)))


def test_a_shift_and_its_opposite_are_consistent():
    assert inverse_consistency(shift(0.5), shift(-0.5))['max'] < 1e-6


def test_a_wrong_inverse_is_told_in_millimetres():
    # There by 1 voxel along each axis and back by nothing: sqrt(3) voxels of 2 mm.
    found = inverse_consistency(shift(1.0), shift(0.0))
    assert found['mean'] == pytest.approx(2 * np.sqrt(3), rel=1e-6) == found['p95']
    assert np.isnan(inverse_consistency(shift(100.0), shift(0.0))['mean'])


def test_scores_of_labels_before_and_after():
    labels = np.zeros((8, 8, 8), np.int32)
    labels[2:6, 2:6, 2:6] = 4
    before = np.roll(labels, 1, axis=0)
    image = np.random.default_rng(0).normal(size=labels.shape).astype(np.float32)
    fixed = Volume(image, labels, np.diag([2.0, 2, 2, 1]), 'fixed')
    scores = score_registration(
        fixed,
        shift(0.0),
        shift(0.0),
        moving_before=np.roll(image, 1),
        moved=image,
        labels_before=before,
        moved_labels=labels,
    )
    # Shifted by one voxel of four, 3/4 of each cube overlap.
    assert scores['dsc_before'] == pytest.approx(0.75) and scores['dsc_after'] == 1
    assert scores['hd95_mm_before'] == pytest.approx(2) and scores['hd95_mm_after_per_label'] == {4: 0}
    assert scores['ncc_after'] == pytest.approx(1) and scores['ncc_before'] < 0.5
    assert scores['njd_percent'] == 0 and scores['jacobian_min'] == scores['jacobian_max'] == 1
    assert set(scores) == {
        *('ncc_before', 'ncc_after', 'inverse_consistency_mm', 'njd_percent', 'sdlogj', 'jacobian_min', 'jacobian_max'),
        *(f'{key}_{when}{end}' for key in ('dsc', 'hd95_mm') for when in WHEN for end in ('', '_per_label')),
    }


def test_labels_of_the_moved_image_alone_are_not_scored():
    image = np.random.default_rng(0).normal(size=(8, 8, 8)).astype(np.float32)
    labels = np.ones(image.shape, np.int32)
    images = {'moving_before': image, 'moved': image, 'labels_before': labels, 'moved_labels': labels}
    fixed = Volume(image, None, np.diag([2.0, 2, 2, 1]), 'fixed')
    assert not any(
        key.startswith(('dsc', 'hd95')) for key in score_registration(fixed, shift(0.0), shift(0.0), **images)
    )
