"""Two files in, a folder of results out, and what happens when something is wrong with them."""

import json
import os
import sys

import nibabel as nib
import numpy as np
import pytest

import autofuse_jax
from autofuse_jax.apply_transform import main as apply
from autofuse_jax.data.volumes import read_image, read_labels, write_image, write_labels
from autofuse_jax.register import main
from autofuse_jax.registration.instance import InstanceSettings
from autofuse_jax.registration.pipeline_settings import PipelineSettings
from autofuse_jax.transforms.grids import to_world
from autofuse_jax.transforms.maps import AffineTransform
from autofuse_jax.transforms.resampling import moving_positions
from autofuse_jax.transforms_io.files import read_transform
from autofuse_jax.transforms_io.itk_text import write_itk_text
from tests.registration.scenes import bulge, centred_grid, picture, rotation_and_shift, world_difference
from tests.transforms_io.foreign import write_matlab

# Levels and shapes as in tests/registration, so that they share what is compiled.
QUICK = ['--shrink=2,1', '--steps=20,10', '--smoothness=0.2', '--align=rigid']
FIXED_GRID = centred_grid((32, 36, 28), (3.0, 3.0, 3.0))
MOVING_GRID = centred_grid((60, 56, 30), (2.0, 2.0, 4.0), turn=20, axes='LPS')
TURN = rotation_and_shift(10.0, (3.0, -5.0, 2.0))


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    """Images and labels of a turned, bulging scene on two different grids."""
    folder = tmp_path_factory.mktemp('scenes')
    volumes = {
        'fixed': picture(FIXED_GRID, bulge, texture=True),
        'moving': picture(MOVING_GRID, lambda points: to_world(np.linalg.inv(TURN), points), texture=True),
    }
    for name, volume in volumes.items():
        write_image(folder / f'{name}.nii.gz', volume.image, volume.affine)
        write_labels(folder / f'{name}_labels.nii.gz', volume.labels, volume.affine)
    second_grid = centred_grid((30, 28, 30), (4, 4, 4))
    second = picture(second_grid, lambda points: to_world(np.linalg.inv(TURN), points), texture=True)
    write_image(folder / 't2.nii.gz', 1000 - second.image, second.affine)
    np.savetxt(folder / 'singular.mat', np.diag([1, 1, 0, 1]))
    write_itk_text(folder / 'far.tfm', AffineTransform(rotation_and_shift(0, (900, 0, 0))))
    (folder / 'names.json').write_text('{"1": "head", "2": "left <blob>"}')
    return folder


def command(files, out, *more):
    quick = QUICK if '--no-deform' not in more else []
    return [f'--fixed={files}/fixed.nii.gz', f'--moving={files}/moving.nii.gz', f'--out={out}', *quick, *more]


@pytest.fixture(scope='module')
def out(files, tmp_path_factory):
    out = tmp_path_factory.mktemp('results') / 'deeper' / 'result'
    labels = [f'--{role}-labels={files}/{role}_labels.nii.gz' for role in ('fixed', 'moving')]
    more = [f'--classes={files}/names.json', '--moving-images', f'{files}/t2.nii.gz']
    assert main(command(files, out, *labels, *more)) == 0
    return out


def test_everything_is_there_and_listed(out):
    report = json.loads((out / 'report.json').read_text())
    assert report['files'] == sorted(path.name for path in out.iterdir())
    assert {
        'moved.nii.gz',
        'moved_labels.nii.gz',
        'moved_t2.nii.gz',
        'forward_itk.nii.gz',
        'inverse_itk.nii.gz',
        'forward_voxel.nii.gz',
        'inverse_voxel.nii.gz',
        'affine_itk.txt',
        'inverse_affine_itk.txt',
        'jacobian.nii.gz',
        'report.html',
    } <= set(report['files'])
    assert not list(out.parent.glob('.writing-*'))


