import dataclasses

import nibabel as nib
import numpy as np
import pytest

from autofuse_jax.errors import UserError
from autofuse_jax.transforms.maps import AffineTransform, Chain, DenseTransform
from autofuse_jax.transforms_io.explain import explain
from autofuse_jax.transforms_io.files import write_transform
from autofuse_jax.transforms_io.sidecar import TransformInfo
from tests.transforms.examples import grid, record, turned
from tests.transforms_io.foreign import write_lta, write_matlab, write_matrix

FIXED = grid((8, 9, 10), (1.5, 1.5, 3.15))
MOVING = grid((7, 7, 7), (2, 2, 2))
INFO = TransformInfo(fixed=record(FIXED, 'fixed.nii.gz'), moving=record(MOVING, 'moving.nii.gz'))


def shifted():
    """One voxel is shown 4 voxels of 1.5 mm and 1 of 3.15 mm away: sqrt(36 + 9.9225) = 6.777 mm."""
    displacement = np.zeros((8, 9, 10, 3), np.float32)
    displacement[3, 4, 5] = 4, 0, 1
    return DenseTransform(displacement, FIXED.affine)


def test_a_field_with_sidecar_and_inverse(tmp_path):
    info = dataclasses.replace(INFO, inverse='inverse_itk.nii.gz')
    write_transform(tmp_path / 'forward_itk.nii.gz', shifted(), 'itk', info)
    text = (
        'forward_itk.nii.gz: a dense displacement field in ITK convention (mm, LPS), on the fixed grid fixed.nii.gz '
        '(8x9x10, 1.5x1.5x3.15 mm), that pulls moving.nii.gz onto it (points go from fixed to moving); '
        'largest displacement 6.8 mm; its inverse is inverse_itk.nii.gz'
    )
    assert explain(tmp_path / 'forward_itk.nii.gz') == f'{text}, which is missing.'
    (tmp_path / 'inverse_itk.nii.gz').touch()
    assert explain(tmp_path / 'forward_itk.nii.gz') == f'{text}.'


@pytest.mark.parametrize(
    ('convention', 'words'),
    [
        ('fsl', 'in FSL convention (mm, scaled voxels of FSL, relative)'),
        ('learn2reg', 'in Learn2Reg convention (voxels, array axes)'),
        ('voxel', 'in voxel convention (voxels of the fixed grid, array axes)'),
    ],
)
def test_the_other_conventions(tmp_path, convention, words):
    write_transform(tmp_path / 'a.nii.gz', shifted(), convention, INFO)
    text = explain(tmp_path / 'a.nii.gz')
    assert words in text and 'largest displacement 6.8 mm; no inverse is saved with it' in text


def test_the_inverse_says_so(tmp_path):
    write_transform(tmp_path / 'a.nii.gz', shifted(), 'itk', dataclasses.replace(INFO, role='inverse'))
    assert 'it is the inverse of a registration' in explain(tmp_path / 'a.nii.gz')


def test_an_affine(tmp_path):
    matrix = turned(30, 2) @ np.diag([1.1, 1.0, 1.0, 1])
    matrix[:3, 3] = FIXED.centre_mm + [3, 0, 4] - matrix[:3, :3] @ FIXED.centre_mm
    write_transform(tmp_path / 'affine_itk.txt', AffineTransform(matrix), 'itk', INFO)
    assert explain(tmp_path / 'affine_itk.txt') == (
        'affine_itk.txt: an affine transform in ITK convention (mm, LPS), that pulls moving.nii.gz onto fixed.nii.gz '
        '(points go from fixed to moving); it turns by 30.0 degrees, scales volumes by 1.100 and moves the middle of '
        'the fixed image by 5.0 mm; its inverse is exact.'
    )
    (tmp_path / 'affine_itk.json').unlink()
    assert 'pulls the moving image onto the fixed image' in explain(tmp_path / 'affine_itk.txt')
    write_transform(tmp_path / 'b.txt', AffineTransform(np.diag([-1.0, 1, 1, 1])), 'itk', INFO)
    assert explain(tmp_path / 'b.txt').count('mirrored') == 1


def test_fields_of_other_tools(tmp_path):
    field = np.zeros((4, 5, 6, 1, 3), np.float32)
    field[1, 2, 3, 0] = 0, -3, 4
    stored = nib.Nifti1Image(field, np.diag([2.0, 2, 2, 1]))
    stored.header.set_intent('vector')
    nib.save(stored, tmp_path / 'ants.nii.gz')
    text = explain(tmp_path / 'ants.nii.gz')
    assert 'ITK convention (mm, LPS), on a grid (4x5x6, 2x2x2 mm), that pulls the moving image onto the fixed' in text
    assert 'largest displacement 5.0 mm' in text
    np.savez(tmp_path / 'disp_0001_0002.npz', field[:, :, :, 0].astype(np.float16))
    text = explain(tmp_path / 'disp_0001_0002.npz')
    assert 'in learn2reg convention (voxels, array axes) without sidecar, on a fixed grid of 4x5x6 voxels' in text
    assert 'largest value 5.0; to use it, name its images with --fixed and --moving' in text
    same = record(grid((4, 5, 6), (2, 2, 2)), 'f.nii')
    assert 'largest displacement 10.0 mm' in explain(tmp_path / 'disp_0001_0002.npz', fixed=same, moving=same)


