import numpy as np
import pytest

from autofuse_jax.transforms.grids import grid_points
from autofuse_jax.transforms.maps import AffineTransform, Chain, DenseTransform, sample_field, to_dense
from tests.transforms.examples import PAIRS, affine, grid, inner_points, smooth


def test_a_dense_transform_worked_by_hand():
    # Voxels of 2 x 3 x 4 mm from the origin. At voxel (1, 1, 1), 2 x 3 x 4 mm, u = (1, 0, -0.5) is (2, 0, -2) mm.
    displacement = np.zeros((3, 3, 3, 3), np.float32)
    displacement[1, 1, 1] = 1, 0, -0.5
    transform = DenseTransform(displacement, np.diag([2.0, 3, 4, 1]))
    np.testing.assert_allclose(transform.map_points(np.array([2.0, 3, 4])), [4, 3, 2])
    # Halfway to the next voxel half of it counts, at the next voxel nothing.
    np.testing.assert_allclose(transform.map_points(np.array([[3.0, 3, 4], [4, 3, 4]])), [[4, 3, 3], [4, 3, 4]])


def test_a_point_outside_moves_with_the_nearest_voxel():
    displacement = np.zeros((3, 3, 3, 3), np.float32)
    displacement[2, 1, 1] = 0.5, 0, 0
    transform = DenseTransform(displacement, np.eye(4))
    np.testing.assert_allclose(transform.map_points(np.array([7.0, 1, 1])), [7.5, 1, 1])
    np.testing.assert_array_equal(
        transform.covers(np.array([[2.0, 1, 1], [2.01, 1, 1], [-0.01, 1, 1]])), [True, False, False]
    )


def test_fields_are_interpolated_linearly():
    # A field that is linear in the position is met exactly anywhere inside.
    voxels = np.moveaxis(np.indices((4, 5, 6), np.float64), 0, -1)
    weights = np.array([[0.5, -1, 2], [0.25, 0, 1], [3, 1, -0.5]])
    places = np.random.default_rng(0).uniform(0, 3, (7, 3))
    np.testing.assert_allclose(sample_field(voxels @ weights, places), places @ weights, atol=1e-12)


def test_a_chain_takes_points_through_the_last_transform_first():
    double, shift = np.diag([2.0, 2, 2, 1]), np.eye(4)
    shift[0, 3] = 1
    first, second = AffineTransform(double), AffineTransform(shift)
    # An image goes through `first`, then through `second`; a point is shifted first and doubled then.
    np.testing.assert_allclose(Chain((first, second)).map_points(np.array([1.0, 1, 1])), [4, 2, 2])
    np.testing.assert_allclose(Chain((second, first)).map_points(np.array([1.0, 1, 1])), [3, 2, 2])
    np.testing.assert_allclose(Chain(()).map_points(np.array([1.0, 1, 1])), [1, 1, 1])


@pytest.mark.parametrize('name', PAIRS)
def test_a_chain_on_a_grid_is_the_chain_at_its_voxels(name):
    fixed, other = PAIRS[name]
    chain = (affine(), smooth(other), smooth(fixed))
    dense = to_dense(chain, fixed)
    assert dense.displacement.dtype == np.float32 and dense.grid.same_as(fixed)
    points = grid_points(fixed)
    np.testing.assert_allclose(dense.map_points(points), Chain(chain).map_points(points), atol=1e-4)


def test_an_affine_on_a_grid_is_that_affine_between_its_voxels_too():
    on = grid((6, 7, 8), (2, 2, 3))
    points = inner_points(on)
    np.testing.assert_allclose(to_dense([affine()], on).map_points(points), affine().map_points(points), atol=1e-5)