def test_the_report_says_what_happened(out):
    report = json.loads((out / 'report.json').read_text())
    scores = report['scores']
    # So few steps end at 0.90 or a little below, depending on where rounding lets the alignment stop.
    assert scores['dsc_after'] > 0.88 > scores['dsc_before']
    assert scores['ncc_after'] > 0.97 > scores['ncc_before']
    assert scores['njd_percent'] == 0 and scores['inverse_consistency_mm']['mean'] < 0.6
    assert set(scores['dsc_after_per_label']) == {'1', '2', '3'}
    assert report['classes'] == {'1': 'head', '2': 'left <blob>'}
    assert any('axes LPS' in check for check in report['checks'])
    assert report['moving']['labels_file'].endswith('moving_labels.nii.gz')
    assert report['command'].startswith('python -m autofuse_jax.register --fixed=')
    assert {'versions', 'machine', 'date', 'commit', 'settings'} <= set(report)
    assert 'left &lt;blob&gt;' in (out / 'report.html').read_text()


def test_results_are_on_the_fixed_grid(files, out):
    fixed = nib.load(files / 'fixed.nii.gz')
    for name in ('moved', 'moved_labels', 'moved_t2', 'jacobian', 'forward_itk'):
        image = nib.load(out / f'{name}.nii.gz')
        assert image.shape[:3] == fixed.shape
        np.testing.assert_allclose(image.affine, fixed.affine, atol=1e-5)
    assert read_labels(out / 'moved_labels.nii.gz')[0].max() == 3
    # The other contrast went along: dark where the first is bright.
    moved, second = (read_image(out / name).image for name in ('moved.nii.gz', 'moved_t2.nii.gz'))
    inner = (slice(8, -8),) * 3
    assert np.corrcoef(moved[inner].ravel(), second[inner].ravel())[0, 1] < -0.9


def test_simpleitk_makes_the_same_image_of_the_written_field(files, out):
    sitk = pytest.importorskip('SimpleITK')
    field = sitk.ReadImage(str(out / 'forward_itk.nii.gz'), sitk.sitkVectorFloat64)
    moving, fixed = (sitk.ReadImage(str(files / f'{name}.nii.gz'), sitk.sitkFloat64) for name in ('moving', 'fixed'))
    resampled = sitk.Resample(moving, fixed, sitk.DisplacementFieldTransform(field), sitk.sitkLinear, 0.0)
    theirs = sitk.GetArrayFromImage(resampled).T
    # On the face of an outermost voxel rounding decides whether a place is inside.
    transform, _ = read_transform(out / 'forward_itk.nii.gz')
    there = moving_positions(transform, FIXED_GRID, MOVING_GRID.affine)
    faces = np.reshape(MOVING_GRID.shape, (3, 1, 1, 1)) - 0.5
    clear = ((np.abs(there + 0.5) > 0.01) & (np.abs(there - faces) > 0.01)).all(axis=0)
    ours = read_image(out / 'moved.nii.gz').image
    assert clear.mean() > 0.9
    assert np.abs(ours - theirs)[clear].max() < 1e-4 * ours.max()


def test_saved_transforms_are_read_back_with_both_roles(out):
    forward, info = read_transform(out / 'forward_itk.nii.gz')
    backward, back_info = read_transform(out / 'inverse_itk.nii.gz')
    assert (info.role, back_info.role) == ('forward', 'inverse')
    assert info.inverse == 'inverse_itk.nii.gz' and info.moving.file == back_info.fixed.file == 'moving.nii.gz'
    points = to_world(FIXED_GRID.affine, np.array([[12, 14, 10], [20, 22, 18], [16, 18, 14]]))
    assert np.linalg.norm(backward.map_points(forward.map_points(points)) - points, axis=-1).max() < 0.6


