"""NRRD, MetaImage and DICOM through SimpleITK."""

import locale
import os
import sys

import numpy as np
import pytest

from autofuse_jax.data.formats import open_image
from autofuse_jax.data.headers import read_header
from autofuse_jax.data.notes import Notes
from autofuse_jax.data.volumes import read_image, read_labels, write_image, write_labels
from autofuse_jax.errors import UserError
from tests.data.dicom_slices import write_slices
from tests.data.test_nifti_files import AFFINE, ARRAY

sitk = pytest.importorskip('SimpleITK')
LPS = np.diag([-1.0, -1, 1, 1])


def itk_image(array=ARRAY, affine=AFFINE, vector=False):
    """The same image as ITK holds it, made without the package's own code."""
    order = (*reversed(range(3)), 3) if vector else tuple(reversed(range(array.ndim)))
    image = sitk.GetImageFromArray(np.ascontiguousarray(array.transpose(order)), isVector=vector)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    direction, extra = np.eye(image.GetDimension()), image.GetDimension() - 3
    direction[:3, :3] = (LPS @ affine)[:3, :3] / spacing
    image.SetSpacing([*spacing, *[0.5] * extra])
    image.SetOrigin([*(LPS @ affine)[:3, 3], *[0.0] * extra])
    image.SetDirection(direction.ravel().tolist())
    return image


@pytest.mark.parametrize('suffix', ['.nrrd', '.nhdr', '.mha', '.mhd'])
def test_files_of_itk_are_read_in_this_packages_world(tmp_path, suffix):
    sitk.WriteImage(itk_image(), str(tmp_path / f'a{suffix}'), True)
    volume = read_image(tmp_path / f'a{suffix}')
    np.testing.assert_array_equal(volume.image, ARRAY)
    np.testing.assert_allclose(volume.affine, AFFINE, atol=1e-9)
    facts = read_header(tmp_path / f'a{suffix}')
    assert facts.shape == ARRAY.shape and facts.orientation == 'PRS' and not facts.itk_obstacle


@pytest.mark.parametrize('suffix', ['.nrrd', '.mha'])
def test_series_and_vectors_are_told_apart(tmp_path, suffix):
    series = np.random.default_rng(0).normal(size=(5, 6, 7, 4)).astype(np.float32)
    sitk.WriteImage(itk_image(series), str(tmp_path / f'series{suffix}'))
    volume = read_image(tmp_path / f'series{suffix}', allow_series=True)
    np.testing.assert_array_equal(volume.image, series)
    assert volume.notes.time_step == 0.5
    sitk.WriteImage(itk_image(series[..., :3], vector=True), str(tmp_path / f'vectors{suffix}'))
    image = open_image(tmp_path / f'vectors{suffix}')
    assert image.shape == (5, 6, 7, 1, 3)
    np.testing.assert_array_equal(image.read()[:, :, :, 0], series[..., :3])
    with pytest.raises(UserError, match=r'shape \(5, 6, 7, 1, 3\)'):
        read_image(tmp_path / f'vectors{suffix}', allow_series=True)


@pytest.mark.parametrize('suffix', ['.nrrd', '.mha'])
def test_what_is_written_is_what_itk_reads(tmp_path, suffix):
    write_image(tmp_path / f'a{suffix}', ARRAY, AFFINE)
    image = sitk.ReadImage(str(tmp_path / f'a{suffix}'))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image).T, ARRAY)
    for name in ('GetOrigin', 'GetSpacing', 'GetDirection'):
        np.testing.assert_allclose(getattr(image, name)(), getattr(itk_image(), name)(), atol=1e-9)
    labels = (np.abs(ARRAY) * 3).astype(np.int32)
    write_labels(tmp_path / f'b{suffix}', labels, AFFINE)
    np.testing.assert_array_equal(read_labels(tmp_path / f'b{suffix}')[0], labels)
    sheared = AFFINE.copy()
    sheared[0, 0] = 0.4
    with pytest.raises(UserError, match='not at right angles'):
        write_image(tmp_path / f'c{suffix}', ARRAY, sheared)


@pytest.mark.parametrize('suffix', ['.nrrd', '.mha'])
def test_series_are_written_as_series(tmp_path, suffix):
    series = np.random.default_rng(0).normal(size=(5, 6, 7, 4)).astype(np.float32)
    write_image(tmp_path / f'a{suffix}', series, AFFINE, Notes(time_step=40.0, time_unit='msec'))
    image = sitk.ReadImage(str(tmp_path / f'a{suffix}'))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image).T, series)
    assert image.GetSpacing()[3] == 40 and image.GetNumberOfComponentsPerPixel() == 1
    volume = read_image(tmp_path / f'a{suffix}', allow_series=True)
    np.testing.assert_array_equal(volume.image, series)
    np.testing.assert_allclose(volume.affine, AFFINE, atol=1e-9)
    write_labels(tmp_path / f'b{suffix}', series > 0, AFFINE)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / f'b{suffix}'))).T, series > 0)


