"""Landmark errors by hand."""

import numpy as np
import pytest
from scipy import ndimage

from autofuse_jax.metrics.landmarks import robust_summary, target_registration_errors

FIXED = np.array([[1.0, 2.0, 3.0], [2.5, 2.5, 2.5]])


def test_before_registration_in_millimetres():
    # (3, 4, 0) voxels apart, of 1 x 1 x 5 mm: 5 mm; and 2 voxels of 5 mm.
    moving = FIXED + [[3, 4, 0], [0, 0, 2]]
    np.testing.assert_allclose(target_registration_errors(FIXED, moving, None, (1, 1, 5)), [5, 10])


@pytest.mark.parametrize('interpolation', ['linear', 'cubic'])
def test_points_follow_the_displacement_from_fixed_to_moving(interpolation):
    displacement = np.broadcast_to([1.0, -2.0, 0.5], (6, 6, 6, 3))
    options = {'interpolation': interpolation}
    moving = FIXED + [1.0, -2.0, 0.5]
    errors = target_registration_errors(FIXED, moving, displacement, (1.5, 1.5, 3.0), **options)

    np.testing.assert_allclose(errors, 0, atol=1e-9)
    wrong = target_registration_errors(moving, FIXED, displacement, (1, 1, 1), **options)
    np.testing.assert_allclose(wrong[:1], 2 * np.linalg.norm([1, -2, 0.5]), atol=1e-9)


def test_linear_sampling_between_voxels():
    # u along the last axis is the index along the first: at 2.5 it is 2.5.
    displacement = np.zeros((6, 6, 6, 3))
    displacement[..., 2] = np.arange(6)[:, None, None]
    np.testing.assert_allclose(target_registration_errors(FIXED, FIXED, displacement, (1, 1, 2)), [2, 5])


def test_cubic_sampling_is_the_spline_of_scipy():
    displacement = np.random.default_rng(0).normal(size=(6, 6, 6, 3))
    expected = [ndimage.map_coordinates(displacement[..., axis], FIXED.T) for axis in range(3)]
    found = target_registration_errors(FIXED, FIXED, displacement, (1, 1, 1), interpolation='cubic')
    np.testing.assert_allclose(found, np.linalg.norm(expected, axis=0))


def test_oblique_grids_take_the_matrix_of_the_affine():
    turned = 2.0 * np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]])
    sheared = np.array([[1.0, 1.0, 0], [0, 1.0, 0], [0, 0, 1.0]])
    moving = FIXED + [0, 3, 0]
    np.testing.assert_allclose(target_registration_errors(FIXED, moving, None, turned), 6)
    np.testing.assert_allclose(target_registration_errors(FIXED, moving, None, sheared), np.hypot(3, 3))


def test_summary_by_hand():
    # 30th percentile of 0 .. 10: 3.
    assert robust_summary(np.arange(11.0) ** 2) == {'mean': 35.0, 'median': 25.0, 'p30': 9.0}


def test_unequal_lists_and_unknown_sampling_are_refused():
    with pytest.raises(ValueError, match=r'must both be \(n, 3\)'):
        target_registration_errors(FIXED, FIXED[:1], None, (1, 1, 1))
    with pytest.raises(ValueError, match='linear, cubic'):
        target_registration_errors(FIXED, FIXED, None, (1, 1, 1), interpolation='nearest')
