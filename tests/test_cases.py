"""Small inputs on which the commands once failed, each standing for a kind of fault; they lie beside the data."""

import json
import os
import shutil

import nibabel as nib
import numpy as np
import pytest

from autofuse_jax import apply_transform, register
from tests.conftest import DATA_FOLDER

CASES = DATA_FOLDER.parent / 'cases'
pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason=f'no cases at {CASES}')
FEW_STEPS = ('--shrink', '2', '--steps', '10')
slow = pytest.mark.slow


@pytest.fixture
def case(tmp_path, monkeypatch, request):
    """A copy of the folder of a case, in which its command is run."""
    folder = tmp_path / request.param
    shutil.copytree(CASES / request.param, folder)
    monkeypatch.chdir(folder)
    return folder


def here(name):
    return pytest.mark.parametrize('case', [name], indirect=True)


def pair(*more, moving='moving.nii.gz', out='out'):
    return register.main(['--fixed', 'fixed.nii.gz', '--moving', moving, '--out', str(out), '--no-page', *more])


def report(out='out'):
    with open(f'{out}/report.json', encoding='utf-8') as file:
        return json.load(file)


def said(capsys):
    streams = capsys.readouterr()
    return streams.out + streams.err


@here('background_not_zero_apply')
def test_ct_is_filled_with_air(case, capsys):
    options = ['--transform', 'shift.tfm', '--reference', 'reference.nii.gz', '--image', 'ct.nii.gz', '--out', 'out']
    assert apply_transform.main(options) == 0
    moved = nib.load('out/ct_moved.nii.gz').get_fdata()
    assert moved.min() == -1024 and not (moved == 0).mean() > 0.05
    assert '-1024' in said(capsys)


@here('blank_frame_in_series')
def test_blank_frames_are_named_before_any_work(case, capsys):
    options = ['--moving', 'series.nii.gz', '--reference-frame', '0', *FEW_STEPS, '--out', 'out']
    assert register.main(options) == 2
    assert 'frame' in said(capsys) and not os.path.exists('out/report.json')


@here('foreign_transforms')
def test_a_matrix_of_ants_is_the_same_transform_as_its_text(case):
    for name in ('aff.mat', 'aff.tfm'):
        options = [
            '--transform',
            name,
            '--image',
            'moving.nii.gz',
            '--reference',
            'fixed.nii.gz',
            '--out',
            f'of_{name}',
        ]
        assert apply_transform.main(options) == 0
    moved = [nib.load(f'of_{name}/moving_moved.nii.gz').get_fdata() for name in ('aff.mat', 'aff.tfm')]
    np.testing.assert_array_equal(*moved)


@slow
@here('gantry_tilt')
def test_tilted_slices_are_as_accurate_as_others_and_missing_files_are_named(case, capsys):
    assert pair() == 0
    text = said(capsys)
    assert 'sheared' in text and 'itk' in text.lower() and not os.path.exists('out/forward_itk.nii.gz')
    field = nib.load('out/forward_voxel.nii.gz')
    millimetres = np.linalg.norm(field.get_fdata().reshape(-1, 3) @ field.affine[:3, :3].T, axis=-1)
    assert millimetres.mean() < 0.33


@here('gzip_suffix')
@pytest.mark.parametrize('moving', ['not_gzipped.nii.gz', 'gzipped.nii'])
def test_what_is_compressed_is_told_by_content(case, moving):
    assert pair('--align', 'none', '--no-deform', moving=moving) == 0


@slow
@here('image_to_itself')
def test_an_image_to_itself_is_the_identity(case):
    options = ['--fixed', 'image.nii.gz', '--moving', 'image.nii.gz', '--out', 'out', '--no-page']
    assert register.main(options) == 0
    assert np.abs(nib.load('out/forward_voxel.nii.gz').get_fdata()).max() < 0.01
    image = nib.load('image.nii.gz').get_fdata()
    assert np.abs(nib.load('out/moved.nii.gz').get_fdata() - image).max() < 0.01 * np.ptp(image)
    assert report()['verdict']['headline'] == 'Aligned already'


