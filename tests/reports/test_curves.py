"""The picture of a training run."""

import math

import numpy as np
from matplotlib.image import imread

from autofuse_jax.reports.curves import curve_picture


def draw(path, rows) -> np.ndarray:
    curve_picture(path, rows)
    return imread(path)


def rows_of(best: float) -> list[dict]:
    return [{'step': step, 'loss': 1 / (1 + step)} for step in range(100)] + [
        {'step': 50, 'validation_dsc': 0.5},
        {'step': 100, 'validation_dsc': best},
    ]


def test_picture_depends_on_the_scores_and_not_on_row_order(tmp_path):
    first = draw(tmp_path / 'first.png', rows_of(0.7))
    assert first.shape[0] > 300 and first.shape[1] > 900
    np.testing.assert_array_equal(first, draw(tmp_path / 'reversed.png', rows_of(0.7)[::-1]))
    second = draw(tmp_path / 'second.png', rows_of(0.9))
    changed = (first != second).any(-1)
    assert changed[:, changed.shape[1] // 2 :].any()


def test_later_row_of_a_step_counts_and_numbers_that_are_not_finite_are_left_out(tmp_path):
    rows = [{'step': 50, 'validation_dsc': 0.1}, *rows_of(0.7)]
    rows += [{'step': 101, 'loss': math.nan}, {'step': 102, 'loss': None}, {'epoch': 1, 'loss': 3.0}]
    np.testing.assert_array_equal(draw(tmp_path / 'a.png', rows), draw(tmp_path / 'b.png', rows_of(0.7)))


def test_empty_run_says_so(tmp_path):
    empty = draw(tmp_path / 'empty.png', [])
    assert (empty[..., :3] < 0.9).any()
