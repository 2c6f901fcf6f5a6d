"""Resizing volumes and displacements between grids."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autofuse_jax.data.resample import resize_image
from autofuse_jax.fields import resample_displacement, resize_align_corners, upsample_displacement
from autofuse_jax.fields.resize import align_corners_matrix


def linear_values(shape, slope, offset=0.0):
    """offset + slope . x, one channel."""
    return (offset + np.stack(np.indices(shape), axis=-1) @ np.asarray(slope, float))[..., None].astype(np.float32)


def random_field(shape, seed=0):
    return np.random.default_rng(seed).normal(size=(*shape, 3)).astype(np.float32)


def test_matrix_by_hand():
    # Output index i reads position i * (3 - 1) / (6 - 1) = 0, 0.4, 0.8, 1.2, 1.6, 2.
    expected = [[1, 0, 0], [0.6, 0.4, 0], [0.2, 0.8, 0], [0, 0.8, 0.2], [0, 0.4, 0.6], [0, 0, 1]]
    np.testing.assert_allclose(align_corners_matrix(3, 6), expected, atol=1e-12)
    # Shrinking 5 to 3 reads positions 0, 2, 4; nothing is averaged.
    np.testing.assert_allclose(align_corners_matrix(5, 3), np.eye(5)[[0, 2, 4]], atol=1e-12)


@pytest.mark.parametrize(('size_in', 'size_out'), [(1, 2), (2, 4), (4, 4), (7, 14), (9, 5), (3, 1), (1, 1), (80, 160)])
def test_rows_of_the_matrix_are_weights(size_in, size_out):
    matrix = align_corners_matrix(size_in, size_out)
    assert matrix.shape == (size_out, size_in) and matrix.min() >= 0
    np.testing.assert_allclose(matrix.sum(axis=1), 1)
    # The first voxel centres coincide, the last ones too; a single output voxel reads the first.
    assert matrix[0, 0] == 1
    assert size_out == 1 or matrix[-1, -1] == pytest.approx(1)


def test_resize_along_each_axis_by_hand():
    line = jnp.asarray([0.0, 10.0, 40.0])
    for axis in range(3):
        shape = [1, 1, 1, 1]
        shape[axis] = 3
        target = [1, 1, 1]
        target[axis] = 5
        # Positions 0, 0.5, 1, 1.5, 2.
        result = resize_align_corners(line.reshape(shape), tuple(target))
        assert result.shape == (*target, 1)
        np.testing.assert_allclose(result.ravel(), [0, 5, 10, 25, 40], rtol=1e-6)


@pytest.mark.parametrize('target', [(8, 6, 4), (7, 3, 9), (2, 2, 2)])
def test_linear_functions_are_reproduced(target):
    shape, slope = (4, 3, 2), np.array([2.0, -1.0, 0.5])
    result = resize_align_corners(jnp.asarray(linear_values(shape, slope, 3.0)), target)
    # Along each axis the new voxel is (N - 1) / (N' - 1) of the old one wide.
    scale = (np.array(shape) - 1) / (np.array(target) - 1)
    np.testing.assert_allclose(result, linear_values(target, slope * scale, 3.0), atol=1e-5)


def test_leading_axes_and_type_are_kept():
    volume = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3, 4, 5, 2)), jnp.float32)
    result = resize_align_corners(volume, (6, 4, 10))
    assert result.shape == (2, 6, 4, 10, 2)
    np.testing.assert_allclose(result[1], resize_align_corners(volume[1], (6, 4, 10)), atol=1e-6)
    assert (
        jax.eval_shape(lambda v: resize_align_corners(v, (6, 4, 10)), volume.astype(jnp.bfloat16)).dtype == jnp.bfloat16
    )
    np.testing.assert_array_equal(resize_align_corners(volume, (3, 4, 5)), volume)


def test_upsampling_doubles_voxel_units():
    field = jnp.broadcast_to(jnp.asarray([1.0, -0.5, 0.25]), (3, 2, 4, 3))
    result = upsample_displacement(field)
    np.testing.assert_allclose(result, np.broadcast_to([2, -1, 0.5], (6, 4, 8, 3)), rtol=1e-6)


def test_upsampling_by_hand():
    # Values 0 and 3 at two half-resolution voxels, doubled to 0 and 6; positions 0, 1/3, 2/3, 1 give 0, 2, 4, 6.
    field = jnp.zeros((2, 2, 2, 3)).at[1, :, :, 0].set(3.0)
    result = upsample_displacement(field)
    assert result.shape == (4, 4, 4, 3)
    np.testing.assert_allclose(result[:, 1, 2, 0], [0, 2, 4, 6], rtol=1e-6)
    np.testing.assert_array_equal(result[..., 1:], 0)


def test_resampling_rescales_units_by_the_ratio_of_sizes():
    # 4 x 6 x 2 to 8 x 3 x 2 voxels over the same field of view: 2, 1/2 and 1 new voxels for each old one.
    field = jnp.broadcast_to(jnp.asarray([1.0, 2.0, -3.0]), (4, 6, 2, 3))
    result = resample_displacement(field, (8, 3, 2))
    np.testing.assert_allclose(result, np.broadcast_to([2, 1, -3], (8, 3, 2, 3)), rtol=1e-6)


def test_resampling_positions_by_hand():
    # Voxel faces aligned: x = (x' + 1/2) / 2 - 1/2 = -1/4, 1/4, 3/4, 5/4, clamped to 0 .. 1; values times 2.
    field = jnp.zeros((2, 1, 1, 3)).at[1, 0, 0, 0].set(4.0)
    np.testing.assert_allclose(resample_displacement(field, (4, 1, 1))[:, 0, 0, 0], [0, 2, 6, 8], rtol=1e-6)


def test_resampling_to_the_same_grid_changes_nothing():
    field = random_field((4, 3, 5))
    np.testing.assert_allclose(resample_displacement(field, (4, 3, 5)), field, rtol=1e-6)


@pytest.mark.parametrize('target', [(8, 9, 5), (12, 3, 10)])
def test_resampling_to_a_finer_grid_agrees_with_that_of_images(target):
    shape = (4, 3, 5)
    field = random_field(shape)
    result = jax.jit(functools.partial(resample_displacement, shape=target))(field)
    for axis in range(3):
        wanted = resize_image(field[..., axis], target) * (target[axis] / shape[axis])
        np.testing.assert_allclose(result[..., axis], wanted, atol=1e-5)


def test_resampling_there_and_back():
    # Positions of a 1:2 pair of grids interlock, so a linear field comes back away from the border.
    shape = (6, 4, 8)
    field = np.concatenate([linear_values(shape, slope, 1.0) for slope in np.eye(3)], axis=-1)
    back = resample_displacement(resample_displacement(field, (12, 8, 16)), shape)
    np.testing.assert_allclose(back[1:-1, 1:-1, 1:-1], field[1:-1, 1:-1, 1:-1], rtol=1e-5)


def test_the_same_physical_motion_on_both_grids():
    # A rotation-like linear motion u = A (x - centre) in units of the field of view is the same motion on every grid.
    matrix = np.array([[0.1, -0.2, 0.0], [0.2, 0.1, 0.1], [0.0, 0.0, -0.3]])

    def motion(shape):
        size = np.array(shape, float)
        relative = (np.stack(np.indices(shape), axis=-1) + 0.5) / size - 0.5
        return (relative @ matrix.T) * size

    coarse, fine = (6, 8, 4), (12, 16, 12)
    result = resample_displacement(jnp.asarray(motion(coarse), jnp.float32), fine)
    # Away from the border, where positions are clamped.
    inside = tuple(slice(2, -2) for _ in range(3))
    np.testing.assert_allclose(result[inside], motion(fine)[inside], atol=1e-5)


@pytest.mark.parametrize('function', [upsample_displacement, lambda field: resample_displacement(field, (2, 2, 2))])
def test_wrong_shapes_are_named(function):
    with pytest.raises(ValueError, match=r'displacement has shape \(2, 4, 4, 4, 3\), expected \(D, H, W, 3\)'):
        function(jnp.zeros((2, 4, 4, 4, 3)))