@here('latin1_file_name')
def test_a_folder_in_another_encoding(case):
    os.mkdir(b'M\xfcller')
    name = os.fsdecode(b'M\xfcller/moving.nii.gz')
    shutil.copy('moving.nii.gz', name)
    assert pair('--align', 'none', '--no-deform', moving=name) == 0 and os.path.exists('out/report.json')


@here('mask_shifted_by_a_hundredth')
def test_a_mask_a_hundredth_of_a_voxel_off_is_taken(case):
    assert pair('--fixed-mask', 'mask.nii.gz', '--align', 'none', '--no-deform') == 0


@slow
@here('moving_mask_ignored')
def test_noise_outside_the_moving_mask_has_no_say(case):
    labels = ('--fixed-labels', 'fixed_labels.nii.gz', '--moving-labels', 'moving_labels.nii.gz')
    assert pair(*labels, '--no-deform', '--start', 'masses', '--moving-mask', 'moving_mask.nii.gz') == 0
    assert report()['scores']['dsc_after'] >= 0.385


@slow
@here('nan_background')
def test_missing_values_count_as_background(case):
    assert pair('--moving-mask', 'moving_mask.nii.gz', *FEW_STEPS) == 0
    assert 'hold no number' in ' '.join(report()['checks'])


@here('nan_background')
def test_missing_values_stay_missing_in_an_image_that_is_carried_along(case):
    options = ['--transform', 'shift.tfm', '--reference', 'fixed.nii.gz', '--image', 'moving.nii.gz', '--out', 'out2']
    assert apply_transform.main(options) == 0
    moved = nib.load('out2/moving_moved.nii.gz').get_fdata()
    assert np.isnan(moved).any() and np.isfinite(moved).any()


@here('no_sform_no_qform')
def test_itk_files_fit_what_itk_reads_or_are_not_written(case):
    sitk = pytest.importorskip('SimpleITK')
    assert pair('--no-deform') == 0
    if not os.path.exists('out/forward_itk.nii.gz'):
        return
    field = sitk.ReadImage('out/forward_itk.nii.gz', sitk.sitkVectorFloat64)
    fixed, moving = (sitk.ReadImage(f'{name}.nii.gz', sitk.sitkFloat32) for name in ('fixed', 'moving'))
    moved = sitk.GetArrayFromImage(sitk.Resample(moving, fixed, sitk.DisplacementFieldTransform(field))).T
    ours = nib.load('out/moved.nii.gz').get_fdata()
    assert np.corrcoef(moved.ravel(), ours.ravel())[0, 1] > 0.97


@here('output_checked_late')
def test_a_folder_that_cannot_be_written_is_refused_before_any_work(case, capsys):
    assert pair(out='/proc/x/out') == 2
    assert 'at 8 mm' not in said(capsys)


@here('repetition_time_lost')
def test_times_of_a_series_survive(case):
    options = ['--transform', 'shift.tfm', '--reference', 'reference.nii.gz', '--image', 'bold.nii.gz', '--out', 'out']
    assert apply_transform.main(options) == 0
    header = nib.load('out/bold_moved.nii.gz').header
    assert header['pixdim'][4] == pytest.approx(2.5) and header.get_xyzt_units()[1] == 'sec'


@here('scaled_mask_and_labels')
@pytest.mark.parametrize(
    'options',
    [('--fixed-mask', 'mask.nii'), ('--moving-labels', 'labels.nii'), ('--moving-mask', 'probability_moving.nii.gz')],
)
def test_scaled_masks_and_labels_and_soft_masks_are_taken(case, options):
    assert pair('--align', 'none', '--no-deform', *options) == 0


@here('two_d_traceback')
def test_a_single_slice_on_a_volume_is_refused_in_one_line(case, capsys):
    assert pair() == 2
    assert '2-D' in said(capsys)


@here('units_in_report')
def test_microns_are_millimetres_in_the_report(case):
    assert pair('--align', 'none', '--no-deform') == 0
    np.testing.assert_allclose(report()['fixed']['spacing_mm'], 1.0, rtol=1e-5)
