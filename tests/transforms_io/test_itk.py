"""SimpleITK reads our files and does with them what we do."""

import nibabel as nib
import numpy as np
import pytest

from autofuse_jax.data.volumes import write_image
from autofuse_jax.errors import UserError
from autofuse_jax.transforms.grids import ImageGrid
from autofuse_jax.transforms.maps import Chain, DenseTransform, to_dense
from autofuse_jax.transforms.resampling import moving_positions, sample_image
from autofuse_jax.transforms_io.explain import explain
from autofuse_jax.transforms_io.files import read_transform, write_transform
from autofuse_jax.transforms_io.itk import DISPLACEMENT_INTENT, LPS_FROM_RAS, VECTOR_INTENT
from autofuse_jax.transforms_io.sidecar import TransformInfo
from tests.transforms.examples import PAIRS, affine, both, grid, image, inner_points, record, smooth

sitk = pytest.importorskip('SimpleITK')
# What ITK fills in outside the moving image.
OUTSIDE = -99.0


def write_field(path, transform, fixed, moving):
    write_transform(path, transform, 'itk', TransformInfo(fixed=record(fixed, 'f.nii'), moving=record(moving, 'm.nii')))


def itk_field(path):
    return sitk.DisplacementFieldTransform(sitk.ReadImage(str(path), sitk.sitkVectorFloat64))


def resampled_by_itk(tmp_path, transform, fixed, moving):
    """The moving test image on the fixed grid, as SimpleITK shows it, in our order of axes."""
    for name, on in (('fixed', fixed), ('moving', moving)):
        write_image(tmp_path / f'{name}.nii.gz', image(on), on.affine)
    images = [sitk.ReadImage(str(tmp_path / f'{name}.nii.gz'), sitk.sitkFloat32) for name in ('moving', 'fixed')]
    return sitk.GetArrayFromImage(sitk.Resample(*images, transform, sitk.sitkLinear, OUTSIDE)).T


def compare(found, transform, fixed, moving):
    """Largest difference relative to the image's maximum, where the moving image is read between voxel centres."""
    positions = moving_positions(transform, fixed, moving.affine)
    ours = sample_image(image(moving), positions)
    last = np.reshape(moving.shape, (3, 1, 1, 1)) - 1
    view = ((positions >= 0) & (positions <= last)).all(axis=0)
    assert view.mean() > 0.5
    assert not (found[view] == OUTSIDE).any()
    return np.abs(found - ours)[view].max() / np.abs(ours).max()


@pytest.mark.parametrize('name', PAIRS)
def test_itk_moves_images_with_our_field_as_we_do(tmp_path, name):
    fixed, moving = PAIRS[name]
    transform = both(fixed)
    write_field(tmp_path / 'forward.nii.gz', transform, fixed, moving)
    found = resampled_by_itk(tmp_path, itk_field(tmp_path / 'forward.nii.gz'), fixed, moving)
    assert compare(found, transform, fixed, moving) < 1e-4


@pytest.mark.parametrize('name', PAIRS)
def test_fields_of_the_intent_displacement_vector_are_ras_here_and_in_itk(tmp_path, name):
    fixed, moving = PAIRS[name]
    write_field(tmp_path / 'a.nii.gz', both(fixed), fixed, moving)
    ours, _ = read_transform(tmp_path / 'a.nii.gz')
    stored = nib.load(tmp_path / 'a.nii.gz')
    stored = nib.Nifti1Image(stored.get_fdata(dtype=np.float32) * np.float32([-1, -1, 1]), None, stored.header)
    stored.header['intent_code'] = DISPLACEMENT_INTENT
    nib.save(stored, tmp_path / 'b.nii.gz')
    same, info = read_transform(tmp_path / 'b.nii.gz')
    assert info.convention == 'itk'
    assert 'in ITK convention (mm, RAS, as its intent says)' in explain(tmp_path / 'b.nii.gz')
    np.testing.assert_allclose(same.displacement, ours.displacement, atol=1e-5)
    points = inner_points(fixed) * LPS_FROM_RAS
    itk, its = itk_field(tmp_path / 'a.nii.gz'), itk_field(tmp_path / 'b.nii.gz')
    for point in points.tolist():
        np.testing.assert_allclose(its.TransformPoint(point), itk.TransformPoint(point), atol=1e-5)


@pytest.mark.parametrize('name', PAIRS)
def test_itk_moves_points_with_our_field_as_we_do(tmp_path, name):
    fixed, moving = PAIRS[name]
    transform, points = both(fixed), inner_points(fixed)
    write_field(tmp_path / 'forward.nii.gz', transform, fixed, moving)
    field = itk_field(tmp_path / 'forward.nii.gz')
    found = np.array([field.TransformPoint(point) for point in (points * LPS_FROM_RAS).tolist()]) * LPS_FROM_RAS
    np.testing.assert_allclose(found, transform.map_points(points), atol=1e-4)
    assert np.linalg.norm(found - points, axis=-1).min() > 0.5


