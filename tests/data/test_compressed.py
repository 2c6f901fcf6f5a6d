"""Compressed images are read to their end: a flipped bit is told, whatever the format."""

import gzip
import zipfile

import nibabel as nib
import numpy as np
import pytest

from autofuse_jax.commands.apply_transform import image_record
from autofuse_jax.data.compressed import gzip_layers, whole_content
from autofuse_jax.data.npz_files import load_npz, store_npz
from autofuse_jax.data.volumes import read_image, write_image
from autofuse_jax.errors import UserError

AFFINE = np.diag([1.5, 1.2, 2.0, 1.0])


def half_empty(shape=(12, 11, 10)):
    """An image as they are: half of it background, which packs well, so that flips reach far."""
    image = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    image[: shape[0] // 2] = 0
    return image


def flipped(content, place, bit):
    damaged = bytearray(content)
    damaged[place] ^= 1 << bit
    return bytes(damaged)


@pytest.mark.parametrize('suffix', ['.nii.gz', '.mgz', '.nrrd', '.mha'])
def test_no_flipped_bit_gives_other_values(tmp_path, suffix):
    if suffix in ('.nrrd', '.mha'):
        pytest.importorskip('SimpleITK')
    path = tmp_path / f'a{suffix}'
    write_image(path, half_empty(), AFFINE)
    content, rng = path.read_bytes(), np.random.default_rng(1)
    # Headers of ITK are text without a checksum: the values begin behind the first kilobyte in any case.
    first = 1024 if suffix in ('.nrrd', '.mha') else 10
    for place in rng.integers(first, len(content), 40):
        path.write_bytes(flipped(content, place, rng.integers(8)))
        with pytest.raises(UserError, match='cannot be read'):
            read_image(path)


def test_checksum_and_length_at_the_end_are_checked(tmp_path):
    path = tmp_path / 'a.nii.gz'
    write_image(path, half_empty(), AFFINE)
    content = path.read_bytes()
    for place in (-8, -1):
        path.write_bytes(flipped(content, place, 0))
        with pytest.raises(UserError, match='CRC check failed|Incorrect length'):
            read_image(path)
    path.write_bytes(content[:-4])
    with pytest.raises(UserError, match='end-of-stream'):
        read_image(path)


def test_several_members_and_padding_are_one_file(tmp_path):
    write_image(tmp_path / 'a.nii', half_empty(), AFFINE)
    content = (tmp_path / 'a.nii').read_bytes()
    members = gzip.compress(content[:700]) + gzip.compress(content[700:])
    for packed in (members, members + bytes(300)):
        (tmp_path / 'b.nii.gz').write_bytes(packed)
        np.testing.assert_array_equal(read_image(tmp_path / 'b.nii.gz').image, half_empty())
    second = len(gzip.compress(content[:700])) + 200
    (tmp_path / 'b.nii.gz').write_bytes(flipped(members, second, 3))
    with pytest.raises(UserError, match='cannot be read'):
        read_image(tmp_path / 'b.nii.gz')


def test_values_beside_their_header_are_checked(tmp_path):
    nib.save(nib.Nifti1Pair(half_empty(), AFFINE), tmp_path / 'a.img.gz')
    np.testing.assert_array_equal(read_image(tmp_path / 'a.hdr.gz').image, half_empty())
    content = (tmp_path / 'a.img.gz').read_bytes()
    (tmp_path / 'a.img.gz').write_bytes(flipped(content, -6, 2))
    with pytest.raises(UserError, match='CRC check failed'):
        read_image(tmp_path / 'a.hdr.gz')


@pytest.mark.parametrize('suffix', ['.mhd', '.nhdr'])
def test_compressed_values_beside_a_header_of_itk_are_checked(tmp_path, suffix):
    sitk = pytest.importorskip('SimpleITK')
    sitk.WriteImage(sitk.GetImageFromArray(half_empty()), str(tmp_path / f'a{suffix}'), True)
    (values,) = (path for path in tmp_path.iterdir() if path.suffix != suffix)
    read_image(tmp_path / f'a{suffix}')
    content = values.read_bytes()
    for damaged in (flipped(content, len(content) // 2, 5), content[: len(content) // 2]):
        values.write_bytes(damaged)
        with pytest.raises(UserError, match='cannot be read'):
            read_image(tmp_path / f'a{suffix}')


def test_an_image_that_only_lends_its_grid_is_checked_as_a_whole(tmp_path):
    path = tmp_path / 'a.nii.gz'
    write_image(path, half_empty(), AFFINE)
    assert image_record(path).grid.shape == (12, 11, 10)
    path.write_bytes(flipped(path.read_bytes(), -5, 1))
    with pytest.raises(UserError, match='CRC check failed'):
        image_record(path)


def test_layers_are_counted_by_the_content(tmp_path):
    path = tmp_path / 'a'
    path.write_bytes(gzip.compress(gzip.compress(b'values')))
    assert gzip_layers(path) == 2 and whole_content(path) == b'values'


def test_no_flipped_bit_in_the_directory_of_an_npz_file_loses_an_array(tmp_path):
    path = tmp_path / 'a.npz'
    arrays = {'vol': np.arange(24.0).reshape(2, 3, 4), 'seg': np.ones((2, 3, 4), np.uint8), 'affine': 2 * np.eye(4)}
    store_npz(path, arrays)
    content = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        directory = archive.start_dir
    told = 0
    for place in range(directory, len(content)):
        for bit in range(8):
            path.write_bytes(flipped(content, place, bit))
            try:
                read = load_npz(path)
            except UserError:
                told += 1
            else:
                assert read.keys() == arrays.keys() and all(np.array_equal(read[name], arrays[name]) for name in arrays)
    # The rest are dates, permissions and versions.
    assert told > 3 * 8 * len('vol.npy')