def test_the_linear_part_and_its_inverse_for_itk(out):
    sitk = pytest.importorskip('SimpleITK')
    there, back = (sitk.ReadTransform(str(out / f'{name}affine_itk.txt')) for name in ('', 'inverse_'))
    np.testing.assert_allclose(back.TransformPoint(there.TransformPoint((3.0, -7, 11))), (3, -7, 11), atol=1e-9)
    assert read_transform(out / 'inverse_affine_itk.txt')[1].inverse == 'affine_itk.txt'


def test_composites_for_itk_hold_the_parts_where_they_are_asked_for(files, tmp_path):
    sitk = pytest.importorskip('SimpleITK')
    pytest.importorskip('h5py')
    start = ['--initial', str(tmp_path / 'start.tfm'), '--align=none', '--composite', '--no-page']
    write_itk_text(tmp_path / 'start.tfm', AffineTransform(TURN))
    assert main(command(files, tmp_path / 'out', *start)) == 0
    report = json.loads((tmp_path / 'out' / 'report.json').read_text())
    flip = np.array([-1.0, -1.0, 1.0])
    for role, name, grid in (
        ('forward', 'composite_itk', FIXED_GRID),
        ('inverse', 'inverse_composite_itk', MOVING_GRID),
    ):
        assert {f'{name}.h5', f'{name}.json'} <= set(report['files'])
        theirs = sitk.ReadTransform(str(tmp_path / 'out' / f'{name}.h5'))
        composite = sitk.CompositeTransform(theirs)
        kinds = {composite.GetNthTransform(k).GetName() for k in range(composite.GetNumberOfTransforms())}
        assert kinds == {'AffineTransform', 'DisplacementFieldTransform'}
        dense, info = read_transform(tmp_path / 'out' / f'{role}_voxel.nii.gz')
        assert dense.grid.same_as(grid) and info.role == role
        points = to_world(grid.affine, np.argwhere(np.ones(grid.shape))[::997])
        moved = np.array([theirs.TransformPoint((point * flip).tolist()) for point in points]) * flip
        # ITK takes no displacement beyond a field, ours goes on as at its border: there the inverse may differ.
        apart = np.linalg.norm(moved - dense.map_points(points), axis=-1)
        assert np.median(apart) < 1e-3 and (apart < 0.05).mean() > (0.99 if role == 'forward' else 0.6)


def test_composites_are_checked_before_any_work(files, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, 'h5py', None)
    assert main(command(files, tmp_path / 'out', '--composite')) == 2
    error = capsys.readouterr().err
    assert "pip install 'autofuse_jax[hdf5]'" in error and not (tmp_path / 'out').exists()
    assert main(command(files, tmp_path / 'out', '--composite', '--reference-frame=0')) == 2
    assert '--composite together with --reference-frame' in capsys.readouterr().err


def test_a_transform_of_another_program_is_the_start_or_the_whole(files, tmp_path, capsys):
    matrix = np.diag([-1.0, -1, 1, 1]) @ TURN @ np.diag([-1.0, -1, 1, 1])
    numbers = [*matrix[:3, :3].ravel(), *matrix[:3, 3]]
    write_matlab(tmp_path / '0GenericAffine.mat', 'AffineTransform_double_3_3', numbers, [0, 0, 0])
    cheap = ['--align=none', '--no-deform', '--no-page', '--initial', str(tmp_path / '0GenericAffine.mat')]
    assert main(command(files, tmp_path / 'a', *cheap)) == 0
    assert 'initial transform: affine, 0GenericAffine.mat' in capsys.readouterr().out
    report = json.loads((tmp_path / 'a' / 'report.json').read_text())
    assert report['initial'] == cheap[-1:] and report['stages'][0]['name'] == 'start: initial transform'
    assert 'initial transform: affine, 0GenericAffine.mat' in report['checks']
    forward, _ = read_transform(tmp_path / 'a' / 'forward_itk.nii.gz')
    assert world_difference(forward, TURN, FIXED_GRID) < 1e-3
    # What was written is an initial transform of the next registration, a deformation to it.
    again = ['--initial', str(tmp_path / 'a' / 'forward_itk.nii.gz')]
    assert main(command(files, tmp_path / 'b', *cheap[:3], *again)) == 0
    np.testing.assert_allclose(
        read_image(tmp_path / 'b' / 'moved.nii.gz').image, read_image(tmp_path / 'a' / 'moved.nii.gz').image, atol=0.05
    )
    report = json.loads((tmp_path / 'b' / 'report.json').read_text())
    assert not {'affine_itk.txt', 'inverse_affine_itk.txt'} & set(report['files'])
    assert any('no affine_itk.txt' in check for check in report['checks'])


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


