import numpy as np
import pytest

from autofuse_jax.transforms.grids import ImageGrid
from autofuse_jax.transforms.maps import AffineTransform
from autofuse_jax.transforms.resampling import moving_positions, sample_image, sample_labels, sample_labels_linear

LINE = np.array([1.0, 3, 5]).reshape(3, 1, 1)


def along_first_axis(*positions):
    return np.stack([np.array(positions, np.float64), np.zeros(len(positions)), np.zeros(len(positions))])


def test_images_are_linear_and_end_in_zero():
    found = sample_image(LINE, along_first_axis(0, 0.25, 1.5, 2, 2.5, 3, -0.5, -1, 50))
    # Halfway past the end half of the last value is left.
    np.testing.assert_allclose(found, [1, 1.5, 4, 5, 2.5, 0, 0.5, 0, 0])
    assert found.dtype == np.float32


def test_labels_take_the_nearest_voxel_and_end_in_zero():
    labels = np.array([1, 3, 5], np.uint8).reshape(3, 1, 1)
    found = sample_labels(labels, along_first_axis(0.4, 0.6, 1.5, 2.4, 2.6, -0.4, -0.6, np.nan))
    np.testing.assert_array_equal(found, [1, 3, 5, 5, 0, 1, 0, 0])
    assert found.dtype == np.uint8


def test_label_by_label_the_largest_share_wins():
    labels = np.array([[0, 1], [2, 2]], np.int32).reshape(2, 2, 1)
    # At (0.6, 0.3): 0 has 0.4 * 0.7 = 0.28, 1 has 0.4 * 0.3 = 0.12, 2 has 0.6.
    # At (0.4, 0.5): 0 and 1 have 0.3 each, 2 has 0.4, although the nearest voxel is one of the others.
    # At (0.2, 0.5): 0 and 1 have 0.4 each and 0 wins, 2 has 0.2.
    positions = np.array([[0.6, 0.4, 0.2], [0.3, 0.5, 0.5], [0, 0, 0]])
    np.testing.assert_array_equal(sample_labels_linear(labels, positions), [2, 2, 0])
    assert sample_labels(labels, positions)[1] == 0


def test_label_by_label_outside_counts_for_the_background():
    labels = np.full((2, 1, 1), 7, np.int16)
    found = sample_labels_linear(labels, along_first_axis(0.5, 1.4, 1.6, -0.4, -0.6))
    np.testing.assert_array_equal(found, [7, 7, 0, 7, 0])
    assert found.dtype == np.int16


def test_a_map_without_labels_stays_empty():
    assert not sample_labels_linear(np.zeros((3, 1, 1), np.int32), along_first_axis(0, 1, 9)).any()


@pytest.mark.parametrize('transform', [None, AffineTransform(np.eye(4))])
def test_positions_without_a_transform_are_those_of_the_same_place(transform):
    # Voxel (1, 0, 0) of a 2 mm grid is voxel (3, 0, 0) of a 1 mm grid that begins 1 mm earlier.
    moving = np.eye(4)
    moving[0, 3] = -1
    positions = moving_positions(transform, ImageGrid((2, 1, 1), np.diag([2.0, 2, 2, 1])), moving)
    assert positions.shape == (3, 2, 1, 1)
    np.testing.assert_allclose(positions[:, :, 0, 0].T, [[1, 0, 0], [3, 0, 0]])


def test_positions_with_a_transform():
    shift = np.eye(4)
    shift[:3, 3] = 4, 0, -2
    positions = moving_positions(AffineTransform(shift), ImageGrid((1, 1, 1), np.eye(4)), np.diag([2.0, 1, 1, 1]))
    np.testing.assert_allclose(positions.ravel(), [2, 0, -2])
