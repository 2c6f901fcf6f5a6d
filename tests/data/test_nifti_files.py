"""NIfTI, Analyze and MGH files as people have them: other units, other compression than the name says, no position."""

import dataclasses
import gzip
import re

import nibabel as nib
import numpy as np
import pytest

from autofuse_jax.data.formats import open_image
from autofuse_jax.data.headers import read_header
from autofuse_jax.data.notes import Notes
from autofuse_jax.data.volumes import read_image, read_labels, write_image
from autofuse_jax.errors import UserError

ARRAY = np.random.default_rng(0).normal(size=(5, 6, 7)).astype(np.float32)
AFFINE = np.array([[0, 2.0, 0, 5], [-1.5, 0, 0, 6], [0, 0, 3.0, 7], [0, 0, 0, 1]])


def nifti(array=ARRAY, affine=AFFINE, sform=1, qform=1, kind=nib.Nifti1Image):
    image = kind(array, affine)
    image.set_sform(affine, code=sform)
    image.set_qform(affine, code=qform)
    return image


@pytest.mark.parametrize('kind', [nib.Nifti1Image, nib.Nifti2Image, nib.MGHImage])
@pytest.mark.parametrize('layers', [0, 1, 2])
def test_files_are_read_whether_compressed_or_not_whatever_they_are_called(tmp_path, kind, layers):
    plain, packed = {nib.MGHImage: ('.mgh', '.mgz')}.get(kind, ('.nii', '.nii.gz'))
    image = kind(ARRAY, AFFINE.astype(np.float32)) if kind is nib.MGHImage else nifti(kind=kind)
    nib.save(image, tmp_path / f'a{plain}')
    content = (tmp_path / f'a{plain}').read_bytes()
    for _ in range(layers):
        content = gzip.compress(content)
    for suffix in (plain, packed):
        path = tmp_path / f'b{suffix}'
        path.write_bytes(content)
        volume = read_image(path)
        np.testing.assert_array_equal(volume.image, ARRAY)
        np.testing.assert_allclose(volume.affine, AFFINE, atol=1e-5)
        assert read_header(path).shape == ARRAY.shape


@pytest.mark.parametrize(('unit', 'per_mm'), [('micron', 1000), ('meter', 0.001), ('mm', 1), ('unknown', 1)])
def test_every_reader_counts_in_millimetres(tmp_path, unit, per_mm):
    affine = np.diag([per_mm] * 3 + [1]) @ AFFINE
    image = nifti(affine=affine)
    image.header.set_xyzt_units(unit)
    nib.save(image, tmp_path / 'a.nii.gz')
    np.testing.assert_allclose(read_image(tmp_path / 'a.nii.gz').affine, AFFINE, rtol=1e-5)
    facts = read_header(tmp_path / 'a.nii.gz')
    np.testing.assert_allclose(facts.spacing, (1.5, 2, 3), rtol=1e-5)
    assert facts.remarks == () and '1.5 x 2 x 3 mm' in facts.sentence()


def test_units_that_cannot_be_right_are_pointed_out(tmp_path):
    image = nifti()
    image.header.set_xyzt_units('meter')
    nib.save(image, tmp_path / 'a.nii')
    assert 'voxels of 3000 mm: check the unit' in read_header(tmp_path / 'a.nii').remarks[0]
    image.header['xyzt_units'] = 5
    nib.save(image, tmp_path / 'b.nii')
    facts = read_header(tmp_path / 'b.nii')
    assert 'a unit of length that NIfTI does not know' in facts.remarks[0] and facts.spacing[2] == pytest.approx(3)


@pytest.mark.parametrize('unit', ['sec', 'msec', 'hz'])
def test_times_and_text_survive(tmp_path, unit):
    series = np.stack([ARRAY, ARRAY], -1)
    image = nifti(series)
    image.header.set_xyzt_units('micron', unit)
    image.header['pixdim'][4], image.header['toffset'], image.header['descrip'] = 2.5, 0.5, b'made by hand'
    nib.save(image, tmp_path / 'a.nii.gz')
    volume = read_image(tmp_path / 'a.nii.gz', allow_series=True)
    assert dataclasses.replace(volume.notes, fsl_obstacle='') == Notes(2.5, 0.5, unit, b'made by hand')
    write_image(tmp_path / 'b.nii.gz', volume.image, volume.affine, volume.notes)
    header = nib.load(tmp_path / 'b.nii.gz').header
    assert header['pixdim'][4] == 2.5 and header.get_xyzt_units() == ('mm', unit)
    assert header['toffset'] == 0.5 and header['descrip'].item() == b'made by hand'


def test_times_of_mgh_series(tmp_path):
    image = nib.MGHImage(np.stack([ARRAY, ARRAY], -1), np.eye(4, dtype=np.float32))
    image.header['tr'] = 2000
    nib.save(image, tmp_path / 'a.mgz')
    notes = read_image(tmp_path / 'a.mgz', allow_series=True).notes
    assert (notes.time_step, notes.time_unit) == (2000, 'msec')


@pytest.mark.parametrize('step, unit, kept', [(2.5, 'sec', 2500), (40, 'msec', 40), (3, 'hz', 0), (0, 'sec', 0)])
def test_times_of_series_that_are_written_as_mgh(tmp_path, step, unit, kept):
    write_image(tmp_path / 'a.mgz', np.stack([ARRAY, ARRAY], -1), AFFINE, Notes(step, 0.0, unit))
    assert nib.load(tmp_path / 'a.mgz').header['tr'] == kept
    write_image(tmp_path / 'b.mgz', ARRAY, AFFINE, Notes(step, 0.0, unit))
    assert nib.load(tmp_path / 'b.mgz').header['tr'] == 0


