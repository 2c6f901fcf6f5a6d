"""Affine maps that are nearest to deformations, and the rotations in them."""

import numpy as np
import pytest

from autofuse_jax.transforms.affine_fit import fit_affine, nearest_affine, rotation_degrees
from autofuse_jax.transforms.grids import to_world
from autofuse_jax.transforms.maps import Chain, DenseTransform, to_dense
from tests.transforms.examples import PAIRS, affine, grid, smooth, turned


def test_displaced_points_give_their_affine_back():
    points = np.random.default_rng(0).uniform(-20, 30, (9, 3))
    matrix = affine().matrix
    np.testing.assert_allclose(fit_affine(points, to_world(matrix, points) - points), matrix, atol=1e-9)


def test_an_axis_on_which_all_points_are_equal_is_left_as_it_is():
    points = np.stack(np.meshgrid(range(4), range(5), [7], indexing='ij'), axis=-1).reshape(-1, 3)
    # Twice as long along the first axis, about its middle at 1.5.
    displacement = (points - [1.5, 0, 0]) * [1, 0, 0]
    np.testing.assert_allclose(fit_affine(points, displacement), [[2, 0, 0, -1.5], *np.eye(4)[1:]], atol=1e-12)


def test_an_affine_field_is_nearest_to_its_affine():
    fixed = PAIRS['oblique'][0]
    np.testing.assert_allclose(nearest_affine(to_dense([affine()], fixed)), affine().matrix, atol=1e-4)
    np.testing.assert_array_equal(nearest_affine(affine()), affine().matrix)


def test_the_identity_stands_for_what_has_no_affine_part():
    np.testing.assert_array_equal(nearest_affine(Chain((affine(),))), np.eye(4))
    np.testing.assert_array_equal(nearest_affine(smooth(grid((9, 9, 1), (1, 1, 5)))), np.eye(4))
    # Everything goes to the first plane.
    on = grid((5, 5, 5), (1, 1, 1))
    to_plane = np.zeros((5, 5, 5, 3), np.float32)
    to_plane[..., 0] = -np.arange(5)[:, None, None]
    np.testing.assert_array_equal(nearest_affine(DenseTransform(to_plane, on.affine)), np.eye(4))


@pytest.mark.parametrize('degrees', [0.0, 25.0, 120.0, 180.0])
def test_the_angle_is_that_of_the_rotation_whatever_is_stretched_or_mirrored(degrees):
    turn = turned(degrees, 1)[:3, :3]
    # arccos is flat at both ends: rounding shows there.
    assert rotation_degrees(turn @ np.diag([1.5, 0.8, 2.0])) == pytest.approx(degrees, abs=1e-5)
    assert rotation_degrees(-turn) == pytest.approx(degrees, abs=1e-5)
