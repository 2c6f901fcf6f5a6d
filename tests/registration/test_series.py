"""A 4-D series, every frame to one."""

import csv
import json

import nibabel as nib
import numpy as np
import pytest

from autofuse_jax.data.background import choose_background
from autofuse_jax.data.volumes import Volume, write_image, write_labels
from autofuse_jax.register import main
from autofuse_jax.registration.pipeline import RegistrationResult, register_volumes
from autofuse_jax.registration.series import SeriesResult
from autofuse_jax.registration.series_results import write_series
from autofuse_jax.transforms.maps import AffineTransform, DenseTransform
from tests.registration.scenes import centred_grid, picture

GRID = centred_grid((32, 36, 28), (3.0, 3.0, 3.0))
# How much the scene is larger than in frame 0, along each axis.
SIZES = (1.0, 1.08, 0.92)


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp('cine')
    frames = [picture(GRID, lambda points, size=size: points / size, texture=True) for size in SIZES]
    write_image(folder / 'cine.nii.gz', np.stack([frame.image for frame in frames], -1), GRID.affine)
    write_image(folder / 'one.nii.gz', frames[0].image[..., None], GRID.affine)
    write_labels(folder / 'labels.nii.gz', frames[0].labels, GRID.affine)
    (folder / 'names.json').write_text('{"1": "body", "2": "bright blob"}')
    return folder


@pytest.fixture(scope='module')
def out(files, tmp_path_factory):
    out = tmp_path_factory.mktemp('results') / 'cine'
    arguments = [f'--moving={files}/cine.nii.gz', '--reference-frame=0', f'--fixed-labels={files}/labels.nii.gz']
    more = [f'--classes={files}/names.json', '--shrink=2,1', '--steps=20,10', '--smoothness=0.2', f'--out={out}']
    assert main([*arguments, *more]) == 0
    return out


def test_volumes_follow_the_size_of_the_scene(out):
    rows = list(csv.DictReader((out / 'curves.csv').open()))
    assert [row['frame'] for row in rows] == ['0', '1', '2']
    volumes = np.array([float(row['body_volume_ml']) for row in rows])
    determinants = np.array([float(row['body_jacobian_mean']) for row in rows])
    truth = np.array(SIZES) ** 3
    np.testing.assert_allclose(volumes / volumes[0], truth, atol=0.07)
    np.testing.assert_allclose(determinants, truth, atol=0.07)
    # 4/3 pi 34 * 40 * 30 mm3 is the body, less 4/3 pi 10 * 14 * 9 and 4/3 pi 8 * 9 * 11 of the other two.
    body = 4 / 3 * np.pi * (34 * 40 * 30 - 10 * 14 * 9 - 8 * 9 * 11) / 1000
    assert volumes[0] == pytest.approx(body, rel=0.01)


def test_results_are_four_dimensional(out):
    shapes = {name: nib.load(out / f'{name}.nii.gz').shape for name in ('moved_4d', 'jacobian_4d', 'labels_4d')}
    assert set(shapes.values()) == {(*GRID.shape, 3)}
    fields = nib.load(out / 'displacement_4d.nii.gz')
    assert fields.shape == (*GRID.shape, 3, 3)
    assert np.abs(fields.get_fdata()[..., 0, :]).max() == 0
    report = json.loads((out / 'report.json').read_text())
    assert report['files'] == sorted(path.name for path in out.iterdir())
    assert {'cine.png', 'report.html', 'curves.csv'} <= set(report['files'])
    assert report['scores']['ncc_after'] > report['scores']['ncc_before']
    assert (out / 'cine.png').read_bytes().startswith(b'\x89PNG')
    assert 'Over the cycle' in (out / 'report.html').read_text()
    # The reference, which lies on itself, is not judged.
    assert ['verdict' in frame for frame in report['frames']] == [False, True, True]
    levels = {frame['verdict']['level'] for frame in report['frames'][1:]}
    assert report['verdict']['level'] in levels


def test_frames_are_not_aligned_linearly_unless_asked(out):
    report = json.loads((out / 'report.json').read_text())
    assert [stage['name'] for stage in report['frames'][1]['stages']] == ['velocity at 1/2', 'velocity at full size']
    assert report['frames'][0]['stages'] == []


@pytest.mark.parametrize(
    ('more', 'words'),
    [
        (['--moving={files}/labels.nii.gz', '--reference-frame=0'], 'expected: a series'),
        (['--moving={files}/cine.nii.gz', '--reference-frame=3'], '0 to 2'),
        (['--moving={files}/cine.nii.gz', '--reference-frame=-1'], '0 to 2'),
        (['--moving={files}/cine.nii.gz'], 'no fixed image'),
        (['--moving={files}/one.nii.gz', '--reference-frame=0'], 'expected: a series'),
        (['--moving={files}/cine.nii.gz', '--reference-frame=0', '--guide=network'], 'and there is none'),
    ],
)
def test_wrong_frames_are_refused(files, tmp_path, capsys, more, words):
    assert main([*(part.format(files=files) for part in more), f'--out={tmp_path}/out']) == 2
    assert words.lower() in capsys.readouterr().err.lower()
    assert not (tmp_path / 'out').exists()


