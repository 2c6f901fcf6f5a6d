"""Preparation of the pictures of a registration."""

import matplotlib
import numpy as np
import pytest

from autofuse_jax.reports.registration_view import chip, prepare, ramp, side_by_side
from tests.reports.example_pair import example_pair, reordered
from tests.reports.parsed_page import ParsedPage


def shown(pair):
    maps = ('fixed_labels', 'moving_labels_before', 'moved_labels')
    arrays = {key: pair[key] for key in ('fixed', 'moving_before', 'moved', 'displacement', 'jacobian', 'affine')}
    return prepare(**arrays, labels=tuple(pair.get(key) for key in maps))


def test_planes_go_through_the_structures_and_share_a_scale():
    found = shown(example_pair())
    # The labelled box is 4-12, 5-14, 4-11 of 20 x 24 x 16 voxels; display indices run from the other end.
    assert [(view.file_axis, view.file_index) for view in found.views] == [(2, 7), (1, 9), (0, 8)]
    assert found.canvas.size == (400, 400)
    # Without labels the bright box itself decides.
    bare = shown({**example_pair(), 'fixed_labels': None, 'moving_labels_before': None, 'moved_labels': None})
    assert [view.index for view in bare.views] == [view.index for view in found.views]


def test_moving_image_keeps_one_window_before_and_after():
    pair = example_pair()
    found = shown({**pair, 'moving_before': np.zeros_like(pair['moved'])})
    assert found.moving_window == shown({**pair, 'moving_before': pair['moved']}).moving_window


@pytest.mark.parametrize('codes', ['RAS', 'LIA', 'PSR'])
def test_affine_part_of_a_shift_is_the_same_for_every_order_of_axes(codes):
    pair = example_pair()
    pair['displacement'] = np.broadcast_to(np.float32([2, 1, 0]), pair['displacement'].shape)
    part = shown(reordered(pair, codes)).affine_part()
    # 2 and 1 voxels of 2 mm, towards right and anterior: the display axes run the other way.
    np.testing.assert_allclose(part.offset, [-2, -1, 0], atol=1e-9)
    assert part.shift_mm == pytest.approx(2 * np.sqrt(5))
    assert part.rest_max_mm == pytest.approx(0, abs=1e-6)


def test_small_parts_of_the_page():
    assert ramp(matplotlib.colormaps['gray'])[::8] == ['#000000', '#ffffff']
    page = ParsedPage(side_by_side([[chip('#123456')]]) + side_by_side([[], []]))
    assert page.find('span', class_='chip') == [{'class': 'chip', 'style': 'background: #123456'}]
    assert page.count('div', class_='views one') == page.count('div', class_='views') == 1
