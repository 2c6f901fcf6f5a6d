"""The picture of README: what the script draws, and what the repository holds."""

import numpy as np
from matplotlib.image import imread

from experiments.tables.registration_picture import PICTURE, draw
from tests.reports.example_pair import example_pair, view_of

LARGEST_BYTES = 300_000


def test_stored_picture_fits_a_page_and_loads_quickly():
    height, width, _ = imread(PICTURE).shape
    assert 1100 <= width <= 1300 and 0.4 < height / width < 0.8
    assert PICTURE.stat().st_size < LARGEST_BYTES


def test_script_draws_the_layout_of_the_stored_picture(tmp_path):
    scores = {1: 0.5, 2: 0.75, 3: float('nan')}
    record = {f'dsc_{when}_per_label': scores for when in ('before', 'after')} | {'njd_percent': 0.0}
    draw(tmp_path / 'first.png', view_of(example_pair()), record)
    pair = example_pair()
    pair['moved'] = pair['fixed']
    draw(tmp_path / 'second.png', view_of(pair), record)
    first, second = (imread(tmp_path / f'{name}.png') for name in ('first', 'second'))
    # As high; as wide as the slices are.
    assert first.shape == second.shape and first.shape[0] == imread(PICTURE).shape[0]
    # Another moved image changes what lies below 'moving, warped' and 'difference after', not the fixed image.
    changed = (first != second).any(-1)
    third, fourth = changed.shape[1] // 3, changed.shape[1] // 4
    assert changed[:, third : 3 * fourth].sum() > 1000
    assert not changed[: changed.shape[0] // 3, : fourth // 2].any() and np.ptp(first[..., 0]) > 0.9
