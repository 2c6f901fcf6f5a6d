"""Image files that are wrong end with one line; those that are odd are registered, and it is said."""

import json
import os

import nibabel as nib
import numpy as np
import pytest

from autofuse_jax.apply_transform import main as apply
from autofuse_jax.register import main
from tests.register.calls import CHEAP, FIXED_GRID, QUICK


def bad(folder, name, **changes):
    """Write a file with something wrong about it and return the arguments that use it, with words of the message."""
    image = np.random.default_rng(0).uniform(size=(8, 9, 10)).astype(np.float32)
    path = folder / f'{name}.nii.gz'
    array = {
        'two_d': image[:, :, :1],
        'series': np.stack([image, image], -1),
        'zero': 0 * image,
        'all_nan': np.full_like(image, np.nan),
        'colours': np.zeros((8, 9, 10), [('R', 'u1'), ('G', 'u1'), ('B', 'u1')]),
    }.get(name, image)
    nib.save(nib.Nifti1Image(array, np.eye(4)), path)
    if name == 'flat':
        flat = nib.Nifti1Image(image[:, :, 0], None)
        flat.set_sform(np.eye(4), code=1)
        flat.set_qform(np.eye(4), code=1)
        nib.save(flat, path)
    if name == 'truncated':
        path.write_bytes(path.read_bytes()[:-200])
    if name == 'singular':
        image = nib.load(path)
        image.set_qform(None, code=0)
        image.set_sform(np.diag([1.0, 1, 1, 1]), code=1)
        image.header['srow_z'] = 0
        path = folder / 'singular.nii'
        nib.save(nib.Nifti1Image(array, None, image.header), path)
    return path


@pytest.mark.parametrize(
    ('name', 'words'),
    [
        ('two_d', 'is a 2-D image, and '),
        ('flat', 'Expected: two volumes or two 2-D images'),
        ('series', 'pass a series as --moving together with --reference-frame'),
        ('zero', 'same value 0 everywhere'),
        ('all_nan', 'NaN or infinite'),
        ('colours', 'colours'),
        ('truncated', 'cannot be read'),
        ('singular', 'singular'),
        ('folder', 'is a folder'),
        ('missing', 'there is no file'),
    ],
)
@pytest.mark.parametrize('role', ['fixed', 'moving'])
def test_bad_images_end_with_one_line(files, tmp_path, capsys, role, name, words):
    if name == 'folder':
        path = files
    else:
        path = tmp_path / 'missing.nii.gz' if name == 'missing' else bad(tmp_path, name)
    if name == 'folder':
        path = tmp_path / 'folder.nii.gz'
        path.mkdir()
    other = {'fixed': 'moving', 'moving': 'fixed'}[role]
    arguments = [f'--{role}={path}', f'--{other}={files}/{other}.nii.gz', f'--out={tmp_path}/out', *QUICK]
    assert main(arguments) == 2
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith('error:')]
    assert len(error) == 1 and words in error[0]
    assert not (tmp_path / 'out').exists()


def test_images_that_do_not_overlap_are_refused_without_alignment(files, tmp_path, capsys):
    image = nib.load(files / 'moving.nii.gz')
    affine = image.affine.copy()
    affine[0, 3] += 900
    nib.save(nib.Nifti1Image(image.get_fdata(dtype=np.float32), affine), tmp_path / 'far.nii.gz')
    arguments = [f'--fixed={files}/fixed.nii.gz', f'--moving={tmp_path}/far.nii.gz', f'--out={tmp_path}/out']
    assert main([*arguments, '--align=none']) == 2
    assert 'do not overlap' in capsys.readouterr().err


def test_disagreeing_forms_are_reported_and_the_sform_is_used(files, tmp_path, capsys):
    image = nib.load(files / 'fixed.nii.gz')
    image.set_qform(np.diag([3.0, 3, 3, 1]), code=1)
    nib.save(image, tmp_path / 'forms.nii.gz')
    arguments = [f'--fixed={tmp_path}/forms.nii.gz', f'--moving={files}/moving.nii.gz', f'--out={tmp_path}/out']
    assert main([*arguments, '--align=none', '--no-deform', '--no-page']) == 0
    assert 'disagree by up to' in capsys.readouterr().err
    report = json.loads((tmp_path / 'out' / 'report.json').read_text())
    assert any('disagree' in check for check in report['checks'])
    np.testing.assert_allclose(nib.load(tmp_path / 'out' / 'moved.nii.gz').affine, FIXED_GRID.affine, atol=1e-4)


