"""The images that are moved: what fills their outside, which ride along, formats, and what of their headers stays."""

import json

import nibabel as nib
import numpy as np
import pytest

from autofuse_jax.data.volumes import read_image, read_labels, write_image
from autofuse_jax.register import main
from autofuse_jax.transforms.grids import to_world
from tests.register.calls import CHEAP, FIXED_GRID, MOVING_GRID, command
from tests.registration.scenes import centred_grid, rotation_and_shift


def test_what_lies_outside_is_filled_and_said(files, tmp_path, capsys):
    image = nib.load(files / 'moving.nii.gz')
    array = image.get_fdata(dtype=np.float32) - 1024
    nib.save(nib.Nifti1Image(array[10:], image.affine @ rotation_and_shift(0, (10, 0, 0))), tmp_path / 'ct.nii.gz')
    array[:20] = np.nan
    nib.save(nib.Nifti1Image(array, image.affine), tmp_path / 'dose.nii.gz')
    cheap = ['--align=none', '--no-deform', '--no-page', '--moving-images', str(tmp_path / 'dose.nii.gz')]
    arguments = [f'--fixed={files}/fixed.nii.gz', f'--moving={tmp_path}/ct.nii.gz', *cheap]
    for wanted, value in (
        ([], -1024),
        (['--background=min'], array[np.isfinite(array)].min()),
        (['--background=7'], 7),
    ):
        out = tmp_path / f'out{value}'
        assert main([*arguments, f'--out={out}', *wanted]) == 0
        assert f'filled with {value:g} (' in capsys.readouterr().out
        report = json.loads((out / 'report.json').read_text())
        assert report['background']['value'] == pytest.approx(value)
        moved = read_image(out / 'moved.nii.gz').image
        assert moved[0, 0, 0] == moved[-1, 0, 0] == value
        # Nothing is blended with 0 at the border, and what is missing stays so.
        assert ((moved < -800) | (moved == value)).all()
        assert 0.05 < np.isnan(nib.load(out / 'moved_dose.nii.gz').get_fdata()).mean() < 0.5


def riding(files, out, *companions):
    named = [f'--fixed={files}/fixed.nii.gz', f'--moving={files}/moving.nii.gz', f'--out={out}', *CHEAP]
    return [*named, '--moving-images', *map(str, companions)]


def test_images_that_ride_along_are_checked_as_if_they_were_moved_alone(files, tmp_path, capsys):
    small = centred_grid((10, 10, 10), (4, 4, 4))
    write_image(tmp_path / 'blank.nii.gz', np.full(small.shape, 7), small.affine)
    companions = [files / 't2.nii.gz', files / 'moving_labels.nii.gz', tmp_path / 'blank.nii.gz']
    assert main(riding(files, tmp_path / 'out', *companions)) == 0
    captured = capsys.readouterr()
    assert 'hint: moving_labels.nii.gz holds 4 different whole numbers only' in captured.err
    assert 'apply_transform --labels' in captured.err and 'hint: blank' not in captured.err
    assert 'of the result lies outside of it and is filled with 7 (' in captured.out
    assert 'blank.nii.gz has the same value 7 everywhere' in captured.out
    report = json.loads((tmp_path / 'out' / 'report.json').read_text())
    assert any(sentence.startswith('blank.nii.gz: ') for sentence in report['moving_images'])
    assert set(report['moving_images']) < set(report['checks'])
    assert (read_image(tmp_path / 'out' / 'moved_blank.nii.gz', allow_constant=True).image == 7).all()


def test_images_that_ride_along_must_lie_where_the_moving_image_does(files, tmp_path, capsys, monkeypatch):
    far = centred_grid((10, 10, 10), (4, 4, 4))
    write_image(tmp_path / 'far.nii.gz', np.arange(1000).reshape(far.shape), far.affine + 500 * np.eye(4, k=3))
    with monkeypatch.context() as context:
        context.setattr('autofuse_jax.commands.register_pair.register_images', lambda *_, **__: pytest.fail('worked'))
        assert main(riding(files, tmp_path / 'out', tmp_path / 'far.nii.gz')) == 2
    assert 'far.nii.gz does not overlap with the moving image moving.nii.gz' in capsys.readouterr().err
    # In the last slice of the moving image, which the fixed one does not show: known after the work, which is kept.
    affine = np.diag([2.0, 2, 2, 1])
    affine[:3, 3] = to_world(MOVING_GRID.affine, np.array([30, 28, 29])) - 2
    write_image(tmp_path / 'last.nii.gz', np.arange(27).reshape(3, 3, 3), affine)
    assert main(riding(files, tmp_path / 'out', tmp_path / 'last.nii.gz')) == 0
    assert 'warning: last.nii.gz does not overlap with the result' in capsys.readouterr().out
    report = json.loads((tmp_path / 'out' / 'report.json').read_text())
    assert 'moved.nii.gz' in report['files'] and 'moved_last.nii.gz' not in report['files']


@pytest.mark.parametrize('suffix', ['nrrd', 'mha', 'mgz', 'nii'])
def test_moved_images_in_other_formats(files, tmp_path, suffix):
    if suffix in ('nrrd', 'mha'):
        pytest.importorskip('SimpleITK')
    labels = f'--moving-labels={files}/moving_labels.nii.gz'
    out = tmp_path / 'out'
    assert main(command(files, out, *CHEAP, labels, f'--out-format={suffix}')) == 0
    report = json.loads((out / 'report.json').read_text())
    assert {f'moved.{suffix}', f'moved_labels.{suffix}', 'jacobian.nii.gz'} <= set(report['files'])
    np.testing.assert_allclose(read_image(out / f'moved.{suffix}').affine, FIXED_GRID.affine, atol=1e-4)
    assert read_labels(out / f'moved_labels.{suffix}')[0].max() == 3


def test_times_and_text_of_the_moving_image_survive(files, tmp_path):
    image = nib.load(files / 'moving.nii.gz')
    image.header['descrip'] = b'a scan'
    image.header['pixdim'][4] = 2.5
    image.header.set_xyzt_units('mm', 'sec')
    nib.save(image, tmp_path / 'moving.nii.gz')
    arguments = [f'--fixed={files}/fixed.nii.gz', f'--moving={tmp_path}/moving.nii.gz', f'--out={tmp_path}/out']
    assert main([*arguments, *CHEAP]) == 0
    header = nib.load(tmp_path / 'out' / 'moved.nii.gz').header
    assert header['descrip'].item() == b'a scan'
    assert header['pixdim'][4] == 2.5 and header.get_xyzt_units() == ('mm', 'sec')
