"""What a header says, and what is suspicious about it."""

import nibabel as nib
import numpy as np
import pytest

from autofuse_jax.data.headers import read_header
from autofuse_jax.errors import UserError


def save(path, array, affine, sform=1, qform=1, qform_affine=None):
    image = nib.Nifti1Image(array, affine)
    image.set_sform(affine, code=sform)
    image.set_qform(affine if qform_affine is None else qform_affine, code=qform)
    nib.save(image, path)
    return path


@pytest.fixture
def array():
    return np.zeros((4, 5, 6), np.float32)


def test_a_plain_image_has_no_remarks(tmp_path, array):
    facts = read_header(save(tmp_path / 'a.nii.gz', array, np.diag([-1.0, 2, 2, 1])))
    assert facts.remarks == ()
    assert facts.sentence() == 'a.nii.gz: 4 x 5 x 6 voxels of 1 x 2 x 2 mm, axes LAS'


def test_oblique_axes_are_measured(tmp_path, array):
    angle = np.deg2rad(12)
    affine = np.eye(4)
    affine[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    facts = read_header(save(tmp_path / 'a.nii.gz', array, affine))
    assert facts.oblique_degrees == pytest.approx(12, abs=0.01)
    assert 'oblique by 12.0 degrees' in facts.sentence()


def test_disagreeing_forms_are_pointed_out_in_millimetres(tmp_path, array):
    shifted = np.eye(4)
    shifted[0, 3] = 7.5
    facts = read_header(save(tmp_path / 'a.nii.gz', array, np.eye(4), qform_affine=shifted))
    assert 'sform and qform of a.nii.gz disagree by up to 7.5 mm; the sform is used' in facts.remarks[0]


def test_an_image_without_a_position_is_pointed_out(tmp_path, array):
    facts = read_header(save(tmp_path / 'a.nii.gz', array, np.eye(4), sform=0, qform=0))
    assert 'neither sform nor qform' in facts.remarks[0]


def test_one_form_is_enough(tmp_path, array):
    assert read_header(save(tmp_path / 'a.nii.gz', array, np.eye(4), sform=0, qform=1)).remarks == ()


def test_thick_slices_are_pointed_out(tmp_path, array):
    facts = read_header(save(tmp_path / 'a.nii.gz', array, np.diag([1.5, 1.5, 10, 1])))
    assert 'slices of 10 mm' in facts.remarks[0]


def test_colours_are_refused(tmp_path):
    colours = np.zeros((4, 5, 6), [('R', 'u1'), ('G', 'u1'), ('B', 'u1')])
    nib.save(nib.Nifti1Image(colours, np.eye(4)), tmp_path / 'rgb.nii.gz')
    with pytest.raises(UserError, match='colours.*grey'):
        read_header(tmp_path / 'rgb.nii.gz')


def test_a_singular_affine_is_refused(tmp_path, array):
    np.savez(tmp_path / 'flat.npz', vol=array, affine=np.diag([1.0, 1, 0, 1]))
    with pytest.raises(UserError, match='singular'):
        read_header(tmp_path / 'flat.npz')
    save(tmp_path / 'flat.nii.gz', array, np.eye(4), qform=0)
    image = nib.load(tmp_path / 'flat.nii.gz')
    image.header['srow_z'] = 0
    nib.save(nib.Nifti1Image(array, None, image.header), tmp_path / 'flat.nii')
    with pytest.raises(UserError, match='singular'):
        read_header(tmp_path / 'flat.nii')


def test_an_npz_has_an_affine_too(tmp_path, array):
    np.savez(tmp_path / 'a.npz', vol=array, affine=np.diag([2.0, 2, 2, 1]))
    assert read_header(tmp_path / 'a.npz').spacing == (2, 2, 2)
