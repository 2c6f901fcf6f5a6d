"""What pictures consist of."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from autofuse_jax.reports.display import display_of
from autofuse_jax.reports.panels import (
    checkerboard,
    edges,
    grey,
    grid_lines,
    outlines,
    window_of,
)

DISPLAY = display_of(np.diag([-2.0, -3.0, -4.0, 1.0]), (10, 20, 30))
AXIAL = DISPLAY.view(2, 5)


def axes():
    return Figure().add_axes((0, 0, 1, 1))


def test_window_ignores_zeros_outliers_and_what_is_not_finite():
    image = np.zeros(200_000)
    image[:100_000] = np.linspace(100, 200, 100_000)
    image[-1], image[-2], image[-3] = np.nan, np.inf, 1e9
    low, high = window_of(image)
    assert low == 0 and high == pytest.approx(199.7, abs=0.02)
    # Values below zero, as in computed tomography, are shown too.
    assert window_of(image - 150)[0] == pytest.approx(-150, abs=0.1)
    assert window_of(np.zeros(5)) == (0.0, 1.0)
    assert window_of(np.full(5, 3.0)) == (0.0, 3.0)
    assert window_of(np.full(5, -3.0)) == (-3.0, -2.0)


def test_grey_values_are_clipped_and_finite():
    found = grey(np.array([[-1, 0, 5, 10, 99, np.nan, np.inf, -np.inf]]), (0.0, 10.0))
    assert found.tolist() == [[0, 0, 0.5, 1, 1, 0, 1, 0]]
    assert grey(np.array([[7]], np.uint8), (0.0, 14.0)).tolist() == [[0.5]]


def test_checkerboard_squares_are_millimetres():
    # Squares of 6 mm: two rows of 3 mm, three columns of 2 mm.
    board = checkerboard(AXIAL, np.zeros((4, 6)), np.ones((4, 6)), 6.0)
    assert board.tolist() == [[0, 0, 0, 1, 1, 1]] * 2 + [[1, 1, 1, 0, 0, 0]] * 2


def test_outlines_lie_half_way_between_voxels():
    cut = np.zeros((5, 6), int)
    cut[1:3, 2:6] = 4
    cut[4, 0] = 1000
    place = axes()
    outlines(place, AXIAL, cut, '#123456', 1.0)
    # Ids in rising order; axial voxels are 2 mm wide and 3 mm high, the outline closes at the border of the image.
    boxes = [np.concatenate([path.vertices for path in drawn.get_paths()]) for drawn in place.collections]
    assert [(box.min(0).tolist(), box.max(0).tolist()) for box in boxes] == [
        ([3.0, 1.5], [11.0, 7.5]),
        ([-1.0, 10.5], [1.0, 13.5]),
    ]
    chosen = axes()
    outlines(chosen, AXIAL, cut, {4: 'red'}, 1.0)
    assert len(chosen.collections) == 1


def test_edges_follow_a_step_and_need_one():
    step = np.zeros((20, 20))
    step[:, 10:] = 1.0
    place = axes()
    edges(place, AXIAL, step, 'red')
    drawn = np.concatenate([path.vertices for path in place.collections[0].get_paths()])
    # Between columns 9 and 10 of 2 mm.
    np.testing.assert_allclose(drawn[:, 0], 19.0, atol=0.1)
    empty = axes()
    edges(empty, AXIAL, np.zeros((20, 20)), 'red')
    edges(empty, AXIAL, np.zeros((1, 20)), 'red')
    assert not empty.collections


def test_grid_lines_are_evenly_apart_in_millimetres():
    rows, columns = np.indices((20, 10))
    points = np.stack([2.0 * columns, 3.0 * rows], axis=-1)
    # The longer side of 60 mm over 10 lines: every 6 mm, so every second row and every third column.
    drawn = grid_lines(axes(), AXIAL, points, np.ones((20, 10)), 10)
    segments = np.array(drawn.get_segments())
    level = segments[(segments[:, 0, 1] == segments[:, 1, 1])]
    upright = segments[(segments[:, 0, 0] == segments[:, 1, 0])]
    assert np.unique(level[:, 0, 1]).tolist() == [6.0 * i for i in range(10)]
    assert np.unique(upright[:, 0, 0]).tolist() == [0.0, 6.0, 12.0, 18.0]
    assert len(level) == 10 * 9 and len(upright) == 4 * 19