def test_a_sheared_grid_has_no_field_for_itk_and_says_so(files, tmp_path, capsys):
    image = nib.load(files / 'fixed.nii.gz')
    sheared = image.affine.copy()
    sheared[0, 1] += 0.4
    header = image.header.copy()
    header.set_qform(None, code=0)
    header.set_sform(sheared, code=1)
    nib.save(nib.Nifti1Image(image.get_fdata(dtype=np.float32), None, header), tmp_path / 'sheared.nii.gz')
    arguments = [f'--fixed={tmp_path}/sheared.nii.gz', f'--moving={files}/moving.nii.gz', f'--out={tmp_path}/out']
    assert main([*arguments, '--align=none', '--no-deform', '--no-page']) == 0
    report = json.loads((tmp_path / 'out' / 'report.json').read_text())
    said = [check for check in report['checks'] if 'not written' in check]
    assert len(said) == 1 and 'forward_itk.nii.gz' in said[0] and 'sheared.nii.gz are sheared by 7.59' in said[0]
    text = capsys.readouterr().err
    assert text.count(said[0]) == 1 and 'sheared by 7.6 degrees' in text
    assert 'forward_voxel.nii.gz' in report['files'] and 'forward_itk.nii.gz' not in report['files']


def test_files_for_itk_fit_what_itk_reads_or_are_not_written(files, tmp_path, capsys):
    sitk = pytest.importorskip('SimpleITK')
    image = nib.load(files / 'fixed.nii.gz')
    header = image.header.copy()
    header['sform_code'] = header['qform_code'] = 0
    nib.save(nib.Nifti1Image(image.get_fdata(dtype=np.float32), None, header), tmp_path / 'nowhere.nii.gz')
    arguments = [f'--fixed={tmp_path}/nowhere.nii.gz', f'--moving={tmp_path}/nowhere.nii.gz', f'--out={tmp_path}/out']
    assert main([*arguments, *CHEAP]) == 0
    assert 'made up as in ITK, axes LPS from 0' in capsys.readouterr().err
    field = sitk.ReadImage(str(tmp_path / 'out' / 'forward_itk.nii.gz'), sitk.sitkVectorFloat64)
    as_itk_reads = sitk.ReadImage(str(tmp_path / 'nowhere.nii.gz'))
    assert field.GetOrigin() == as_itk_reads.GetOrigin() and field.GetDirection() == as_itk_reads.GetDirection()
    # Of an sform that does not come from the scanner ITK takes the qform instead.
    shifted = image.affine.copy()
    shifted[0, 3] += 7
    image.set_sform(shifted, code=2)
    nib.save(image, tmp_path / 'forms.nii.gz')
    arguments = [f'--fixed={tmp_path}/forms.nii.gz', f'--moving={files}/moving.nii.gz', f'--out={tmp_path}/forms']
    assert main([*arguments, *CHEAP]) == 0
    assert 'are not written: ITK takes the qform of forms.nii.gz' in capsys.readouterr().err
    assert not list((tmp_path / 'forms').glob('*itk*'))


def test_file_names_that_are_no_text(files, tmp_path):
    folder = tmp_path / os.fsdecode(b'M\xfcller')
    folder.mkdir()
    (folder / 'moving.nii.gz').write_bytes((files / 'moving.nii.gz').read_bytes())
    arguments = [f'--fixed={files}/fixed.nii.gz', f'--moving={folder}/moving.nii.gz', f'--out={folder}/out']
    assert main([*arguments, '--align=none', '--no-deform']) == 0
    report = json.loads((folder / 'out' / 'report.json').read_text())
    assert report['files'] == sorted(path.name for path in (folder / 'out').iterdir())
    assert os.fsencode(report['moving']['file']).endswith(b'M\xfcller/moving.nii.gz')
    more = [f'--image={folder}/moving.nii.gz', f'--out={folder}/again']
    assert apply(['--transform', f'{folder}/out/forward_itk.nii.gz', *more]) == 0
