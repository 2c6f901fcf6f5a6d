"""What the pictures of a registration are drawn from."""

import numpy as np
import pytest

from autofuse_jax.metrics.warping import warp_image
from tests.reports.example_pair import SHAPE, example_pair, reordered, view_of


def test_planes_go_through_the_structures():
    found = view_of(example_pair())
    # The labelled box is 4-12, 5-14, 4-11 of 20 x 24 x 16 voxels; display indices run from the other end.
    assert [(view.file_axis, view.file_index) for view in found.views] == [(2, 7), (1, 9), (0, 8)]
    # Without labels the bright box itself decides.
    bare = view_of({**example_pair(), 'fixed_labels': None, 'moving_labels_before': None, 'moved_labels': None})
    assert [view.index for view in bare.views] == [view.index for view in found.views]


def test_moving_image_keeps_one_window_before_and_after():
    pair = example_pair()
    found = view_of({**pair, 'moving_before': np.zeros_like(pair['moved'])})
    assert found.moving_window == view_of({**pair, 'moving_before': pair['moved']}).moving_window


@pytest.mark.parametrize('codes', ['RAS', 'LIA', 'PSR'])
def test_affine_part_of_a_shift_is_the_same_for_every_order_of_axes(codes):
    pair = example_pair()
    pair['displacement'] = np.broadcast_to(np.float32([2, 1, 0]), pair['displacement'].shape)
    part = view_of(reordered(pair, codes)).affine_part
    # 2 and 1 voxels of 2 mm, towards right and anterior: the display axes run the other way.
    np.testing.assert_allclose(part.offset, [-2, -1, 0], atol=1e-9)
    assert part.shift_mm == pytest.approx(2 * np.sqrt(5))
    assert part.rest_max_mm == pytest.approx(0, abs=1e-6)


def test_scales_cover_all_planes_and_never_blow_up_rounding():
    pair = example_pair()
    view = view_of(pair)
    # Structures of 100 and 200 on a window of about 0 to 215: half a window apart where they do not overlap.
    assert 0.4 < view.difference_scale.norm.vmax < 1.0
    # The bump of 0.6 voxels of 2 mm, of which the affine part takes a share.
    assert 0.5 < view.displacement_scale.norm.vmax < 1.2
    pair |= {'moving_before': pair['fixed'], 'displacement': np.zeros((*SHAPE, 3))}
    still = view_of(pair)
    assert (still.difference_scale.norm.vmax, still.displacement_scale.norm.vmax) == (0.05, 0.1)
    # Of voxels of 2 micrometres a tenth of a millimetre would be no rounding.
    tiny = view_of(pair | {'affine': np.diag([0.002, 0.002, 0.002, 1.0])})
    assert tiny.displacement_scale.norm.vmax == pytest.approx(0.0002)


@pytest.mark.parametrize('codes', ['RAS', 'LIA'])
def test_local_displacement_leads_to_the_same_grey_values_as_the_whole_one(codes):
    pair = example_pair()
    # Without labels the moving image is smooth enough to be interpolated twice.
    pair['moving_before'] = np.fromfunction(lambda i, j, k: 3 * i + 2 * j + k, SHAPE)
    pair['moved'] = warp_image(pair['moving_before'], pair['displacement'])
    view = view_of(reordered(pair, codes))
    plane = view.views[0]
    points, rest = view.local_displacement(plane)
    aligned = view.affinely_moved(plane)
    rows, columns = (np.rint((points + rest)[..., axis]).astype(int) for axis in reversed(plane.across))
    inner = (slice(5, -5),) * 2
    nearest = aligned[rows[inner], columns[inner]]
    # Rounded to a voxel: a step of 3 of about 115, and nearly a step through the plane.
    np.testing.assert_allclose(nearest, view.greys(plane)[2][inner], atol=0.04)


def test_a_field_with_holes_is_known_as_such():
    pair = example_pair()
    assert view_of(pair).finite
    pair['displacement'][0, 0, 0, 0] = np.nan
    assert not view_of(pair).finite
