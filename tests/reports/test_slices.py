"""Choice of the slice to show."""

import numpy as np
import pytest

from autofuse_jax.reports.slices import Slice, choose_slice


@pytest.mark.parametrize(
    ('spacing', 'axis', 'right', 'up'),
    [((1.5, 1.5, 8.0), 2, 0, 1), ((8.0, 1.5, 1.5), 0, 1, 2), ((1.0, 3.0, 1.0), 1, 0, 2), ((1.0, 1.0, 1.0), 2, 0, 1)],
)
def test_slice_lies_across_the_coarsest_axis(spacing, axis, right, up):
    image = np.zeros((3, 4, 5))
    view = choose_slice(spacing, None, image, image)
    assert (view.axis, view.right, view.up) == (axis, right, up)
    assert view.spacing == (spacing[right], spacing[up])


def test_slice_with_most_labels_or_else_with_most_difference():
    labels = np.zeros((4, 4, 6), int)
    labels[0, 0, 1], labels[:2, 0, 4] = 3, 1
    fixed, moving = np.zeros((4, 4, 6)), np.zeros((4, 4, 6))
    moving[2, 2, 5] = 1
    # Slice 4 has two labelled voxels and slice 1 has one, whatever their ids.
    assert choose_slice((1, 1, 2), labels, fixed, moving).index == 4
    assert choose_slice((1, 1, 2), None, fixed, moving).index == 5
    assert choose_slice((1, 1, 2), np.zeros_like(labels), fixed, moving).index == 5


def test_cut_has_the_second_axis_as_rows():
    volume = np.arange(24).reshape(2, 3, 4)
    view = Slice(axis=2, index=1, right=0, up=1, spacing=(1.0, 1.0))
    np.testing.assert_array_equal(view.cut(volume), volume[:, :, 1].T)
    # The Jacobian determinant has one slice less: the last one stands in.
    np.testing.assert_array_equal(Slice(2, 3, 0, 1, (1.0, 1.0)).cut(volume[..., :3]), volume[:, :, 2].T)


def test_extent_is_in_millimetres_with_half_a_voxel_around_the_centres():
    view = Slice(axis=2, index=0, right=0, up=1, spacing=(2.0, 3.0))
    # 4 columns of 2 mm from -0.5 voxel, 5 rows of 3 mm.
    assert view.extent(rows=5, columns=4) == (-1.0, 7.0, -1.5, 13.5)
    assert view.extent(rows=5, columns=4, shift=0.5) == (0.0, 8.0, 0.0, 15.0)
