"""Warping on the host."""

import numpy as np
import pytest

from autofuse_jax.metrics.warping import warp_image, warp_labels


def constant_field(shape, vector):
    return np.broadcast_to(np.asarray(vector, float), (*shape, 3))


def test_zero_displacement_changes_nothing():
    rng = np.random.default_rng(0)
    image, labels = rng.normal(size=(4, 5, 6)), rng.integers(0, 9, size=(4, 5, 6)).astype(np.uint8)
    zero = np.zeros((4, 5, 6, 3))
    np.testing.assert_allclose(warp_image(image, zero), image)
    warped = warp_labels(labels, zero)
    np.testing.assert_array_equal(warped, labels)
    assert warped.dtype == np.uint8


@pytest.mark.parametrize('axis', [0, 1, 2])
def test_displacement_pulls_along_its_own_axis(axis):
    image = np.arange(1, 61, dtype=float).reshape(3, 4, 5)
    vector = np.eye(3)[axis]
    # warped(x) = moving(x + 1): values come from the next voxel, and 0 enters at the far end.
    expected = np.zeros_like(image)
    target, source = [slice(None)] * 3, [slice(None)] * 3
    target[axis], source[axis] = slice(0, -1), slice(1, None)
    expected[tuple(target)] = image[tuple(source)]
    np.testing.assert_allclose(warp_image(image, constant_field(image.shape, vector)), expected)
    np.testing.assert_array_equal(warp_labels(image.astype(int), constant_field(image.shape, vector)), expected)


def test_linear_sampling_by_hand():
    image = np.zeros((2, 2, 2))
    image[0, 0, 0], image[1, 0, 0], image[0, 1, 0], image[0, 0, 1] = 8.0, 4.0, 2.0, 1.0
    warped = warp_image(image, constant_field(image.shape, (0.25, 0.5, 0.0)))
    # At voxel (0, 0, 0): 0.75 * 0.5 * 8 + 0.25 * 0.5 * 4 + 0.75 * 0.5 * 2 = 3 + 0.5 + 0.75.
    assert warped[0, 0, 0] == pytest.approx(4.25)
    # At voxel (1, 0, 0), position (1.25, 0.5, 0): only the corner (1, 0, 0) is inside and not 0: 0.75 * 0.5 * 4.
    assert warped[1, 0, 0] == pytest.approx(1.5)


def test_linear_sampling_counts_neighbours_outside_as_zero():
    image = np.full((3, 3, 3), 10.0)
    warped = warp_image(image, constant_field(image.shape, (-0.25, 0, 0)))
    # Position -0.25: a quarter of the weight lies outside.
    np.testing.assert_allclose(warped[0], 7.5)
    np.testing.assert_allclose(warped[1:], 10)


def test_nearest_sampling_rounds_half_to_even():
    labels = np.arange(1, 6).reshape(5, 1, 1)
    warped = warp_labels(labels, constant_field(labels.shape, (0.5, 0, 0)))
    # Positions 0.5, 1.5, 2.5, 3.5, 4.5 round to 0, 2, 2, 4, 4.
    np.testing.assert_array_equal(warped.ravel(), [1, 3, 3, 5, 5])


def test_nearest_sampling_outside_and_not_a_number_are_background():
    labels = np.full((3, 1, 1), 7, np.int16)
    field = np.zeros((3, 1, 1, 3))
    field[0, 0, 0, 0], field[1, 0, 0, 1], field[2, 0, 0, 2] = -0.6, 1e9, np.nan
    np.testing.assert_array_equal(warp_labels(labels, field).ravel(), [0, 0, 0])


def test_fixed_grid_may_have_another_shape():
    image = np.random.default_rng(0).normal(size=(5, 4, 3))
    np.testing.assert_allclose(warp_image(image, np.zeros((2, 3, 2, 3))), image[:2, :3, :2])
    assert warp_labels(np.ones((5, 4, 3), int), np.zeros((2, 3, 2, 3))).shape == (2, 3, 2)


@pytest.mark.parametrize('shape', [(3, 3, 3), (3, 3, 3, 2)])
def test_wrong_shapes_are_refused(shape):
    with pytest.raises(ValueError, match=r'must be \(D, H, W\) and \(D, H, W, 3\)'):
        warp_image(np.zeros((3, 3, 3)), np.zeros(shape))
