"""Both Jacobian determinants: golden numbers (set G4), pure stretches, folds and shears, agreement with the host."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autofuse_jax.fields import jacobian_determinant, jacobian_determinant_official
from autofuse_jax.metrics import folding

SHAPE = (4, 5, 6)
correct = jax.jit(jacobian_determinant)
official = jax.jit(jacobian_determinant_official)


def linear_field(matrix):
    """u(x) = A x."""
    return np.stack(np.indices(SHAPE), axis=-1).astype(float) @ np.asarray(matrix, float).T


def single(row, column, value):
    matrix = np.zeros((3, 3))
    matrix[row, column] = value
    return matrix


def folding_field():
    i, j, k = np.indices((12, 12, 12)).astype(float)
    return np.stack([1.5 * np.sin(0.9 * i + 0.2 * j), 1.2 * np.cos(0.8 * j - 0.3 * k), np.sin(0.7 * k + 0.4 * i)], -1)


@pytest.mark.parametrize(
    ('matrix', 'determinant', 'replayed'),
    [
        # det(I + A), with I + A = [[1.1, .2, -.3], [.4, .9, .25], [-.2, .15, 1.3]]:
        # 1.1 (1.17 - .0375) - .2 (.52 + .05) - .3 (.06 + .18) = 1.24575 - .114 - .072 = 1.05975.
        ([[0.1, 0.2, -0.3], [0.4, -0.1, 0.25], [-0.2, 0.15, 0.3]], 1.05975, 2.32775),
        (np.zeros((3, 3)), 1, 1),
        # Stretching every axis by 1.2: 1.2^3. Officially the 0.2 of axes 0 and 1 stand beside the identity:
        # 1 (1 * 1.2) - 0.2 (0.2 * 1.2) = 1.152.
        (0.2 * np.eye(3), 1.728, 1.152),
        # Stretching one axis.
        (single(0, 0, 0.5), 1.5, 1),
        (single(1, 1, 0.5), 1.5, 1),
        (single(2, 2, 0.5), 1.5, 1.5),
        # Folding one axis: not seen officially along axes 0 and 1.
        (single(0, 0, -2), -1, 1),
        (single(1, 1, -2), -1, 1),
        (single(2, 2, -2), -1, -1),
        # Shears keep volume: u_0 = -2 x_1 and u_1 = -2 x_0 are taken for folds officially.
        (single(0, 1, -2), 1, -1),
        (single(1, 0, -2), 1, -1),
        (single(0, 2, -2), 1, 1),
        (single(2, 1, -2), 1, 1),
        # Squeezing an axis to nothing is the border of folding.
        (single(2, 2, -1), 0, 0),
    ],
)
def test_linear_fields(matrix, determinant, replayed):
    with jax.enable_x64(True):
        for function, expected in ((correct, determinant), (official, replayed)):
            result = function(jnp.asarray(linear_field(matrix)))
            assert result.shape == (3, 4, 5) and result.dtype == jnp.float64
            np.testing.assert_allclose(result, expected, atol=1e-12)


def test_golden_numbers_of_a_folding_field():
    with jax.enable_x64(True):
        field = jnp.asarray(folding_field())
        determinant, replayed = np.asarray(correct(field)), np.asarray(official(field))
    assert determinant.shape == replayed.shape == (11, 11, 11)
    assert np.count_nonzero(determinant <= 0) == 346
    assert np.count_nonzero(replayed < 0) == 128
    np.testing.assert_allclose(1e-5 * np.maximum(-determinant, 0).sum(), 7.6354412e-4, rtol=1e-7)
    np.testing.assert_allclose(1e-5 * np.maximum(-replayed, 0).sum(), 2.7098849e-4, rtol=1e-7)


def test_against_the_host_and_the_determinant_of_a_matrix_per_voxel():
    field = np.random.default_rng(0).normal(size=(*SHAPE, 3)).astype(np.float32)
    gradient = np.stack([np.diff(field, axis=axis)[:3, :4, :5] for axis in range(3)], axis=-1)
    result = correct(field)
    assert result.dtype == jnp.float32
    np.testing.assert_allclose(result, np.linalg.det(np.eye(3) + gradient), atol=1e-4)
    np.testing.assert_allclose(result, folding.jacobian_determinant(field), atol=1e-4)


def test_a_shift_does_not_change_the_determinant():
    field = np.random.default_rng(0).integers(-3, 4, (*SHAPE, 3)).astype(np.float32)
    for function in (correct, official):
        np.testing.assert_array_equal(function(field + np.float32([3, -1, 5])), function(field))


@pytest.mark.parametrize('function', [jacobian_determinant, jacobian_determinant_official])
@pytest.mark.parametrize('shape', [(4, 4, 4), (4, 4, 4, 2), (1, 4, 4, 4, 3)])
def test_wrong_shapes_are_named(function, shape):
    with pytest.raises(ValueError) as error:
        function(jnp.zeros(shape))
    assert f'displacement has shape {shape}' in str(error.value)