def test_blank_frames_are_named_before_any_work(files, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr('autofuse_jax.registration.series.register_volumes', lambda *_, **__: pytest.fail('worked'))
    image = nib.load(files / 'cine.nii.gz').get_fdata(dtype=np.float32)
    for blank, words in (([2], 'frame 2 holds the same value everywhere'), ([0, 2], 'the frames 0, 2 hold the same')):
        series = image.copy()
        series[..., blank] = 7
        write_image(tmp_path / 'blank.nii.gz', series, GRID.affine)
        arguments = [f'--moving={tmp_path}/blank.nii.gz', '--reference-frame=0', f'--out={tmp_path}/out']
        assert main(arguments) == 2
        assert words in capsys.readouterr().err


def test_voxels_without_a_number_are_counted_by_frame(files, tmp_path):
    series = nib.load(files / 'cine.nii.gz').get_fdata(dtype=np.float32)
    series[3, 4, 5, 0], series[:2, 0, 0, 2] = np.nan, np.inf
    write_image(tmp_path / 'holes.nii.gz', series, GRID.affine)
    arguments = [f'--moving={tmp_path}/holes.nii.gz', '--reference-frame=0', '--no-deform', f'--out={tmp_path}/out']
    assert main(arguments) == 0
    said = '3 voxels of frames 0, 2 hold no number and do not count'
    assert json.loads((tmp_path / 'out' / 'report.json').read_text())['checks'][-1] == said
    assert said in (tmp_path / 'out' / 'report.html').read_text()


def test_the_page_says_how_much_folds_in_the_frame_that_it_shows(files, tmp_path):
    image = nib.load(files / 'cine.nii.gz').get_fdata(dtype=np.float32)
    # Frame 0 differs most from the reference; frame 2 is the one that folds.
    image[..., 0] = np.indices(GRID.shape)[0]
    volumes = [Volume(image[..., number], None, GRID.affine, f'frame {number}') for number in range(3)]
    still, folding = np.zeros((2, *GRID.shape, 3), np.float32)
    folding[10, 10, 10, 0] = 3
    frames = tuple(
        RegistrationResult(
            volumes[1],
            volume,
            DenseTransform(field, GRID.affine),
            DenseTransform(still, GRID.affine),
            AffineTransform(np.eye(4)),
            volume.image,
            None,
            (),
            0.0,
            background=choose_background(image, 0.0),
        )
        for volume, field in zip(volumes, (still, still, folding), strict=True)
    )
    curves = {'jacobian_mean': {'whole image': [1.0] * 3}}
    report = write_series(tmp_path / 'out', SeriesResult(1, frames, curves), about={})
    assert report['scores']['njd_percent'] > 0
    page = (tmp_path / 'out' / 'report.html').read_text()
    assert 'frame 0 registered to frame 1' in page
    assert '<span>folded voxels (NJD)</span><b>none</b>' in page


@pytest.mark.parametrize('step', [0.045, 0.0], ids=['known', 'not known'])
def test_times_survive(files, tmp_path, step):
    image = nib.load(files / 'cine.nii.gz')
    image.header['pixdim'][4] = step
    image.header.set_xyzt_units('mm', 'sec')
    nib.save(image, tmp_path / 'cine.nii.gz')
    out = tmp_path / 'out'
    labels = f'--fixed-labels={files}/labels.nii.gz'
    assert main([f'--moving={tmp_path}/cine.nii.gz', '--reference-frame=1', '--no-deform', labels, f'--out={out}']) == 0
    for name in ('moved_4d', 'jacobian_4d', 'displacement_4d', 'labels_4d'):
        header = nib.load(out / f'{name}.nii.gz').header
        assert header['pixdim'][4] == pytest.approx(step) and header.get_xyzt_units() == ('mm', 'sec')


@pytest.mark.parametrize(('choice', 'given'), [('none', None), ('auto', 'auto')])
def test_network_guide_and_page_are_as_they_were_asked_for(files, tmp_path, monkeypatch, capsys, choice, given):
    seen = []

    def remembering(fixed, moving, settings, *, model, guide, on_progress):
        seen.append((model.description.method, guide))
        return register_volumes(fixed, moving, settings)

    monkeypatch.setattr('autofuse_jax.registration.series.register_volumes', remembering)
    arguments = [f'--moving={files}/cine.nii.gz', '--reference-frame=0', '--no-deform', '--no-page']
    assert main([*arguments, '--weights=phantom', f'--guide={choice}', f'--out={tmp_path}/out']) == 0
    assert seen == [('autofuse', given)] * 2
    # Nothing was done to frames that differ.
    assert capsys.readouterr().out.splitlines()[-1].startswith('verdict: look at it. Frame 1: Nothing moved')
    report = json.loads((tmp_path / 'out' / 'report.json').read_text())
    assert report['settings']['weights'] == 'phantom' and report['guide'] is None
    assert not (tmp_path / 'out' / 'report.html').exists() and 'report.html' not in report['files']


def test_structures_of_one_name_have_curves_of_their_own(files, tmp_path):
    (tmp_path / 'names.json').write_text('{"1": "heart", "2": "heart", "3": "whole image"}')
    arguments = [f'--moving={files}/cine.nii.gz', '--reference-frame=0', f'--fixed-labels={files}/labels.nii.gz']
    more = ['--no-deform', f'--classes={tmp_path}/names.json', f'--out={tmp_path}/out']
    assert main([*arguments, *more]) == 0
    with (tmp_path / 'out' / 'curves.csv').open(newline='') as file:
        columns = list(csv.DictReader(file))[0]
    assert float(columns['heart_(label_1)_volume_ml']) > float(columns['heart_(label_2)_volume_ml']) > 0
    assert 'whole_image_jacobian_mean' in columns
    # The pictures of the page call them as the curves do.
    page = (tmp_path / 'out' / 'report.html').read_text()
    assert 'heart (label 1)' in page and '>label 1<' not in page