def test_results_are_not_replaced_unless_asked(files, out, capsys):
    before = (out / 'report.json').read_bytes()
    assert main(command(files, out)) == 2
    assert 'exists and is not empty. To fix: name another --out folder' in capsys.readouterr().err
    assert (out / 'report.json').read_bytes() == before


def test_overwriting_keeps_files_of_others_and_refuses_folders_of_others(files, tmp_path, capsys):
    cheap = ['--align=none', '--no-deform', '--no-page']
    labels = f'--moving-labels={files}/moving_labels.nii.gz'
    assert main(command(files, tmp_path / 'a', *cheap, labels)) == 0
    assert (tmp_path / 'a' / 'moved_labels.nii.gz').is_file()
    (tmp_path / 'a' / 'notes.txt').write_text('mine')
    assert main(command(files, tmp_path / 'a', *cheap, '--overwrite')) == 0
    assert (tmp_path / 'a' / 'notes.txt').read_text() == 'mine'
    # Of the replaced results nothing stays behind that would seem to belong to these.
    assert not (tmp_path / 'a' / 'moved_labels.nii.gz').exists()
    (tmp_path / 'a' / 'report.json').write_text('[]')
    assert main(command(files, tmp_path / 'a', *cheap, '--overwrite')) == 2
    assert 'report.json is no record of results of this program' in capsys.readouterr().err
    (tmp_path / 'b').mkdir()
    (tmp_path / 'b' / 'thesis.tex').write_text('mine')
    assert main(command(files, tmp_path / 'b', *cheap, '--overwrite')) == 2
    assert 'no report.json' in capsys.readouterr().err
    assert main(command(files, files / 'names.json', *cheap)) == 2
    assert 'is a file' in capsys.readouterr().err


