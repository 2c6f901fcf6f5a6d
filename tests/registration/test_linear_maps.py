"""Maps of space from parameters in millimetres."""

import jax.numpy as jnp
import numpy as np
import pytest

from autofuse_jax.registration.linear_maps import free_parameters, linear_map, world_matrix


def test_zero_parameters_are_the_identity():
    matrix, shift = linear_map(jnp.zeros(12), jnp.asarray(50.0))
    np.testing.assert_allclose(matrix, np.eye(3), atol=1e-7)
    np.testing.assert_allclose(shift, 0)


def test_rotation_has_the_angle_of_its_arc():
    # An arc of 50 mm * pi / 2 at 50 mm is a quarter turn about the third axis: x goes to y.
    matrix, _ = linear_map(jnp.zeros(12).at[5].set(50 * np.pi / 2), jnp.asarray(50.0))
    np.testing.assert_allclose(matrix @ jnp.array([1.0, 0, 0]), [0, 1, 0], atol=1e-6)
    np.testing.assert_allclose(np.linalg.det(matrix), 1, atol=1e-6)


def test_scale_is_an_exponential():
    matrix, _ = linear_map(jnp.zeros(12).at[6].set(50 * np.log(2)), jnp.asarray(50.0))
    np.testing.assert_allclose(matrix, np.diag([2, 1, 1]), atol=1e-6)


def test_shear_is_symmetric_and_keeps_volume():
    matrix, _ = linear_map(jnp.zeros(12).at[9].set(10.0), jnp.asarray(50.0))
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-7)
    np.testing.assert_allclose(np.linalg.det(matrix), 1, atol=1e-6)
    assert matrix[0, 1] > 0.19


def test_world_matrix_turns_about_the_centre_and_then_goes_where_the_start_goes():
    start = np.eye(4)
    start[:3, 3] = [100, 0, 0]
    params = np.zeros(12)
    params[5] = 50 * np.pi / 2
    centre = np.array([10.0, 0, 0])
    matrix = world_matrix(params, 50.0, centre, start)
    np.testing.assert_allclose(matrix @ [10, 0, 0, 1], [110, 0, 0, 1], atol=1e-4)
    np.testing.assert_allclose(matrix @ [11, 0, 0, 1], [110, 1, 0, 1], atol=1e-4)


def test_kinds_free_three_six_and_twelve_parameters():
    assert [int(free_parameters(kind).sum()) for kind in ('translation', 'rigid', 'affine')] == [3, 6, 12]
    with pytest.raises(ValueError, match="'spline'"):
        free_parameters('spline')
