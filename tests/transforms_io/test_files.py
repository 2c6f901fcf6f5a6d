import gzip
import json

import nibabel as nib
import numpy as np
import pytest

from autofuse_jax.data.volumes import write_image, write_labels
from autofuse_jax.errors import UserError
from autofuse_jax.transforms.maps import AffineTransform, Chain, DenseTransform
from autofuse_jax.transforms_io.files import check_target, read_transform, write_transform
from autofuse_jax.transforms_io.recognition import recognise
from autofuse_jax.transforms_io.sidecar import TransformInfo
from tests.transforms.examples import PAIRS, affine, both, grid, image, inner_points, labels, record, smooth

FIXED, MOVING = PAIRS['anisotropic']
INFO = TransformInfo(fixed=record(FIXED, 'fixed.nii.gz'), moving=record(MOVING, 'moving.nii.gz'))


@pytest.mark.parametrize('convention', ['itk', 'fsl', 'learn2reg', 'voxel'])
def test_an_affine_or_a_chain_becomes_a_field_on_the_fixed_grid(tmp_path, convention):
    points = inner_points(FIXED)
    chain = Chain((affine(), smooth(grid((12, 12, 12), (5, 5, 5)))))
    for name, transform in (('affine', affine()), ('chain', chain)):
        write_transform(tmp_path / f'{name}.nii.gz', transform, convention, INFO)
        found, info = read_transform(tmp_path / f'{name}.nii.gz')
        assert (info.kind, info.convention) == ('displacement', convention) and found.grid.same_as(FIXED)
        # Between voxels a bent chain is met by interpolation only.
        tolerance = 1e-3 if name == 'affine' else 0.15
        np.testing.assert_allclose(found.map_points(points), transform.map_points(points), atol=tolerance)


def test_an_affine_is_written_as_text(tmp_path):
    write_transform(tmp_path / 'affine_itk.txt', affine(), 'itk', INFO)
    found, info = read_transform(tmp_path / 'affine_itk.txt')
    np.testing.assert_array_equal(found.matrix, affine().matrix)
    assert info.kind == 'affine' and info.fixed.file == 'fixed.nii.gz'
    with pytest.raises(UserError, match='holds affine transforms only'):
        write_transform(tmp_path / 'b.txt', both(FIXED), 'itk', INFO)


def test_headers_without_sidecar_are_recognised(tmp_path):
    for convention, name in [('itk', 'a'), ('fsl', 'b'), ('voxel', 'c'), ('learn2reg', 'disp_0001_0002')]:
        write_transform(tmp_path / f'{name}.nii.gz', both(FIXED), convention, INFO)
        (tmp_path / f'{name}.json').unlink()
        found = recognise(tmp_path / f'{name}.nii.gz')
        assert found.info.convention == convention


def test_what_fits_several_conventions_is_refused_with_their_names(tmp_path):
    nib.save(nib.Nifti1Image(np.zeros((5, 6, 7, 3), np.float32), np.eye(4)), tmp_path / 'warp.nii.gz')
    with pytest.raises(UserError, match='no intent.*voxel .*learn2reg .*fsl .*--convention voxel or learn2reg or fsl'):
        read_transform(tmp_path / 'warp.nii.gz')
    nib.save(nib.Nifti1Image(np.zeros((5, 6, 7, 1, 3), np.float32), np.eye(4)), tmp_path / 'five.nii.gz')
    with pytest.raises(UserError, match=r'--convention itk'):
        read_transform(tmp_path / 'five.nii.gz')
    assert read_transform(tmp_path / 'five.nii.gz', 'itk')[0].grid.shape == (5, 6, 7)
    niftyreg = nib.Nifti1Image(np.zeros((5, 6, 7, 1, 3), np.float32), np.eye(4))
    niftyreg.header.set_intent('vector', name='NREG_TRANS')
    nib.save(niftyreg, tmp_path / 'niftyreg.nii.gz')
    with pytest.raises(UserError, match='transform of NiftyReg.*reg_transform -disp'):
        read_transform(tmp_path / 'niftyreg.nii.gz')