def test_a_failed_run_leaves_nothing_that_looks_complete(files, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr('autofuse_jax.registration.results.write_transform', fail)
    out = tmp_path / 'result'
    assert main(command(files, out, '--align=none', '--no-deform', '--no-page')) == 2
    assert list(tmp_path.iterdir()) == []


def test_from_python_with_arrays(files):
    fixed = picture(FIXED_GRID, bulge, texture=True)
    moving = picture(FIXED_GRID, texture=True)
    alignment = autofuse_jax.AlignmentSettings(kind='none', start='header')
    settings = PipelineSettings(alignment, InstanceSettings(shrink=(2, 1), steps=(20, 10), smoothness=0.2))
    result = autofuse_jax.register_images(fixed.image, moving.image, settings, moving_labels=moving.labels)
    assert result.moved.shape == fixed.image.shape and result.moved_labels.max() == 3
    assert np.abs(result.moved - fixed.image).mean() < 0.7 * np.abs(moving.image - fixed.image).mean()


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


@pytest.mark.parametrize(
    ('more', 'words'),
    [
        (['--fixed-labels={files}/moving_labels.nii.gz'], 'another grid'),
        (['--moving-mask={files}/fixed_labels.nii.gz'], 'another grid'),
        (['--moving-labels={files}/moving.nii.gz'], 'not whole numbers'),
        (['--classes={files}/fixed.nii.gz'], 'label names'),
        (['--steps=10'], '2 levels and 1 numbers'),
        (['--ncc-window=4'], 'odd'),
        (['--smoothness=-1'], 'smoothness'),
        (['--spacing=0'], 'spacing'),
        (['--weights={files}/fixed.nii.gz'], 'npz'),
        (['--moving-images', '{files}/t2.nii.gz', '{files}/t2.nii.gz'], 'twice'),
        (['--reference-frame=0'], 'does not go with'),
        (['--initial', '{files}/fixed.nii.gz'], 'is no transform but an image'),
        (['--initial', '{files}/absent.h5'], 'there is no file'),
        (['--initial', '{files}/singular.mat'], 'singular'),
        (['--initial', '{files}/far.tfm'], '0 % of the smaller field of view'),
        (['--initial', '{files}/far.tfm', '--start=masses'], '--start=masses together with --initial'),
    ],
)
def test_bad_options_end_with_one_line(files, tmp_path, capsys, more, words):
    arguments = command(files, tmp_path / 'out', *(part.format(files=files) for part in more))
    assert main(arguments) == 2
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith('error:')]
    assert len(error) == 1 and words in error[0], error
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize(
    ('more', 'words'),
    [
        (['--initial-convention=itk'], '--initial-convention is given without --initial'),
        (['--trust=0.3'], '--trust is given without a network'),
        (['--guide-weight=2'], '--guide-weight is given without label maps or a network'),
        (['--guide-weight=2', '--weights=cardiac', '--guide=none'], '--guide-weight is given without label maps'),
        (['--guide-points-weight=2'], '--guide-points-weight is given without points'),
        (['--align=none', '--no-deform', '--similarity=mi'], '--similarity is given and nothing is aligned'),
        (['--no-deform', '--steps=3'], '--steps is given together with --no-deform'),
        (['--no-deform', '--smoothness=0.5'], '--smoothness is given together with --no-deform'),
        (['--no-deform', '--shrink=2'], '--shrink is given together with --no-deform'),
        (['--no-deform', '--spacing=2'], '--spacing is given together with --no-deform and without --weights'),
        (['--part=1/2'], '--part is given without --pairs'),
    ],
)
def test_options_that_would_do_nothing_are_refused(files, tmp_path, capsys, monkeypatch, more, words):
    monkeypatch.setattr('autofuse_jax.commands.register_pair.register_images', lambda *_, **__: pytest.fail('worked'))
    assert main(command(files, tmp_path / 'out', *more)) == 2
    assert words in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / 'out').exists()


def test_the_weight_of_a_guide_goes_with_a_network_which_may_segment(files, tmp_path, capsys):
    # The weights are looked for, so the options were taken.
    assert main(command(files, tmp_path / 'out', '--guide-weight=2', '--trust=0.3', '--weights=absent.npz')) == 2
    assert 'absent.npz' in capsys.readouterr().err.splitlines()[-1]


def guiding(files, *more):
    return [f'--{role}-guide={files}/{role}_labels.nii.gz' for role in ('fixed', 'moving')] + list(more)


def test_label_maps_and_points_guide_and_the_report_says_so(files, tmp_path, capsys):
    out = tmp_path / 'guided'
    points = [tmp_path / f'{role}.csv' for role in ('fixed', 'moving')]
    for path in points:
        path.write_text('x,y,z\n0,0,0\n10,5,900\n')
    # One level: each is compiled for a long time.
    cheap = ['--guide-weight=2', '--shrink=2', '--steps=10', '--align=none', '--no-page']
    more = guiding(files, '--guide-points', *map(str, points), *cheap)
    assert main(command(files, out, *more)) == 0
    source = 'label map fixed_labels.nii.gz and moving_labels.nii.gz, points fixed.csv and moving.csv'
    sentence = f'guided by {source} (classes 1, 2, 3 and 2 pairs of points, on average 0.00 mm apart before and '
    assert sentence in (said := capsys.readouterr().out) and ', 1 outside of the moving image).' in said
    report = json.loads((out / 'report.json').read_text())
    # How far apart they are after is a matter of the optimisation.
    after = report['guide']['points_mm'].pop('after')
    assert 0 <= after < 5
    assert report['guide'] == {
        'source': source,
        'classes': [1, 2, 3],
        'points': 2,
        'points_outside': {'fixed': 1, 'moving': 1},
        'points_mm': {'before': 0},
        'scored': False,
        'seen': [],
    }
    assert report['verdict']['level'] != 'good' and any('(2 outside)' in text for text in report['verdict']['reasons'])
    assert report['settings']['instance']['guide'] == 2 and any(sentence in check for check in report['checks'])