@pytest.mark.parametrize('name', PAIRS)
def test_itk_reads_our_affine_as_we_do(tmp_path, name):
    fixed, moving = PAIRS[name]
    info = TransformInfo(fixed=record(fixed, 'f.nii'), moving=record(moving, 'm.nii'))
    write_transform(tmp_path / 'affine.txt', affine(), 'itk', info)
    transform, points = sitk.ReadTransform(str(tmp_path / 'affine.txt')), inner_points(fixed)
    found = np.array([transform.TransformPoint(point) for point in (points * LPS_FROM_RAS).tolist()]) * LPS_FROM_RAS
    np.testing.assert_allclose(found, affine().map_points(points), atol=1e-10)
    moved = resampled_by_itk(tmp_path, transform, fixed, moving)
    assert compare(moved, affine(), fixed, moving) < 1e-4


def test_a_composition_is_that_of_itk(tmp_path):
    # A on B by an affine and a field, B on C by a field of C; a point of C goes through the second first.
    a, b = PAIRS['oblique']
    c = PAIRS['isotropic'][0]
    first, second = both(b), smooth(c, size=2)
    write_field(tmp_path / 'first.nii.gz', first, b, a)
    write_field(tmp_path / 'second.nii.gz', second, c, b)
    composite = sitk.CompositeTransform([itk_field(tmp_path / 'first.nii.gz'), itk_field(tmp_path / 'second.nii.gz')])
    points = inner_points(c)
    found = np.array([composite.TransformPoint(point) for point in (points * LPS_FROM_RAS).tolist()]) * LPS_FROM_RAS
    np.testing.assert_allclose(found, Chain((first, second)).map_points(points), atol=1e-4)
    # As one field on the last grid it gives the same at its voxels.
    centres = np.array([[5, 6, 7], [12, 11, 10], [15, 9, 12]])
    voxels = centres @ c.affine[:3, :3].T + c.affine[:3, 3]
    joined = to_dense([first, second], c).map_points(voxels)
    found = [composite.TransformPoint(point) for point in (voxels * LPS_FROM_RAS).tolist()]
    np.testing.assert_allclose(joined, np.array(found) * LPS_FROM_RAS, atol=1e-4)


@pytest.mark.parametrize('name', PAIRS)
def test_fields_of_itk_are_read(tmp_path, name):
    fixed, moving = PAIRS[name]
    write_image(tmp_path / 'fixed.nii.gz', image(fixed), fixed.affine)
    reference = sitk.ReadImage(str(tmp_path / 'fixed.nii.gz'))
    turn = sitk.Euler3DTransform((1, 2, 3), 0.1, -0.05, 0.08, (2, -1, 3))
    field = sitk.TransformToDisplacementField(
        turn,
        sitk.sitkVectorFloat64,
        reference.GetSize(),
        reference.GetOrigin(),
        reference.GetSpacing(),
        reference.GetDirection(),
    )
    sitk.WriteImage(field, str(tmp_path / 'field.nii.gz'))
    transform, info = read_transform(tmp_path / 'field.nii.gz')
    assert (info.kind, info.convention, info.fixed) == ('displacement', 'itk', None)
    assert transform.grid.same_as(fixed)
    points = inner_points(fixed)
    expected = np.array([turn.TransformPoint(point) for point in (points * LPS_FROM_RAS).tolist()]) * LPS_FROM_RAS
    np.testing.assert_allclose(transform.map_points(points), expected, atol=1e-4)


def test_one_voxel_worked_by_hand(tmp_path):
    # Voxels of 2 x 3 x 4 mm, x pointing left: u = (1, 1, 1) is (-2, 3, 4) mm in RAS and (2, -3, 4) mm in LPS.
    affine_matrix = np.diag([-2.0, 3, 4, 1])
    displacement = np.zeros((3, 3, 3, 3), np.float32)
    displacement[1, 0, 2] = 1
    transform = DenseTransform(displacement, affine_matrix)
    write_field(tmp_path / 'a.nii.gz', transform, transform.grid, transform.grid)
    stored = nib.load(tmp_path / 'a.nii.gz')
    assert stored.shape == (3, 3, 3, 1, 3) and stored.get_data_dtype() == np.float32
    assert int(stored.header['intent_code']) == VECTOR_INTENT and stored.header.get_xyzt_units()[0] == 'mm'
    assert stored.header['sform_code'] > 0 and stored.header['qform_code'] > 0
    np.testing.assert_allclose(stored.dataobj[1, 0, 2, 0], [2, -3, 4])
    assert np.count_nonzero(stored.dataobj) == 3
    read, _ = read_transform(tmp_path / 'a.nii.gz')
    np.testing.assert_allclose(read.displacement, displacement, atol=1e-7)


def test_a_sheared_grid_is_refused(tmp_path):
    sheared = grid((9, 9, 9), (1, 1, 1)).affine.copy()
    sheared[0, 1] = 0.3
    transform = smooth(ImageGrid((9, 9, 9), sheared), size=0.5)
    with pytest.raises(UserError, match='right angles.*--format voxel'):
        write_field(tmp_path / 'a.nii.gz', transform, transform.grid, transform.grid)
    assert list(tmp_path.iterdir()) == []


def test_another_shape_is_refused(tmp_path):
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 4, 3), np.float32), np.eye(4)), tmp_path / 'a.nii')
    with pytest.raises(UserError, match=r'\(4, 4, 4, 3\).*\(D, H, W, 1, 3\)'):
        read_transform(tmp_path / 'a.nii', 'itk')
