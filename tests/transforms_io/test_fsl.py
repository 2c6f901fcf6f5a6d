"""fslpy, FSL's own Python library, reads our files and does with them what we do."""

import nibabel as nib
import numpy as np
import pytest

from autofuse_jax.data.volumes import write_image
from autofuse_jax.errors import UserError
from autofuse_jax.transforms.grids import ImageGrid, grid_points
from autofuse_jax.transforms.maps import DenseTransform
from autofuse_jax.transforms.resampling import moving_positions, sample_image
from autofuse_jax.transforms_io.files import read_transform, write_transform
from autofuse_jax.transforms_io.fsl import FIELD_INTENT, fsl_frame
from autofuse_jax.transforms_io.sidecar import ImageRecord, TransformInfo
from tests.transforms.examples import PAIRS, both, image, inner_points, record
from tests.transforms_io.foreign import write_matrix


def write(path, transform, fixed, moving):
    info = TransformInfo(fixed=record(fixed, 'fixed.nii.gz'), moving=record(moving, 'moving.nii.gz'))
    write_transform(path, transform, 'fsl', info)


def by_fslpy(tmp_path, transform, fixed, moving):
    pytest.importorskip('fsl.transform.fnirt')
    from fsl.data.image import Image
    from fsl.transform.fnirt import readFnirt

    for name, on in (('fixed', fixed), ('moving', moving)):
        write_image(tmp_path / f'{name}.nii.gz', image(on), on.affine)
    write(tmp_path / 'warp.nii.gz', transform, fixed, moving)
    source, reference = (Image(str(tmp_path / f'{name}.nii.gz')) for name in ('moving', 'fixed'))
    return readFnirt(str(tmp_path / 'warp.nii.gz'), source, reference), source


@pytest.mark.parametrize('name', PAIRS)
def test_fslpy_moves_points_as_we_do(tmp_path, name):
    fixed, moving = PAIRS[name]
    transform = both(fixed)
    field, _ = by_fslpy(tmp_path, transform, fixed, moving)
    assert field.deformationType == 'relative'
    # fslpy takes the nearest voxel of the field, so it is asked at voxels.
    points = grid_points(fixed)[4:-4:3, 4:-4:3, 2:-2].reshape(-1, 3)
    found = field.transform(points, from_='world', to='world')
    np.testing.assert_allclose(found, transform.map_points(points), atol=1e-4)


def test_images_that_fsl_counts_in_another_way_are_refused(tmp_path):
    fixed, moving = PAIRS['isotropic']
    odd = ImageRecord('odd.nii', moving, fsl_obstacle='odd.nii has neither sform nor qform')
    whole = record(fixed, 'fixed.nii.gz')
    with pytest.raises(UserError, match='FSL convention: odd.nii has neither.*make the transform again'):
        write_transform(tmp_path / 'a.nii.gz', both(fixed), 'fsl', TransformInfo(fixed=whole, moving=odd))
    write(tmp_path / 'a.nii.gz', both(fixed), fixed, moving)
    (tmp_path / 'a.json').unlink()
    with pytest.raises(UserError, match='odd.nii has neither'):
        read_transform(tmp_path / 'a.nii.gz', fixed=whole, moving=odd)
    with pytest.raises(UserError, match='odd.nii has neither'):
        read_transform(write_matrix(tmp_path / 'b.mat', np.eye(4)), fixed=odd, moving=whole)
    # The sidecars of other conventions keep it.
    write_transform(tmp_path / 'd.nii.gz', both(fixed), 'itk', TransformInfo(fixed=whole, moving=odd))
    transform, info = read_transform(tmp_path / 'd.nii.gz')
    with pytest.raises(UserError, match='odd.nii has neither'):
        write_transform(tmp_path / 'e.nii.gz', transform, 'fsl', info)
    # Fields of a fixed image without position have none either.
    field = nib.load(tmp_path / 'a.nii.gz')
    field.header['sform_code'] = field.header['qform_code'] = 0
    nib.save(nib.Nifti1Image(field.get_fdata(), None, field.header), tmp_path / 'c.nii.gz')
    with pytest.raises(UserError, match='c.nii.gz has neither sform nor qform'):
        read_transform(tmp_path / 'c.nii.gz', moving=whole)


@pytest.mark.parametrize('name', PAIRS)
def test_fslpy_moves_images_as_we_do(tmp_path, name):
    fixed, moving = PAIRS[name]
    transform = both(fixed)
    field, source = by_fslpy(tmp_path, transform, fixed, moving)
    from fsl.transform.nonlinear import applyDeformation

    found = applyDeformation(source, field, order=1, mode='nearest')
    positions = moving_positions(transform, fixed, moving.affine)
    last = np.reshape(moving.shape, (3, 1, 1, 1)) - 1
    view = ((positions >= 0) & (positions <= last)).all(axis=0)
    assert view.mean() > 0.5
    assert np.abs(found - sample_image(image(moving), positions))[view].max() < 1e-4