@pytest.mark.parametrize('suffix', ['.hdr', '.img'])
def test_pairs_are_read_by_either_name(tmp_path, suffix):
    nib.save(nib.Nifti1Pair(ARRAY, AFFINE), tmp_path / 'a.img')
    volume = read_image(tmp_path / f'a{suffix}')
    np.testing.assert_array_equal(volume.image, ARRAY)
    np.testing.assert_allclose(volume.affine, AFFINE, atol=1e-5)
    (tmp_path / 'a.img').unlink()
    with pytest.raises(UserError, match='a.img'):
        read_image(tmp_path / f'a{suffix}')


def test_analyze_files_are_read_and_their_place_is_said_to_be_made_up(tmp_path):
    nib.save(nib.AnalyzeImage(ARRAY, np.diag([1.5, 2, 3, 1])), tmp_path / 'a.img')
    image = open_image(tmp_path / 'a.hdr')
    np.testing.assert_array_equal(read_image(tmp_path / 'a.hdr').image, ARRAY)
    assert 'does not say where it lies' in read_header(tmp_path / 'a.hdr').remarks[0] and image.notes.itk_obstacle


def test_labels_with_a_slope_are_whole_numbers(tmp_path):
    labels = np.random.default_rng(1).integers(0, 20, (5, 6, 7))
    image = nib.Nifti1Image((labels * 10).astype(np.int16), AFFINE)
    image.header.set_slope_inter(0.1, 0)
    nib.save(image, tmp_path / 'a.nii')
    assert not np.array_equal(nib.load(tmp_path / 'a.nii').get_fdata(), labels)
    np.testing.assert_array_equal(read_labels(tmp_path / 'a.nii')[0], labels)


@pytest.mark.filterwarnings('error')
def test_an_sform_of_zeros_is_told_without_a_warning(tmp_path):
    image = nifti()
    for row in ('srow_x', 'srow_y', 'srow_z'):
        image.header[row] = 0
    (tmp_path / 'a.nii').write_bytes(nib.Nifti1Image(ARRAY, None, image.header).to_bytes())
    with pytest.raises(UserError, match='singular'):
        read_image(tmp_path / 'a.nii')


def test_a_slice_is_a_volume_of_one_slice(tmp_path):
    image = nib.Nifti1Image(ARRAY[:, :, 0], AFFINE)
    image.set_sform(AFFINE, code=1)
    image.set_qform(AFFINE, code=1)
    nib.save(image, tmp_path / 'a.nii.gz')
    assert read_header(tmp_path / 'a.nii.gz').shape == (5, 6, 1)
    volume = read_image(tmp_path / 'a.nii.gz')
    np.testing.assert_array_equal(volume.image[:, :, 0], ARRAY[:, :, 0])
    np.testing.assert_allclose(volume.affine[:, :2], AFFINE[:, :2], atol=1e-5)


def itk_affine(path):
    sitk = pytest.importorskip('SimpleITK')
    image = sitk.ReadImage(str(path))
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return np.diag([-1, -1, 1, 1]) @ affine


@pytest.mark.parametrize('sform', range(5))
@pytest.mark.parametrize('qform', range(5))
@pytest.mark.parametrize('sheared', [False, True])
def test_an_obstacle_is_told_where_itk_reads_another_place(tmp_path, sform, qform, sheared):
    other = AFFINE.copy()
    other[:3, 3] += [7, 0, 0]
    other[0, 0] += 0.4 if sheared else 0
    image = nib.Nifti1Image(ARRAY, None)
    image.header.set_zooms((1.5, 2, 3))
    image.header.set_sform(other, code=sform)
    image.header.set_qform(AFFINE, code=qform)
    nib.save(nib.Nifti1Image(ARRAY, None, image.header), tmp_path / 'a.nii')
    stored = open_image(tmp_path / 'a.nii')
    if sheared and sform and not qform:
        return  # ITK does not read such a file at all; the shear itself is the obstacle.
    apart = np.abs(itk_affine(tmp_path / 'a.nii') - stored.affine).max() > 1e-3
    assert apart == bool(stored.notes.itk_obstacle)


@pytest.mark.parametrize(
    ('forms', 'unit', 'sizes', 'obstacle'),
    [
        ((1, 1), 'mm', (1.5, 2, 3), ''),
        ((0, 1), 'mm', (1.5, 2, 3), ''),
        ((0, 0), 'mm', (1.5, 2, 3), 'a.nii has neither sform nor qform, and FSL takes the axes .* left-handed'),
        ((1, 1), 'micron', (1.5, 2, 3), 'FSL takes the lengths of a.nii for millimetres'),
        ((1, 0), 'mm', (1.5, 2, 3.1), r'a.nii, 1.5x2x3.1 mm, and its sform says 1.5x2x3 mm'),
        ((1, 0), 'mm', (1.5, 2, 3.00001), ''),
    ],
)
def test_an_obstacle_is_told_where_fsl_counts_in_another_way(tmp_path, forms, unit, sizes, obstacle):
    header = nifti(sform=forms[0], qform=forms[1]).header
    header.set_xyzt_units(unit)
    header['pixdim'][1:4] = sizes
    (tmp_path / 'a.nii').write_bytes(nib.Nifti1Image(ARRAY, None, header).to_bytes())
    facts = read_header(tmp_path / 'a.nii')
    assert re.search(obstacle, facts.fsl_obstacle) and bool(obstacle) == bool(facts.fsl_obstacle)
    assert read_image(tmp_path / 'a.nii').notes.fsl_obstacle == facts.fsl_obstacle
