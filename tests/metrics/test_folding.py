"""Jacobian determinant and what is counted from it."""

import math

import numpy as np
import pytest

from autofuse_jax.metrics.folding import central_determinant, jacobian_determinant, njd_percent, sdlogj


def linear_field(matrix, shape=(4, 5, 6)):
    """u(x) = A x."""
    grid = np.stack(np.indices(shape), axis=-1).astype(float)
    return grid @ np.asarray(matrix, float).T


def single(row, column, value):
    matrix = np.zeros((3, 3))
    matrix[row, column] = value
    return matrix


@pytest.mark.parametrize(
    ('matrix', 'determinant'),
    [
        # det(I + A), with I + A = [[1.1, .2, -.3], [.4, .9, .25], [-.2, .15, 1.3]]:
        # 1.1 (1.17 - .0375) - .2 (.52 + .05) - .3 (.06 + .18) = 1.24575 - .114 - .072.
        ([[0.1, 0.2, -0.3], [0.4, -0.1, 0.25], [-0.2, 0.15, 0.3]], 1.05975),
        # Stretching every axis by 1.2: 1.2^3.
        (0.2 * np.eye(3), 1.728),
        # Mirroring one axis folds, shearing does not.
        (single(0, 0, -2), -1),
        (single(1, 1, -2), -1),
        (single(2, 2, -2), -1),
        (single(0, 1, -2), 1),
        (np.zeros((3, 3)), 1),
    ],
)
def test_linear_fields(matrix, determinant):
    result = jacobian_determinant(linear_field(matrix))
    assert result.shape == (3, 4, 5)
    assert result.dtype == np.float64
    np.testing.assert_allclose(result, determinant, atol=1e-12)


def test_against_the_determinant_of_a_matrix_per_voxel():
    field = np.random.default_rng(0).normal(size=(4, 3, 5, 3))
    gradient = np.stack([np.diff(field, axis=axis)[:3, :2, :4] for axis in range(3)], axis=-1)
    np.testing.assert_allclose(jacobian_determinant(field), np.linalg.det(np.eye(3) + gradient))


def test_golden_numbers_of_a_folding_field():
    i, j, k = np.indices((12, 12, 12)).astype(float)
    field = np.stack(
        [1.5 * np.sin(0.9 * i + 0.2 * j), 1.2 * np.cos(0.8 * j - 0.3 * k), np.sin(0.7 * k + 0.4 * i)], axis=-1
    )
    determinant = jacobian_determinant(field)
    # 346 of 11^3 voxels fold, and 1e-5 times the sum of max(-det, 0) is the published loss term.
    assert np.count_nonzero(determinant <= 0) == 346
    assert njd_percent(determinant) == pytest.approx(100 * 346 / 1331)
    assert 1e-5 * np.maximum(-determinant, 0).sum() == pytest.approx(7.6354412e-4, rel=1e-7)


def test_zero_determinant_counts_as_folded():
    # 1 of 4 is negative and 1 of 4 is zero.
    assert njd_percent(np.array([1.0, -0.5, 0.0, 2.0])) == 50


def test_sdlogj_by_hand():
    # Logarithms 0 and 1: mean 0.5, standard deviation 0.5.
    assert sdlogj(np.array([1.0, math.e])) == pytest.approx(0.5)
    # A folded voxel counts as 1e-9: logarithms 0 and -20.723, standard deviation 10.362.
    assert sdlogj(np.array([1.0, -3.0])) == pytest.approx(-math.log(1e-9) / 2)
    assert sdlogj(jacobian_determinant(linear_field(0.2 * np.eye(3)))) == pytest.approx(0, abs=1e-12)


def test_shift_does_not_change_the_determinant():
    field = np.random.default_rng(0).normal(size=(4, 4, 4, 3))
    np.testing.assert_allclose(jacobian_determinant(field + [3.0, -1.0, 0.5]), jacobian_determinant(field))


@pytest.mark.parametrize('shape', [(4, 4, 4), (4, 4, 4, 2), (0, 4, 4, 3)])
def test_wrong_shapes_are_refused(shape):
    with pytest.raises(ValueError, match='must be'):
        jacobian_determinant(np.zeros(shape))


def test_nan_is_refused():
    field = np.zeros((3, 3, 3, 3))
    field[1, 1, 1, 0] = np.nan
    with pytest.raises(ValueError, match='NaN'):
        jacobian_determinant(field)


@pytest.mark.parametrize('margin', [1, 2])
def test_central_differences_of_linear_fields(margin):
    matrix = [[0.1, 0.2, -0.3], [0.4, -0.1, 0.25], [-0.2, 0.15, 0.3]]
    result = central_determinant(linear_field(matrix, (6, 7, 8)), margin)
    assert result.shape == (6 - 2 * margin, 7 - 2 * margin, 8 - 2 * margin)
    np.testing.assert_allclose(result, 1.05975)


def test_central_differences_against_numpy():
    field = np.random.default_rng(0).normal(size=(6, 5, 7, 3))
    # numpy.gradient takes central differences inside.
    gradient = np.stack(np.gradient(field, axis=(0, 1, 2)), axis=-1)
    np.testing.assert_allclose(central_determinant(field), np.linalg.det(np.eye(3) + gradient)[1:-1, 1:-1, 1:-1])


def test_forward_and_central_differences_see_different_folds():
    # u alternates 0, 1.2 along an axis: forward differences fold at every other step, central ones not at all.
    field = np.zeros((8, 8, 8, 3))
    field[1::2, ..., 0] = 1.2
    assert njd_percent(jacobian_determinant(field)) > 40
    assert njd_percent(central_determinant(field)) == 0


def test_central_differences_need_room():
    with pytest.raises(ValueError, match='sizes of at least 5'):
        central_determinant(np.zeros((4, 6, 6, 3)), margin=2)
    with pytest.raises(ValueError, match='margin 0 must be at least 1'):
        central_determinant(np.zeros((6, 6, 6, 3)), margin=0)