def nrrd(units=''):
    header = (
        'NRRD0004\ntype: float\ndimension: 3\nspace: right-anterior-superior\nsizes: 5 6 7\ncontent: a head\n'
        f'{units}space directions: (1,0,0) (0,2,0) (0,0,3)\nspace origin: (4,5,6)\nendian: little\nencoding: raw\n\n'
    )
    return header.encode() + np.asfortranarray(ARRAY).tobytes('F')


def test_units_of_nrrd_are_converted_although_itk_does_not(tmp_path):
    path = tmp_path / 'a.nrrd'
    path.write_bytes(nrrd())
    assert read_image(path).notes.description == b'a head'
    np.testing.assert_allclose(read_image(path).affine, [[1, 0, 0, 4], [0, 2, 0, 5], [0, 0, 3, 6], [0, 0, 0, 1]])
    path.write_bytes(nrrd('space units: "um" "um" "um"\n'))
    np.testing.assert_allclose(read_image(path).spacing, (0.001, 0.002, 0.003))
    assert 'ITK takes the lengths of a.nrrd for millimetres' in read_header(path).itk_obstacle
    path.write_bytes(nrrd('space units: "furlong" "um" "um"\n'))
    with pytest.raises(UserError, match='counts lengths in furlong, um'):
        read_image(path)


def test_damaged_files_are_one_line(tmp_path):
    for content in (b'', b'NRRD0004\n', nrrd()[:-40]):
        (tmp_path / 'a.nrrd').write_bytes(content)
        with pytest.raises(UserError, match='a.nrrd cannot be read'):
            read_image(tmp_path / 'a.nrrd')
    with pytest.raises(UserError, match='there is no file'):
        read_image(tmp_path / 'b.mha')


def test_names_that_are_no_text(tmp_path):
    folder = tmp_path / os.fsdecode(b'M\xfcller')
    folder.mkdir()
    write_image(folder / 'a.nrrd', ARRAY, AFFINE)
    np.testing.assert_array_equal(read_image(folder / 'a.nrrd').image, ARRAY)


def test_without_simpleitk_one_line_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'SimpleITK', None)
    (tmp_path / 'a.nrrd').write_bytes(nrrd())
    for path in (tmp_path / 'a.nrrd', tmp_path):
        with pytest.raises(
            UserError, match=r"needs SimpleITK, which is not installed.*pip install 'autofuse_jax\[itk\]'"
        ):
            read_header(path)


@pytest.mark.parametrize('tilt', [0.0, 0.7])
def test_a_dicom_series_is_read_in_the_order_and_at_the_place_of_its_slices(tmp_path, tilt):
    values = write_slices(tmp_path / 'scan.01', tilt=tilt)
    facts = read_header(tmp_path / 'scan.01')
    assert facts.file == 'scan.01' and facts.shape == (5, 6, 7)
    before = locale.setlocale(locale.LC_ALL)
    volume = read_image(tmp_path / 'scan.01')
    assert locale.setlocale(locale.LC_ALL) == before
    np.testing.assert_array_equal(volume.image, values)
    expected = LPS @ np.array([[2, 0, 0, 10], [0, 1.5, tilt, 20], [0, 0, 3, -30], [0, 0, 0, 1]])
    np.testing.assert_allclose(volume.affine, expected, atol=1e-6)
    # A tilted gantry shears the stack.
    assert facts.grid.shear_degrees == pytest.approx(np.degrees(np.arctan2(tilt, 3)), abs=1e-3)


def test_dicom_folders_that_hold_no_single_stack_are_refused(tmp_path):
    write_slices(tmp_path / 'gap', skip=(3,))
    with pytest.raises(UserError, match='unevenly spaced: most are 3 mm apart, numbers 3 and 4 from the first 6 mm'):
        read_header(tmp_path / 'gap')
    write_slices(tmp_path / 'twice', repeat=True)
    with pytest.raises(UserError, match='several slices at the same place'):
        read_header(tmp_path / 'twice')
    write_slices(tmp_path / 'two')
    write_slices(tmp_path / 'two', series='1.2.3.5')
    with pytest.raises(UserError, match='holds 2 DICOM series of 7, 7 files'):
        read_header(tmp_path / 'two')
    (tmp_path / 'empty').mkdir()
    with pytest.raises(UserError, match='holds 0 DICOM series'):
        read_header(tmp_path / 'empty')


def test_a_dicom_folder_whose_files_cannot_even_be_listed_is_one_line(tmp_path):
    write_slices(tmp_path / 'series')
    # Samples per pixel: 2 are none that there can be.
    whole, damaged = (b'\x28\x00\x02\x00\x02\x00\x00\x00' + count for count in (b'\x01\x00', b'\x02\x00'))
    for path in (tmp_path / 'series').iterdir():
        content = path.read_bytes()
        assert content.count(whole) == 1
        path.write_bytes(content.replace(whole, damaged))
    with pytest.raises(UserError, match='series cannot be read') as caught:
        read_image(tmp_path / 'series')
    assert '\n' not in str(caught.value)