def test_what_is_no_transform_is_named(tmp_path):
    write_image(tmp_path / 'image.nii.gz', image(FIXED), FIXED.affine)
    with pytest.raises(UserError, match='image.nii.gz is no transform but an image of 28x26x9 voxels.*--image'):
        read_transform(tmp_path / 'image.nii.gz')
    write_labels(tmp_path / 'labels.nii.gz', labels(FIXED), FIXED.affine)
    with pytest.raises(UserError, match='is no transform but a label map of 28x26x9 voxels.*--labels'):
        read_transform(tmp_path / 'labels.nii.gz')
    write_image(tmp_path / 'cine.nii.gz', np.random.default_rng(0).normal(size=(4, 5, 6, 9)), np.eye(4))
    with pytest.raises(UserError, match=r'shape \(4, 5, 6, 9\) is that of a series of images'):
        read_transform(tmp_path / 'cine.nii.gz')
    fields = nib.Nifti1Image(np.zeros((4, 5, 6, 2, 3), np.float32), np.eye(4))
    nib.save(fields, tmp_path / 'displacement_4d.nii.gz')
    for convention in (None, 'itk'):
        with pytest.raises(UserError, match='a series of 2 fields.*one frame.*--convention voxel'):
            read_transform(tmp_path / 'displacement_4d.nii.gz', convention)
    colours = np.zeros((4, 5, 6), [('R', 'u1'), ('G', 'u1'), ('B', 'u1')])
    nib.save(nib.Nifti1Image(colours, np.eye(4)), tmp_path / 'colours.nii.gz')
    with pytest.raises(UserError, match='colours.nii.gz holds colours.*real numbers'):
        read_transform(tmp_path / 'colours.nii.gz')
    np.savez(tmp_path / 'other.npz', field=np.zeros((4, 4, 4, 3)))
    with pytest.raises(UserError, match="holds field.*'vol' .voxel convention. or 'arr_0' .Learn2Reg."):
        read_transform(tmp_path / 'other.npz')


def test_bad_files(tmp_path):
    with pytest.raises(UserError, match='there is no file'):
        read_transform(tmp_path / 'absent.nii.gz')
    with pytest.raises(UserError, match='is a folder'):
        read_transform(tmp_path)
    (tmp_path / 'folder.nii.gz').mkdir()
    with pytest.raises(UserError, match='is a folder'):
        read_transform(tmp_path / 'folder.nii.gz')
    write_transform(tmp_path / 'a.nii.gz', both(FIXED), 'itk', INFO)
    content = (tmp_path / 'a.nii.gz').read_bytes()
    (tmp_path / 'a.nii.gz').write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match='a.nii.gz cannot be read.*copied completely'):
        read_transform(tmp_path / 'a.nii.gz')
    (tmp_path / 'b.nii.gz').write_bytes(gzip.compress(b'nothing' * 100))
    with pytest.raises(UserError, match='cannot be read'):
        read_transform(tmp_path / 'b.nii.gz')
    # Values that are no numbers, and an affine that nothing can be placed with.
    field = np.zeros((4, 4, 4, 3), np.float32)
    field[1, 1, 1, 0], field[2, 2, 2] = np.nan, np.inf
    nib.save(nib.Nifti1Image(field, np.eye(4)), tmp_path / 'c.nii.gz')
    with pytest.raises(UserError, match='c.nii.gz holds 4 NaN or infinite values'):
        read_transform(tmp_path / 'c.nii.gz', 'voxel')
    for kind, large in ((np.float32, 1e30), (np.float64, -1e200)):
        damaged = np.zeros((4, 4, 4, 3), kind)
        damaged[3, 2, 1, 0] = large
        nib.save(nib.Nifti1Image(damaged, np.eye(4)), tmp_path / 'damaged.nii.gz')
        with pytest.raises(UserError, match='damaged.nii.gz holds 1 NaN or infinite values, or values beyond 1e'):
            read_transform(tmp_path / 'damaged.nii.gz', 'voxel')
    singular = nib.Nifti1Image(np.zeros((4, 4, 4, 3), np.float32), None)
    singular.header['sform_code'] = 1
    singular.header['srow_x'] = 1, 0, 0, 0
    nib.save(singular, tmp_path / 'd.nii.gz')
    with pytest.raises(UserError, match='affine of .*d.nii.gz is singular'):
        read_transform(tmp_path / 'd.nii.gz', 'voxel')


