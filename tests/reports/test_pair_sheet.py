"""The picture of a registered pair."""

import dataclasses

import numpy as np
import pytest
from matplotlib.image import imread

from autofuse_jax.data.phantom import CLASSES, random_phantom, render_frame, true_displacement
from autofuse_jax.metrics.folding import jacobian_determinant
from autofuse_jax.metrics.warping import warp_image, warp_labels
from autofuse_jax.reports.colours import FIXED_OUTLINE, FOLDED_COLOUR, MOVING_OUTLINE, PALETTE
from autofuse_jax.reports.pair_sheet import LEAST_PANEL, pair_sheet, row_canvas, score_lines
from autofuse_jax.reports.registration_view import RegistrationView, view_registration
from tests.reports.example_pair import example_pair, reordered, view_of

NAMES = {label: name for label, name in CLASSES.items() if label}
RECORD = {
    'dsc_before': 0.5,
    'dsc_after': 0.9,
    'dsc_before_per_label': {1: 0.4, 2: 0.6, 3: float('nan')},
    'dsc_after_per_label': {1: 0.85, 2: 0.95, 3: float('nan')},
    'njd_percent': 0.125,
}


def registered_pair(*, with_labels: bool = True, **changes) -> RegistrationView:
    phantom = random_phantom(np.random.default_rng(3), shape=(24, 28, 12), spacing=(6.0, 6.0, 20.0))
    fixed, fixed_labels = render_frame(phantom, 1)
    moving, moving_labels = render_frame(phantom, phantom.systole)
    true = true_displacement(phantom, 1, phantom.systole)
    arrays = {
        'fixed': fixed,
        'before': moving,
        'after': warp_image(moving, true),
        'displacement': true,
        'jacobian': jacobian_determinant(true),
        'affine': np.diag([-6.0, 6.0, 20.0, 1.0]),
    }
    if with_labels:
        arrays['labels'] = (fixed_labels, moving_labels, warp_labels(moving_labels, true))
    registration = view_registration(**(arrays | changes))
    # One of the three slices, which is as good as all and drawn in a third of the time.
    return dataclasses.replace(registration, views=registration.views[1:2])


def draw(path, registration, names=NAMES, record=RECORD) -> np.ndarray:
    pair_sheet(path, registration, title='phantom', names=names, record=record)
    return np.rint(255 * imread(path)[..., :3]).astype(int)


def count(picture: np.ndarray, colour: str) -> int:
    """Pixels of this colour, which is kept to multiples of 4."""
    wanted = [int(colour[start : start + 2], 16) for start in (1, 3, 5)]
    return int((np.abs(picture - wanted).max(-1) <= 4).sum())


@pytest.fixture(scope='module')
def sheet(tmp_path_factory) -> np.ndarray:
    return draw(tmp_path_factory.mktemp('sheet') / 'new' / 'pair.png', registered_pair())


def test_sheet_shows_every_structure_and_both_outlines(sheet):
    # Seven pictures with a scale that fits 144 x 168 mm into 280 x 360 pixels.
    assert sheet.shape[0] > 327 and sheet.shape[1] > 7 * 280
    for colour in (*PALETTE[:3], FIXED_OUTLINE, MOVING_OUTLINE):
        assert count(sheet, colour) > 200, colour


def test_same_input_same_picture_and_another_field_changes_its_own_columns(sheet, tmp_path):
    np.testing.assert_array_equal(sheet, draw(tmp_path / 'again.png', registered_pair()))
    still = registered_pair(displacement=np.zeros((24, 28, 12, 3)), jacobian=np.ones((23, 27, 11)))
    changed = (sheet != draw(tmp_path / 'still.png', still)).any(-1)
    eighth = changed.shape[1] // 8
    assert changed[:, 6 * eighth :].sum() > 5000
    assert changed[:390, : 2 * eighth].sum() == 0


def test_labels_are_optional_and_folding_is_marked(sheet, tmp_path):
    bare = draw(tmp_path / 'bare.png', registered_pair(with_labels=False), {}, {'njd_percent': 0.0})
    assert count(bare, PALETTE[1]) == 0 and count(bare, FIXED_OUTLINE) > 200 and count(bare, MOVING_OUTLINE) == 0
    jacobian = np.ones((23, 27, 11))
    jacobian[8:16, 8:16] = -1
    assert count(draw(tmp_path / 'folded.png', registered_pair(jacobian=jacobian)), FOLDED_COLOUR) > 2000
    # In the legend alone.
    assert 0 < count(sheet, FOLDED_COLOUR) < 200


def test_the_patient_looks_the_same_whatever_the_order_of_the_axes(tmp_path):
    sheets = []
    for codes in ('RAS', 'LIA'):
        registration = view_of(reordered(example_pair(), codes))
        axial = dataclasses.replace(registration, views=registration.views[:1])
        sheets.append(draw(tmp_path / f'{codes}.png', axial, {1: 'ventricle', 2: 'muscle'}))
    # Right of the words that name the array axis; rounding of an affine fit may move a line by a hair.
    first, second = (sheet[:, 60:] for sheet in sheets)
    assert (np.abs(first - second).max(-1) > 40).mean() < 0.002


def test_scores_are_those_of_the_record_with_a_dash_for_what_is_unknown():
    assert score_lines(NAMES, RECORD) == [
        (None, 'DSC %', 'before', 'after'),
        (PALETTE[0], 'right ventricle', '40.0', '85.0'),
        (PALETTE[1], 'myocardium', '60.0', '95.0'),
        (PALETTE[2], 'left ventricle', '–', '–'),
        (None, 'mean of 2', '50.0', '90.0'),
    ]
    assert score_lines(NAMES, {})[1:] == [
        (PALETTE[position], name, '–', '–') for position, name in enumerate(NAMES.values())
    ]
    assert score_lines({}, RECORD) == []


def test_of_many_structures_the_worst_are_listed():
    names = {label: f'structure with quite a long name {label}' for label in range(1, 36)}
    scores = {label: label / 100 for label in names} | {1: float('nan')}
    lines = score_lines(names, {'dsc_after_per_label': scores, 'dsc_after': 0.2})
    assert [line[3] for line in lines] == ['after', *(f'{label}.0' for label in range(2, 10)), '20.0']
    assert lines[0][1] == 'DSC %, lowest of 34' and lines[1][1] == 'structure with quite a long…'
    assert all(line[0] is None for line in lines)


def test_flat_and_narrow_volumes_leave_room_for_the_words():
    pair = {'before': np.eye(9)[:, :, None] * np.ones(3), 'displacement': np.zeros((9, 9, 3, 3))}
    flat = view_registration(
        fixed=pair['before'],
        after=pair['before'],
        jacobian=np.ones((9, 9, 3)),
        affine=np.diag([-1.0, 1.0, 1.0, 1.0]),
        **pair,
    )
    sizes = [row_canvas(flat, view).size for view in flat.views]
    assert sizes == [(280, 280), (280, LEAST_PANEL[1]), (280, LEAST_PANEL[1])]
