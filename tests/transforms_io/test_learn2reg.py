"""Files for the Learn2Reg challenge, read back as its evaluator reads them: scipy, array indices, no affine."""

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from autofuse_jax.errors import UserError
from autofuse_jax.transforms.maps import DenseTransform
from autofuse_jax.transforms.resampling import moving_positions, sample_image, sample_labels
from autofuse_jax.transforms_io.files import read_transform, write_transform
from autofuse_jax.transforms_io.sidecar import TransformInfo
from tests.transforms.examples import PAIRS, both, grid, image, inner_points, labels, record, smooth

NAMES = ('disp_0001_0002.nii.gz', 'disp_0001_0002.npz')
# float16 has 11 bits: a displacement between 2 and 4 voxels is kept to 0.001, between 16 and 32 to 0.008.
HALF_PRECISION = {'disp_0001_0002.nii.gz': 1e-4, 'disp_0001_0002.npz': 0.02}


def write(path, transform, fixed, moving):
    info = TransformInfo(fixed=record(fixed, 'f.nii'), moving=record(moving, 'm.nii'))
    write_transform(path, transform, 'learn2reg', info)


def as_the_evaluator_warps(path, moving_array, order):
    """What the challenge does with a submission at full resolution."""
    field = np.load(path)['arr_0'] if path.suffix == '.npz' else nib.load(path).get_fdata()
    places = np.indices(field.shape[:3]) + np.moveaxis(field.astype(np.float32), -1, 0)
    return ndimage.map_coordinates(moving_array, places, order=order)


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('pair', PAIRS)
def test_the_evaluator_sees_the_moved_image(tmp_path, name, pair):
    fixed, moving = PAIRS[pair]
    transform = both(fixed)
    write(tmp_path / name, transform, fixed, moving)
    positions = moving_positions(transform, fixed, moving.affine)
    last = np.reshape(moving.shape, (3, 1, 1, 1)) - 1
    view = ((positions >= 0) & (positions <= last)).all(axis=0)
    assert view.mean() > 0.5
    found = as_the_evaluator_warps(tmp_path / name, image(moving), order=1)
    assert np.abs(found - sample_image(image(moving), positions))[view].max() < HALF_PRECISION[name]
    # Nearest voxels agree except where a position is halfway between two.
    same = as_the_evaluator_warps(tmp_path / name, labels(moving), order=0) == sample_labels(labels(moving), positions)
    assert same[view].mean() > 0.995


def test_on_one_grid_the_values_are_our_displacement(tmp_path):
    fixed = grid((9, 8, 7), (1.5, 2, 3))
    transform = smooth(fixed)
    write(tmp_path / NAMES[0], transform, fixed, fixed)
    write(tmp_path / NAMES[1], transform, fixed, fixed)
    stored = nib.load(tmp_path / NAMES[0])
    assert stored.shape == (9, 8, 7, 3) and stored.get_data_dtype() == np.float32
    np.testing.assert_allclose(stored.get_fdata(), transform.displacement, atol=1e-5)
    with np.load(tmp_path / NAMES[1]) as archive:
        assert archive.files == ['arr_0'] and archive['arr_0'].dtype == np.float16


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('pair', PAIRS)
def test_what_is_written_is_read(tmp_path, name, pair):
    fixed, moving = PAIRS[pair]
    transform, points = both(fixed), inner_points(fixed)
    write(tmp_path / name, transform, fixed, moving)
    found, _ = read_transform(tmp_path / name)
    np.testing.assert_allclose(
        found.map_points(points), transform.map_points(points), atol=2 * max(moving.spacing) * HALF_PRECISION[name]
    )
    # Without the sidecar the name and the images say as much.
    (tmp_path / 'disp_0001_0002.json').unlink()
    again, info = read_transform(tmp_path / name, fixed=record(fixed, 'f.nii'), moving=record(moving, 'm.nii'))
    assert info.convention == 'learn2reg'
    np.testing.assert_array_equal(again.displacement, found.displacement)


def test_half_resolution_is_read_as_the_evaluator_reads_it(tmp_path):
    fixed = grid((16, 12, 20), (1, 1, 1))
    full = np.moveaxis(smooth(fixed).displacement, -1, 0)
    half = np.stack([ndimage.zoom(component, 0.5, order=2) for component in full]).astype(np.float16)
    assert half.shape == (3, 8, 6, 10)
    np.savez(tmp_path / 'disp_0001_0002.npz', half)
    found, _ = read_transform(
        tmp_path / 'disp_0001_0002.npz', fixed=record(fixed, 'f.nii'), moving=record(fixed, 'm.nii')
    )
    evaluator = np.array([ndimage.zoom(component, 2, order=2) for component in half.astype(np.float32)])
    np.testing.assert_allclose(np.moveaxis(found.displacement, -1, 0), evaluator, atol=1e-4)
    # The values are voxels of the full grid: they are enlarged in extent, not in size.
    inner = (slice(None), *[slice(3, -3)] * 3)
    np.testing.assert_allclose(evaluator[inner], full[inner], atol=0.1)


def test_another_shape_or_no_image_is_refused(tmp_path):
    np.savez(tmp_path / 'disp_0001_0002.npz', np.zeros((8, 8, 8, 3), np.float16))
    other = record(grid((9, 9, 9), (1, 1, 1)), 'other.nii')
    with pytest.raises(UserError, match=r'\(8, 8, 8\) voxels.*\(9, 9, 9\).*or half of it'):
        read_transform(tmp_path / 'disp_0001_0002.npz', fixed=other, moving=other)
    with pytest.raises(UserError, match='without the fixed image.*--fixed FILE'):
        read_transform(tmp_path / 'disp_0001_0002.npz', moving=other)
    with pytest.raises(UserError, match='without the moving image.*--moving FILE'):
        read_transform(tmp_path / 'disp_0001_0002.npz', fixed=other)


def test_values_beyond_float16_are_refused(tmp_path):
    far = DenseTransform(np.full((4, 4, 4, 3), 7e4, np.float32), np.eye(4))
    with pytest.raises(UserError, match='70000 voxels.*float16'):
        write(tmp_path / 'disp_0001_0002.npz', far, far.grid, far.grid)
    assert list(tmp_path.iterdir()) == []