def test_guides_that_make_no_sense_are_refused(files, tmp_path, capsys):
    scored = [f'--{role}-labels={files}/{role}_labels.nii.gz' for role in ('fixed', 'moving')]
    for more, words in (
        (guiding(files, *scored), 'of the labels that are scored on'),
        (guiding(files)[:1], 'a guide for the fixed image only'),
        (guiding(files, '--no-deform'), 'a guide together with --no-deform'),
        (guiding(files, '--guide=none'), 'files that guide together with --guide=none'),
        (['--guide=network'], 'the guide is a network, and there is none'),
        (guiding(files, '--guide-weight=-1'), 'guide is -1'),
    ):
        assert main(command(files, tmp_path / 'out', *more)) == 2
        error = capsys.readouterr().err.splitlines()[-1]
        assert error.startswith('error: ') and words in error
    assert not (tmp_path / 'out').exists()


CHEAP = ['--align=none', '--no-deform', '--no-page']


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


def test_exchanged_images_exchange_the_results(files, tmp_path):
    fixed, moving = (f'{files}/{name}.nii.gz' for name in ('fixed', 'moving'))
    transforms = []
    for number, (one, other) in enumerate(((fixed, moving), (moving, fixed))):
        out = tmp_path / str(number)
        assert main([f'--fixed={one}', f'--moving={other}', f'--out={out}', *CHEAP, '--symmetric']) == 0
        report = json.loads((out / 'report.json').read_text())
        assert report['symmetric'] and read_image(out / 'moved.nii.gz').grid.same_as(read_image(one).grid)
        transforms.append({way: (out / f'{way}_voxel.nii.gz').read_bytes() for way in ('forward', 'inverse')})
    assert transforms[0]['forward'] == transforms[1]['inverse'] and transforms[0]['inverse'] == transforms[1]['forward']


@pytest.mark.parametrize(
    'more', [['--samples=2'], ['--initial', 'a.mat'], ['--weights=cardiac'], ['--reference-frame=0']]
)
def test_what_has_a_direction_does_not_go_with_symmetric(files, tmp_path, capsys, more):
    arguments = [] if more == ['--reference-frame=0'] else [f'--fixed={files}/fixed.nii.gz']
    arguments += [f'--moving={files}/moving.nii.gz', f'--out={tmp_path}/out', '--symmetric', *more]
    assert main(arguments) == 2
    assert f'--symmetric together with {more[0].partition("=")[0]}, which has a direction' in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()


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


def test_what_cannot_be_written_is_told_before_any_work(files, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr('autofuse_jax.commands.register_pair.register_images', lambda *_, **__: pytest.fail('worked'))
    long_name = tmp_path / f'{"t" * 245}.nii.gz'
    long_name.write_bytes((files / 't2.nii.gz').read_bytes())
    monkeypatch.setitem(sys.modules, 'SimpleITK', None)
    for more, words in (
        (['--out=/proc/x/out'], 'nothing can be made in /proc'),
        (['--moving-images', str(long_name)], '258 bytes'),
        (['--out-format=nrrd'], "pip install 'autofuse_jax[itk]'"),
    ):
        assert main(command(files, tmp_path / 'out', *more)) == 2
        assert words in capsys.readouterr().err.splitlines()[-1]


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
