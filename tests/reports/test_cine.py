"""Curves over the frames of a cine."""

import numpy as np
import pytest
from matplotlib.image import imread

from autofuse_jax.reports.cine import STRAINS, cine_plot, cine_png, cine_section
from tests.reports.parsed_page import ParsedPage


def curves() -> dict:
    return {
        'volume_ml': {'LV cavity': [120.0, 60.0, 90.0], 'myocardium': [80.0, 84.0, np.nan]},
        'jacobian_mean': {'LV cavity': [1.0, 0.5, 0.75], 'whole image': [1.0, 1.0, 1.0]},
    }


def test_plot_is_a_picture_that_depends_on_values_and_reference(tmp_path):
    cine_plot(tmp_path / 'new' / 'cine.png', curves(), title='patient')
    first = imread(tmp_path / 'new' / 'cine.png')[..., :3]
    assert first.shape == (484, 1210, 3)
    assert np.unique(np.rint(255 * first).reshape(-1, 3), axis=0).shape[0] > 50
    changed = curves()
    # Within the range of the axes, so that nothing else moves.
    changed['jacobian_mean']['LV cavity'][2] = 0.6
    cine_plot(tmp_path / 'b.png', changed, title='patient')
    different = (first != imread(tmp_path / 'b.png')[..., :3]).any(-1)
    assert different[:, 610:].sum() > 100 and different[:, :580].sum() == 0
    assert cine_png(curves(), reference_frame=1) != cine_png(curves(), reference_frame=0)


def test_times_many_structures_and_nothing_at_all():
    many = {'volume_ml': {f'structure {i}': [float(i), 2.0] for i in range(12)}}
    assert cine_png(many, times=[0.0, 33.0], time_label='time (ms)') != cine_png(many)
    assert cine_png({'volume_ml': {r'$\LV$': [1.0, 2.0]}}).startswith(b'\x89PNG')
    assert cine_png({}).startswith(b'\x89PNG')
    assert cine_png({'volume_ml': {'lost': [np.nan, np.nan]}}).startswith(b'\x89PNG')


def test_section_has_the_picture_and_the_extremes():
    page = ParsedPage(cine_section(curves(), times=[0.0, 300.0, 600.0], time_label='time (ms)'))
    assert page.pictures[0].shape == (484, 1210, 3)
    assert page.rows()[1:] == [
        ['LV cavity', '120.0', '120.0', '0', '60.0', '300', '−50.0'],
        ['myocardium', '80.0', '84.0', '300', '80.0', '0', '−4.8'],
    ]
    assert page.rows()[0][3] == 'at time (ms)'


def test_volumes_of_small_animals_keep_their_digits():
    small = {'volume_ml': {'LV cavity': [0.0512, 0.0203, 0.04]}}
    page = ParsedPage(cine_section(small))
    assert page.rows()[1] == ['LV cavity', '0.0512', '0.0512', '0', '0.0203', '1', '−60.4']


def test_strain_has_a_picture_and_extremes_of_its_own(tmp_path):
    strain = {
        'radial_strain_percent': {'myocardium': [0.0, 30.0, 12.0]},
        'circumferential_strain_percent': {'myocardium': [0.0, -18.5, -7.0]},
    }
    page = ParsedPage(cine_section({**curves(), **strain}))
    assert len(page.pictures) == 2
    assert page.rows()[-2:] == [
        ['myocardium, radial', '0.0', '0', '30.0', '1'],
        ['myocardium, circumferential', '−18.5', '1', '0.0', '0'],
    ]
    cine_plot(tmp_path / 'strain.png', strain, kinds=STRAINS)
    assert imread(tmp_path / 'strain.png').shape[:2] == (484, 1210)


def test_lengths_and_reference_frame_are_checked():
    with pytest.raises(ValueError, match=r'different numbers of frames: \[2, 3\]'):
        cine_png(curves(), times=[0.0, 1.0])
    with pytest.raises(ValueError, match='reference frame 3 is not one of 0 to 2'):
        cine_png(curves(), reference_frame=3)