def test_a_field_on_another_grid_than_expected(tmp_path):
    write_transform(tmp_path / 'a.nii.gz', both(FIXED), 'itk', INFO)
    other = record(MOVING, 'other.nii.gz')
    with pytest.raises(UserError, match='fixed image is fixed.nii.gz.*but other.nii.gz lies on another grid.*--fixed'):
        read_transform(tmp_path / 'a.nii.gz', fixed=other)
    with pytest.raises(UserError, match='moving image is moving.nii.gz'):
        read_transform(tmp_path / 'a.nii.gz', moving=INFO.fixed)
    path = tmp_path / 'a.json'
    swapped = json.loads(path.read_text())
    swapped['fixed'], swapped['moving'] = swapped['moving'], swapped['fixed']
    path.write_text(json.dumps(swapped))
    with pytest.raises(UserError, match='lies on another grid .28x26x9.*than its fixed image moving.nii.gz'):
        read_transform(tmp_path / 'a.nii.gz')
    path.unlink()
    with pytest.raises(UserError, match='lies on another grid'):
        read_transform(tmp_path / 'a.nii.gz', fixed=other)


def test_the_sidecar_is_not_overruled_silently(tmp_path):
    write_transform(tmp_path / 'a.nii.gz', both(FIXED), 'itk', INFO)
    with pytest.raises(UserError, match='says that a.nii.gz is in itk convention, not voxel'):
        read_transform(tmp_path / 'a.nii.gz', 'voxel')
    # The sidecar is that of the other file from now on, unless it does not say whose it is.
    write_transform(tmp_path / 'a.txt', affine(), 'itk', INFO)
    transform, info = read_transform(tmp_path / 'a.nii.gz')
    assert isinstance(transform, DenseTransform) and info.fixed is None
    content = json.loads((tmp_path / 'a.json').read_text())
    (tmp_path / 'a.json').write_text(json.dumps({key: value for key, value in content.items() if key != 'suffix'}))
    with pytest.raises(UserError, match='describes a transform of another kind .affine. than a.nii.gz'):
        read_transform(tmp_path / 'a.nii.gz')
    with pytest.raises(UserError, match='a.txt is in itk convention, not fsl'):
        (tmp_path / 'a.json').unlink()
        read_transform(tmp_path / 'a.txt', 'fsl')


def test_what_cannot_be_written(tmp_path):
    bad = both(FIXED).displacement.copy()
    bad[3, 4, 5, 1] = np.nan
    unknown = TransformInfo()
    cases = [
        ('a.nii.gz', DenseTransform(bad, FIXED.affine), 'itk', INFO, '1 NaN or infinite'),
        ('a.nii.gz', affine(), 'itk', unknown, '--reference'),
        ('a.nii.gz', affine(), 'fsl', TransformInfo(fixed=INFO.fixed), 'without the moving image'),
        ('a.npz', affine(), 'itk', INFO, 'ends in .nii.gz, .nii, .h5, .hdf5, .txt, .tfm'),
        ('a.mat', affine(), 'itk', INFO, 'no file name'),
        ('a.h5', affine(), 'fsl', INFO, 'no file name'),
        ('a.txt', affine(), 'voxel', INFO, 'ends in .nii.gz, .nii, .npz'),
        ('a.nii.gz', affine(), 'ants', INFO, "the convention is 'ants'.*itk, fsl, learn2reg, voxel"),
        ('a.txt', AffineTransform(np.zeros((4, 4))), 'itk', INFO, 'singular'),
    ]
    for name, transform, convention, info, message in cases:
        with pytest.raises(UserError, match=message):
            write_transform(tmp_path / name, transform, convention, info)
    assert list(tmp_path.iterdir()) == []
    check_target(tmp_path / 'WARP.NII.GZ', 'itk')
