"""Curves of validation: how they are read, when a training has converged, and their figure."""

import json

import numpy as np
import pytest
from matplotlib.image import imread

from experiments.comparison.curve import has_converged, last_gain, read_curve
from experiments.comparison.curve_figure import draw_curves
from tests.experiments.comparison_records import comparison_record, curve_of, row_record


@pytest.mark.parametrize(
    ('dsc', 'gain'),
    [
        # Validations after 100, 200, 300 and 400 steps: the third belongs to the first three quarters.
        ((0.6, 0.65, 0.70, 0.704), 0.4),
        ((0.6, 0.65, 0.70, 0.705001), 0.5001),
        # What is lost after the best does not count, its parameters are kept.
        ((0.6, 0.72, 0.70, 0.71), 0.0),
        # Three quarters of 200 steps are 150.
        ((0.6, 0.65), 5.0),
        # Three quarters of 1,000 steps are 750: the last quarter begins after the validation at 700.
        ((0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.71, 0.72, 0.69), 2.0),
    ],
)
def test_the_last_quarter_gains_what_the_best_rises(dsc, gain):
    assert last_gain(curve_of(*dsc)) == pytest.approx(gain)
    assert has_converged(curve_of(*dsc)) == (gain < 0.5)


def test_a_curve_that_is_too_short_tells_nothing():
    for curve in ([], curve_of(0.7), curve_of(None, 0.7)):
        assert last_gain(curve) is None and has_converged(curve) is None


def test_curves_are_the_validations_of_a_run(tmp_path):
    assert read_curve(tmp_path) == []
    rows = [
        {'step': 50, 'kind': 'train', 'loss': -0.1},
        {'step': 50, 'kind': 'validation', 'dsc_before': 0.5, 'dsc_after': 2 / 3, 'njd_percent': 0.0, 'sdlogj': None},
    ]
    (tmp_path / 'metrics.jsonl').write_text(''.join(json.dumps(row) + '\n' for row in rows))
    assert read_curve(tmp_path) == [{'step': 50, 'dsc_after': 0.666667, 'njd_percent': 0.0, 'sdlogj': None}]


def drawn(path, *rows):
    draw_curves(path, comparison_record(*rows))
    return imread(path)[..., :3]


def test_the_figure_shows_both_ways_of_training_side_by_side(tmp_path):
    autofuse, semi = ('autofuse', row_record('autofuse')), ('autofuse_semi', row_record('autofuse_semi'))
    pictures = {
        'both': drawn(tmp_path / 'both.png', autofuse, semi),
        'other semi': drawn(
            tmp_path / 'other.png', autofuse, ('autofuse_semi', semi[1] | {'validation': curve_of(0.6, 0.61, 0.9, 0.8)})
        ),
        'one': drawn(tmp_path / 'one.png', autofuse),
    }
    half = pictures['both'].shape[1] // 2
    changed = (pictures['both'] != pictures['other semi']).any(-1)
    assert changed[:, half:].sum() > 100 and not changed[:, : half - 20].any()
    # A row without a curve is left out.
    empty = drawn(tmp_path / 'empty.png', autofuse, ('autofuse_semi', semi[1] | {'validation': []}))
    np.testing.assert_array_equal(empty, pictures['one'])


def test_every_row_has_a_line_of_its_own(tmp_path):
    from autofuse_jax.configs.comparison.rows import ROWS

    names = list(ROWS)
    all_rows = [(name, row_record(name, validation=curve_of(0.6, 0.6 + 0.01 * n))) for n, name in enumerate(names)]
    picture = drawn(tmp_path / 'all.png', *all_rows)
    for position in (0, len(names) - 1):
        name, row = all_rows[position]
        others = [*all_rows[:position], (name, row | {'validation': curve_of(0.6, 0.95)}), *all_rows[position + 1 :]]
        assert (drawn(tmp_path / 'changed.png', *others) != picture).any()
