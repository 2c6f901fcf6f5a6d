import numpy as np
import pytest

from autofuse_jax.transforms.grids import ImageGrid
from autofuse_jax.transforms.maps import AffineTransform
from autofuse_jax.transforms.resampling import (
    covered,
    moving_positions,
    sample_image,
    sample_known,
    sample_labels,
    sample_labels_linear,
)

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


def test_nothing_is_blended_at_the_border():
    # Up to the face of the last voxel its value counts, beyond it the background; in between nothing of either.
    line = LINE - 1024
    values = sample_known(line, along_first_axis(-0.6, -0.5, -0.3, 0, 0.25, 2.25, 2.5, 2.6, 50), -7.0).ravel()
    first, second, last = (float(line[index, 0, 0]) for index in (0, 1, -1))
    assert LINE.shape[0] == 3
    np.testing.assert_allclose(
        values, [-7, first, first, first, 0.75 * first + 0.25 * second, last, last, -7, -7], atol=1e-3
    )


def test_missing_voxels_have_no_weight():
    line = np.array([10.0, np.nan, np.nan, 20, 30]).reshape(5, 1, 1) - 1e6
    values = sample_known(line, along_first_axis(0, 0.5, 1, 1.5, 2.75, 3.5, 9), 0.0).ravel()
    np.testing.assert_allclose(values[[0, 1, 4, 5, 6]], [10 - 1e6, 10 - 1e6, 20 - 1e6, 25 - 1e6, 0])
    assert np.isnan(values[[2, 3]]).all()


def test_everything_missing():
    empty = np.full((3, 3, 3), np.inf)
    np.testing.assert_array_equal(sample_known(empty, along_first_axis(1, 7), np.nan).ravel(), [np.nan, np.nan])


def test_an_offset_changes_nothing_but_the_offset():
    image = np.random.default_rng(1).normal(size=(6, 7, 8)).astype(np.float32)
    places = np.random.default_rng(2).uniform(-2, 9, (3, 200))
    np.testing.assert_allclose(
        sample_known(image + 100, places, 100.0) - 100, sample_known(image, places, 0.0), atol=1e-4
    )
    assert covered(image.shape, places).mean() > 0.1


def test_simpleitk_resamples_alike():
    sitk = pytest.importorskip('SimpleITK')
    image = np.random.default_rng(1).normal(size=(6, 7, 8)).astype(np.float32)
    turn = sitk.Euler3DTransform((3, 3, 3), 0.3, -0.2, 0.5, (0.7, 1.2, -0.4))
    source = sitk.GetImageFromArray(image.T)
    theirs = sitk.GetArrayFromImage(sitk.Resample(source, source, turn, sitk.sitkLinear, -5.0)).T
    points = np.argwhere(np.ones(image.shape)).astype(float)
    places = np.array([turn.TransformPoint(point) for point in points.tolist()]).T
    np.testing.assert_allclose(sample_known(image, places, -5.0), theirs.ravel(), atol=1e-4)
