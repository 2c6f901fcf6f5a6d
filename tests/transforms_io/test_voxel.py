import nibabel as nib
import numpy as np
import pytest

from autofuse_jax.errors import UserError
from autofuse_jax.transforms_io.files import read_transform, write_transform
from autofuse_jax.transforms_io.sidecar import TransformInfo
from tests.transforms.examples import PAIRS, both, grid, record, smooth


def write(path, transform, fixed):
    write_transform(path, transform, 'voxel', TransformInfo(fixed=record(fixed, 'f.nii')))


@pytest.mark.parametrize('suffix', ['.nii.gz', '.nii', '.npz'])
@pytest.mark.parametrize('sidecar', [True, False])
def test_what_is_written_is_read_bit_by_bit(tmp_path, suffix, sidecar):
    fixed = PAIRS['oblique'][0]
    transform = both(fixed)
    write(tmp_path / f'a{suffix}', transform, fixed)
    if not sidecar:
        (tmp_path / 'a.json').unlink()
    found, info = read_transform(tmp_path / f'a{suffix}')
    assert info.convention == 'voxel'
    np.testing.assert_array_equal(found.displacement, transform.displacement)
    assert found.grid.same_as(fixed)


def test_the_array_in_the_file_is_the_displacement(tmp_path):
    # Shown by nibabel alone, as any other program would see it.
    fixed = grid((5, 6, 7), (1, 2, 3), flip=(-1, 1, 1))
    transform = smooth(fixed, size=1)
    write(tmp_path / 'a.nii.gz', transform, fixed)
    stored = nib.load(tmp_path / 'a.nii.gz')
    assert stored.shape == (5, 6, 7, 3)
    np.testing.assert_array_equal(np.asarray(stored.dataobj), transform.displacement)
    np.testing.assert_allclose(stored.affine, fixed.affine, atol=1e-5)
    write(tmp_path / 'b.npz', transform, fixed)
    with np.load(tmp_path / 'b.npz') as archive:
        np.testing.assert_array_equal(archive['vol'], transform.displacement)
        np.testing.assert_array_equal(archive['affine'], fixed.affine)


@pytest.mark.parametrize('first', [False, True])
def test_warps_of_voxelmorph_are_read(tmp_path, first):
    # VoxelMorph writes the array alone as `vol`, TensorFlow with components last, PyTorch with components first.
    fixed = grid((5, 6, 7), (1, 1, 1))
    displacement = smooth(fixed, size=1).displacement
    np.savez(tmp_path / 'warp.npz', vol=np.moveaxis(displacement, -1, 0) if first else displacement)
    found, _ = read_transform(tmp_path / 'warp.npz', fixed=record(fixed, 'f.nii'))
    np.testing.assert_array_equal(found.displacement, displacement)
    np.testing.assert_array_equal(found.affine, fixed.affine)
    array = np.moveaxis(displacement, -1, 0) if first else displacement
    nib.save(nib.Nifti1Image(array, fixed.affine), tmp_path / 'warp.nii.gz')
    found, _ = read_transform(tmp_path / 'warp.nii.gz', 'voxel')
    np.testing.assert_array_equal(found.displacement, displacement)
    assert found.grid.same_as(fixed)


def test_fields_that_cannot_be_placed(tmp_path):
    np.savez(tmp_path / 'warp.npz', vol=np.zeros((5, 6, 7, 3), np.float32))
    with pytest.raises(UserError, match='without the fixed image.*--fixed FILE'):
        read_transform(tmp_path / 'warp.npz')
    with pytest.raises(UserError, match=r'\(5, 6, 7\) voxels.*\(5, 6, 8\)'):
        read_transform(tmp_path / 'warp.npz', fixed=record(grid((5, 6, 8), (1, 1, 1)), 'f.nii'))
