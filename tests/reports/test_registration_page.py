"""report.html of a registration."""

import json

import numpy as np
import pytest

from autofuse_jax.reports.colours import FOLDED_COLOUR
from autofuse_jax.reports.html import section, tag
from autofuse_jax.reports.registration_page import registration_page
from tests.reports.example_pair import NAMES, SHAPE, example_pair, reordered
from tests.reports.parsed_page import ParsedPage, assert_stands_alone

PAIR = example_pair()


def page_of(folder, **changes) -> ParsedPage:
    registration_page(folder / 'report.html', **(PAIR | changes))
    content = (folder / 'report.html').read_text(encoding='utf-8')
    assert_stands_alone(content)
    return ParsedPage(content)


@pytest.fixture(scope='module')
def page(tmp_path_factory) -> ParsedPage:
    return page_of(tmp_path_factory.mktemp('page'))


def near(picture: np.ndarray, colour: str) -> int:
    """Pixels of this colour, which is kept to multiples of 4."""
    wanted = [int(colour[start : start + 2], 16) for start in (1, 3, 5)]
    return int((np.abs(picture.astype(int) - wanted).max(-1) <= 4).sum())


def test_page_is_one_well_formed_file_with_everything_in_it(page):
    assert page.find('html') == [{'lang': 'en'}]
    titles = [text for tag_name, text in page.texts if tag_name == 'h2']
    assert titles == [
        'Images',
        'Checkerboard',
        'Difference',
        'Deformation',
        'Structures',
        'Stages',
        'Checks',
        'How it was made',
    ]
    for text in (
        'b/moving.nii.gz registered to a/fixed.nii.gz',
        'Better aligned than before',
        '9.8.7, 2031-02-03',
        'No voxel folds',
        'Both images have the same grid.',
        'abacus',
    ):
        assert text in page.text
    assert ['affine', '1.2', '40', '−0.5000', '−0.7500', 'early'] in page.rows()
    assert page.count('div', class_='warnings') == 0
    assert page.count('details') == 4 and page.count('details', open=None) == 0


def test_user_text_is_escaped(page):
    # The parser gives back the text as it was; in the file it is escaped.
    assert NAMES['1'] in [row[0] for row in page.rows()]
    assert 'ventricle &lt;left&gt;' in page.rawdata_copy and 'ventricle <left>' not in page.rawdata_copy
    assert '--fixed "a <b>.nii.gz"' in page.text and page.count('b') == page.count('div', class_='tile')


def test_structures_have_scores_and_missing_ones_a_dash(page):
    rows = {row[0]: row[1:] for row in page.rows()}
    # 9 x 10 x 8 less 4 x 5 x 4 voxels of 8 mm3, and no surface distance of the first structure after registration.
    assert rows['muscle & fat'][0] == '5.12' and rows['muscle & fat'][-1] == '1.2'
    assert rows['ventricle <left>'][-2:] == ['4.0', '–']


def test_pictures_have_one_size_show_something_and_are_described(page):
    pictures = page.pictures
    # Three planes: fixed, before, after; checkerboards; differences; grid and Jacobian.
    assert len(pictures) == 9 + 6 + 6 + 6
    # 48 x 48 mm hold every plane.
    assert {picture.shape for picture in pictures} == {(400, 400, 3)}
    assert all(len(np.unique(picture @ [1 << 16, 1 << 8, 1])) > 10 for picture in pictures)
    descriptions = [image['alt'] for image in page.find('img')]
    assert len(set(descriptions)) == len(descriptions)
    assert all(image['width'] == image['height'] == '400' for image in page.find('img'))


def test_difference_is_smaller_after_registration(page):
    # Without the rim, where nothing is known of the moving image.
    before, after = (
        [
            picture[100:300, 100:300].mean()
            for picture, image in zip(page.pictures, page.find('img'), strict=True)
            if image['alt'].startswith(f'difference {when} registration')
        ]
        for when in ('before', 'after')
    )
    assert len(before) == len(after) == 3
    assert all(small < 0.9 * large for small, large in zip(after, before, strict=True))


def test_outlines_need_labels_and_edges_stand_in(page, tmp_path):
    # Before registration both outlines are seen in each plane; afterwards one may cover the other.
    for position in (1, 4, 7):
        assert near(page.pictures[position], '#35c9ff') > 50 and near(page.pictures[position], '#ff9f1c') > 50
    bare = page_of(tmp_path, fixed_labels=None, moving_labels_before=None, moved_labels=None, report={})
    assert all(near(bare.pictures[position], '#35c9ff') > 50 for position in (1, 2))
    assert near(bare.pictures[1], '#ff9f1c') == 0
    assert 'edges of the fixed image' in bare.text and 'moving labels' not in bare.text


