"""Canvases and sheets: size, scale, bars."""

import io

import numpy as np
import pytest
from matplotlib.image import imread

from autofuse_jax.reports.canvas import Canvas, Sheet, canvas_for
from autofuse_jax.reports.colours import JACOBIAN_SCALE
from autofuse_jax.reports.display import display_of
from autofuse_jax.reports.panels import show

DISPLAY = display_of(np.diag([-2.0, -3.0, -4.0, 1.0]), (10, 20, 30))
AXIAL, SAGITTAL = DISPLAY.view(2, 5), DISPLAY.view(0, 5)


def test_canvas_holds_all_views_on_one_scale():
    # Axial 20 x 60 mm, sagittal 60 x 120 mm: 60 x 120 mm, limited by the height of 480 pixels.
    canvas = canvas_for((AXIAL, SAGITTAL), DISPLAY.shape)
    assert (canvas.width, canvas.height, canvas.size) == (60.0, 120.0, (240, 480))
    assert canvas_for((AXIAL, SAGITTAL), DISPLAY.shape, (30, 480)).size == (30, 60)


def test_picture_has_true_proportions_in_the_middle_of_the_canvas():
    canvas = Canvas(60.0, 60.0, 4.0)
    white = np.ones((20, 10))
    png = canvas.draw(AXIAL, (20, 10), lambda axes: show(axes, AXIAL, white, interpolation='nearest'))
    picture = imread(io.BytesIO(png), format='png')[..., :3].mean(-1)
    assert picture.shape == (240, 240)
    # 10 columns of 2 mm at 4 pixels each: 80 pixels in the middle; 20 rows of 3 mm fill the height.
    row = picture[60] > 0.9
    assert np.flatnonzero(row).tolist() == list(range(80, 160))
    assert (picture[:, 90] > 0.9).all()


@pytest.mark.parametrize(
    ('width', 'length'), [(60.0, 10), (79.9, 10), (80.0, 20), (3.0, 0.5), (0.01, 0.002), (2000.0, 100)]
)
def test_scale_bar_has_a_round_length_of_at_most_a_quarter(width, length):
    scale = 400 / width
    canvas = Canvas(width, width, scale)
    black = np.zeros((2, 2))
    bare, marked = (
        imread(io.BytesIO(canvas.draw(AXIAL, (2, 2), lambda axes: show(axes, AXIAL, black), scale_bar=bar)))[..., 0]
        for bar in (False, True)
    )
    changed = (bare != marked).any(-1)
    # The bar is 4 % above the lower edge; its white pixels are the longest run of that row.
    bright = marked[384] > 0.9
    assert changed[384] and abs(bright.sum() - length * scale) <= 2


def test_sheet_places_things_in_pixels(tmp_path):
    sheet = Sheet(300, 200)
    axes = sheet.axes(20, 30, 100, 50)
    axes.set_facecolor('black')
    axes.set(xticks=[], yticks=[])
    sheet.mark(200, 30, '#ff0000', width=10, height=4)
    sheet.save(tmp_path / 'new' / 'sheet.png')
    picture = imread(tmp_path / 'new' / 'sheet.png')[..., :3]
    assert picture.shape == (200, 300, 3)
    rows, columns = np.nonzero((picture < 0.1).all(-1))
    assert abs(rows.min() - 30) <= 1 and abs(rows.max() - 79) <= 1
    assert abs(columns.min() - 20) <= 1 and abs(columns.max() - 119) <= 1
    rows, columns = np.nonzero((picture[..., 0] > 0.9) & (picture[..., 1] < 0.1))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (30, 33, 200, 209)
    # Rounded colours leave white as it is.
    assert (picture[0, 0] == 1).all()


def test_colour_bar_runs_from_the_low_to_the_high_colour(tmp_path):
    sheet = Sheet(300, 100)
    sheet.colour_bar(20, 20, 260, JACOBIAN_SCALE)
    sheet.save(tmp_path / 'bar.png')
    row = imread(tmp_path / 'bar.png')[26, :, :3]
    # Blue, white in the middle, red.
    assert row[25, 2] > row[25, 0] + 0.2 and row[274, 0] > row[274, 2] + 0.2 and (row[150] > 0.9).all()


def test_dollar_signs_are_no_formula():
    def width(text):
        sheet = Sheet(300, 40)
        sheet.write(10, 10, text)
        ink = imread(io.BytesIO(sheet.png()), format='png')[..., :3] < 0.5
        return np.ptp(np.flatnonzero(ink.any(axis=(0, 2))))

    assert width('a$b$c') > width('abc') + 10
    # As a formula it could not be read at all.
    assert width(r'$\LV$') > width('LV') + 10