@pytest.mark.parametrize('name', PAIRS)
@pytest.mark.parametrize('sidecar', [True, False])
def test_what_is_written_is_read(tmp_path, name, sidecar):
    fixed, moving = PAIRS[name]
    transform, points = both(fixed), inner_points(fixed)
    write(tmp_path / 'warp.nii.gz', transform, fixed, moving)
    if not sidecar:
        (tmp_path / 'warp.json').unlink()
    given = {} if sidecar else {'moving': record(moving, 'moving.nii.gz')}
    found, info = read_transform(tmp_path / 'warp.nii.gz', **given)
    assert info.convention == 'fsl'
    np.testing.assert_allclose(found.map_points(points), transform.map_points(points), atol=1e-4)


def test_one_voxel_worked_by_hand(tmp_path):
    # Positive determinant: FSL counts x from the other end, so one voxel of 2 mm further is -2 mm.
    displacement = np.zeros((4, 4, 4, 3), np.float32)
    displacement[1, 2, 3] = 1, 1, 1
    transform = DenseTransform(displacement, np.diag([2.0, 3, 4, 1]))
    write(tmp_path / 'a.nii.gz', transform, transform.grid, transform.grid)
    stored = nib.load(tmp_path / 'a.nii.gz')
    assert int(stored.header['intent_code']) == FIELD_INTENT
    np.testing.assert_allclose(stored.dataobj[1, 2, 3], [-2, 3, 4], atol=1e-5)
    assert np.abs(np.delete(stored.get_fdata().reshape(-1, 3), 1 * 16 + 2 * 4 + 3, axis=0)).max() < 1e-5
    # Negative determinant: no flip.
    mirrored = DenseTransform(displacement, np.diag([-2.0, 3, 4, 1]))
    write(tmp_path / 'b.nii.gz', mirrored, mirrored.grid, mirrored.grid)
    np.testing.assert_allclose(nib.load(tmp_path / 'b.nii.gz').dataobj[1, 2, 3], [2, 3, 4], atol=1e-5)


def test_the_frame_worked_by_hand():
    # Voxel 0 of 5 lies at (5 - 1) * 2 mm where x is flipped.
    frame = fsl_frame(ImageGrid((5, 6, 7), np.diag([2.0, 3, 4, 1])))
    np.testing.assert_allclose(frame @ [0, 1, 2, 1], [8, 3, 8, 1])
    frame = fsl_frame(ImageGrid((5, 6, 7), np.diag([2.0, -3, 4, 1])))
    np.testing.assert_allclose(frame @ [1, 1, 2, 1], [2, 3, 8, 1])


def test_fields_that_cannot_be_used(tmp_path):
    fixed, moving = PAIRS['isotropic']
    write(tmp_path / 'warp.nii.gz', both(fixed), fixed, moving)
    (tmp_path / 'warp.json').unlink()
    with pytest.raises(UserError, match='without the moving image.*--moving FILE'):
        read_transform(tmp_path / 'warp.nii.gz')
    stored = nib.load(tmp_path / 'warp.nii.gz')
    here = grid_points(ImageGrid(fixed.shape, fsl_frame(fixed)))
    absolute = nib.Nifti1Image((stored.get_fdata() + here).astype(np.float32), stored.affine, stored.header)
    nib.save(absolute, tmp_path / 'absolute.nii.gz')
    with pytest.raises(UserError, match='absolute coordinates.*convertwarp --absin --relout'):
        read_transform(tmp_path / 'absolute.nii.gz', moving=record(moving, 'm.nii'))
    stored.header['intent_code'] = 2007
    nib.save(stored, tmp_path / 'coefficients.nii.gz')
    with pytest.raises(UserError, match='coefficients of FNIRT.*fnirtfileutils'):
        read_transform(tmp_path / 'coefficients.nii.gz', moving=record(moving, 'm.nii'))
    with pytest.raises(UserError, match=r'\(D, H, W, 3\) with an affine'):
        np.savez(tmp_path / 'a.npz', vol=np.zeros((4, 4, 4, 3)))
        read_transform(tmp_path / 'a.npz', 'fsl', moving=record(moving, 'm.nii'))
    with pytest.raises(UserError, match='name that ends in .nii.gz, .nii'):
        write(tmp_path / 'a.npz', both(fixed), fixed, moving)