def test_lengths_of_a_microscope_are_not_called_0(tmp_path):
    field = np.zeros((4, 5, 6, 3), np.float32)
    field[1, 2, 3] = 0, -3, 4
    on = record(grid((4, 5, 6), (0.001, 0.001, 0.001)), 'cells.nii.gz')
    write_transform(tmp_path / 'a.nii.gz', DenseTransform(field, on.grid.affine), 'itk', TransformInfo(fixed=on))
    assert 'largest displacement 0.005 mm' in explain(tmp_path / 'a.nii.gz')
    shift = np.eye(4)
    shift[0, 3] = 0.012
    write_transform(tmp_path / 'b.txt', AffineTransform(shift), 'itk', TransformInfo(fixed=on))
    assert 'moves the middle of the fixed image by 0.012 mm' in explain(tmp_path / 'b.txt')


def test_files_that_are_no_transforms(tmp_path):
    nib.save(nib.Nifti1Image(np.random.default_rng(0).normal(size=(9, 9, 9)), np.eye(4)), tmp_path / 'scan.nii.gz')
    with pytest.raises(UserError, match='scan.nii.gz is no transform but an image of 9x9x9 voxels'):
        explain(tmp_path / 'scan.nii.gz')
    (tmp_path / 'talairach.xfm').touch()
    with pytest.raises(UserError, match='talairach.xfm looks like an affine transform of MINC or FreeSurfer.*convert'):
        explain(tmp_path / 'talairach.xfm')
    (tmp_path / 'notes.docx').touch()
    with pytest.raises(UserError, match='a file of unknown kind .*docx'):
        explain(tmp_path / 'notes.docx')
    with pytest.raises(UserError, match='there is no file'):
        explain(tmp_path / 'absent.h5')
    # What ANTs writes for images of a plane.
    nib.save(nib.Nifti1Image(np.zeros((9, 8, 1, 1, 2), np.float32), np.eye(4)), tmp_path / 'plane.nii.gz')
    with pytest.raises(UserError, match='is a displacement field of a plane.*three numbers'):
        explain(tmp_path / 'plane.nii.gz')


def test_files_of_ants_fsl_and_freesurfer(tmp_path):
    numbers = [1.1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 3, 4]
    write_matlab(tmp_path / '0GenericAffine.mat', 'AffineTransform_double_3_3', numbers, [0, 0, 0])
    assert explain(tmp_path / '0GenericAffine.mat') == (
        '0GenericAffine.mat: an affine transform in ITK convention (mm, LPS), that pulls the moving image onto the '
        'fixed image (points go from fixed to moving); it turns by 0.0 degrees, scales volumes by 1.100 and moves the '
        'origin by 5.0 mm; its inverse is exact.'
    )
    matrix = np.eye(4)
    matrix[0, 3] = 7
    text = explain(write_lta(tmp_path / 'a.lta', matrix, 1, MOVING, FIXED))
    assert 'in FreeSurfer convention (mm, RAS), that pulls moving.mgz onto fixed.mgz' in text
    assert 'the file holds the way back' in text and 'moves the middle of the fixed image by 7.0 mm' in text
    named = {'fixed': INFO.fixed, 'moving': INFO.moving}
    text = explain(write_matrix(tmp_path / 'flirt.mat', matrix), **named)
    assert 'in FSL convention (mm, scaled voxels of FSL), that pulls moving.nii.gz onto fixed.nii.gz' in text


def test_a_composite(tmp_path):
    pytest.importorskip('h5py')
    matrix = np.eye(4)
    matrix[0, 3] = 5
    write_transform(tmp_path / 'c.h5', Chain((AffineTransform(matrix), shifted())), 'itk', INFO)
    assert explain(tmp_path / 'c.h5') == (
        'c.h5: a composite of 2 transforms in ITK convention (mm, LPS), that pulls moving.nii.gz onto fixed.nii.gz '
        '(points go from fixed to moving); points pass through a displacement field (8x9x10, 1.5x1.5x3.15 mm, largest '
        'displacement 6.8 mm), then an affine transform (it turns by 0.0 degrees, scales volumes by 1.000 and moves '
        'the middle of the fixed image by 5.0 mm); no inverse is saved with it, it can be solved for.'
    )