@pytest.mark.parametrize('codes', ['LAS', 'LIA'])
def test_the_order_of_the_axes_in_the_file_does_not_change_a_pixel(page, tmp_path, codes):
    other = page_of(tmp_path, **reordered(PAIR, codes))
    for first, second in zip(page.pictures, other.pictures, strict=True):
        # Rounding of an affine fit may move a line by a hair.
        assert (np.abs(first.astype(int) - second).max(-1) > 40).mean() < 0.002


def test_missing_entries_do_not_break_the_page(tmp_path):
    empty = page_of(tmp_path, report={}, fixed_labels=None, moving_labels_before=None, moved_labels=None)
    assert 'moving image registered to fixed image' in empty.text and 'Nothing was recorded.' in empty.text
    assert 'Structures' not in empty.text and 'Stages' not in empty.text
    nothing = dict.fromkeys([*PAIR['report'], 'unknown'])
    assert 'label 1' in page_of(tmp_path, report=nothing).text
    partial = {'stages': [{}], 'scores': {'hd95_mm_after_per_label': {'1': None}}, 'fixed': {}, 'versions': {}}
    assert page_of(tmp_path, report=json.loads(json.dumps(partial))).rows()[-1] == ['stage', '–', '–', '–', '–', '']


def test_warnings_are_on_top_of_the_page(tmp_path):
    scores = PAIR['report']['scores'] | {'dsc_after': 0.01, 'ncc_after': 0.1}
    still = page_of(
        tmp_path, report=PAIR['report'] | {'scores': scores}, displacement=np.zeros_like(PAIR['displacement'])
    )
    assert still.count('div', class_='warnings') == 1
    for warning in ('(DSC) fell', '(NCC) fell', 'Nothing moved'):
        assert warning in still.text
    assert still.text.index('Nothing moved') < still.text.index('Images')


def test_folds_are_marked_and_found(tmp_path, page):
    jacobian = PAIR['jacobian'].copy()
    jacobian[3, 4, 5] = -0.5
    folded = page_of(tmp_path, jacobian=jacobian)
    assert '1 voxel folds (0.0153 % of the grid); smallest determinant −0.500 at voxel (3, 4, 5).' in folded.text
    assert len(folded.pictures) == len(page.pictures) + 3
    for picture, image in zip(folded.pictures[-3:], folded.find('img')[-3:], strict=True):
        assert near(picture, FOLDED_COLOUR) > 20
        assert any(f'{axis} = {index} of' in image['alt'] for axis, index in zip('ijk', (3, 4, 5), strict=True))


def test_strange_values_and_grids_are_shown(tmp_path):
    broken = PAIR['fixed'].copy()
    broken[:4] = np.nan
    thick = np.diag([2.0, 2.0, 12.0, 1.0])
    angle = np.radians(10)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]
    shown = page_of(
        tmp_path,
        fixed=broken,
        moving_before=np.zeros(SHAPE),
        affine=turn @ thick,
        jacobian=np.ones(SHAPE),
    )
    assert 'turned by up to 10° from the body axes' in shown.text
    assert 'By their headers alone' in shown.text
    # Slices of the stack instead of three planes.
    assert shown.text.count('fixed: axial') == 3 and 'coronal' not in shown.text
    lost = page_of(tmp_path, displacement=np.full((*SHAPE, 3), np.nan))
    assert 'not finite' in lost.text and 'Deformation' not in lost.text


def test_further_sections_come_along(tmp_path):
    assert 'of my own' in page_of(tmp_path, extra_sections=[section('Over the cycle', tag('p', 'of my own'))]).text


@pytest.mark.parametrize(
    ('key', 'name'),
    [('moved', 'moved image'), ('displacement', 'displacement'), ('jacobian', 'Jacobian'), ('moved_labels', 'labels')],
)
def test_shapes_must_agree(tmp_path, key, name):
    with pytest.raises(ValueError, match=rf'the {name}.* does not fit the fixed image of shape \(20, 24, 16\)'):
        page_of(tmp_path, **{key: PAIR[key][2:]})
    assert not list(tmp_path.iterdir())
