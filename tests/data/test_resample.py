import dataclasses

import numpy as np
import pytest

from autofuse_jax.data.resample import (
    canonical_volume,
    center_crop_or_pad,
    crop_or_pad,
    move_volume,
    resample_image,
    resample_labels,
    resize_image,
    resize_labels,
    resize_weights,
)
from autofuse_jax.data.volumes import Volume
from autofuse_jax.transforms.grids import ImageGrid, respace_grid
from autofuse_jax.transforms.maps import AffineTransform


def line(values, axis=0):
    shape = [1, 1, 1]
    shape[axis] = len(values)
    return np.array(values, np.float32).reshape(shape)


def test_finer_voxels_by_hand():
    # 3 voxels of 2 mm at 0, 2, 4 mm; the field of view ends at 5 mm, so 1 mm voxels lie at 0 .. 5 mm.
    result = resample_image(line([0, 2, 6]), (2, 1, 1), (1, 1, 1))
    np.testing.assert_allclose(result.ravel(), [0, 1, 2, 4, 6, 6])


def test_coarser_voxels_by_hand():
    # 5 voxels of 1 mm; voxels of 1.5 mm lie at 0, 1.5, 3 and 4.5 mm, the last one clamped.
    result = resample_image(line([0, 10, 20, 30, 40]), (1, 1, 1), (1.5, 1, 1))
    np.testing.assert_allclose(result.ravel(), [0, 15, 30, 40])


def test_labels_by_hand():
    labels = np.array([1, 2, 3], np.uint8).reshape(3, 1, 1)
    result = resample_labels(labels, (2, 1, 1), (1, 1, 1))
    assert result.dtype == np.uint8
    # 1 mm lies halfway between the voxels at 0 and 2 mm: the later one counts.
    np.testing.assert_array_equal(result.ravel(), [1, 2, 2, 3, 3, 3])


@pytest.mark.parametrize('axis', [0, 1, 2])
def test_every_axis_is_treated_alike(axis):
    spacing = [1.0, 1.0, 1.0]
    spacing[axis] = 2.0
    result = resample_image(line([0, 2, 6], axis), spacing, (1, 1, 1))
    np.testing.assert_allclose(result.ravel(), [0, 1, 2, 4, 6, 6])


def test_same_spacing_changes_nothing_also_when_rounded_to_float32():
    image = np.random.default_rng(0).random((7, 6, 5), np.float32)
    spacing = (1.48438, 0.7, 3.15)
    np.testing.assert_array_equal(resample_image(image, np.float32(spacing), np.float32(spacing)), image)
    rounded = tuple(float(np.float32(size)) for size in spacing)
    np.testing.assert_allclose(resample_image(image, rounded, spacing), image, atol=1e-6)


def test_a_linear_ramp_in_space_stays_that_ramp():
    affine = np.diag([1.4, 1.6, 5.0, 1.0])
    affine[:3, 3] = [10, -20, 30]

    def ramp(shape, affine):
        index = np.stack(np.meshgrid(*map(np.arange, shape), indexing='ij'), -1)
        place = index @ affine[:3, :3].T + affine[:3, 3]
        return place @ [0.5, -0.25, 2.0]

    source = ramp((12, 11, 6), affine)
    result = resample_image(source, (1.4, 1.6, 5.0), (1.5, 1.5, 3.15))
    wanted = ramp(result.shape, respace_grid(ImageGrid(source.shape, affine), (1.5, 1.5, 3.15), result.shape).affine)
    inside = tuple(
        slice(0, int((n - 1) * s / t)) for n, s, t in zip((12, 11, 6), (1.4, 1.6, 5), (1.5, 1.5, 3.15), strict=True)
    )
    np.testing.assert_allclose(result[inside], wanted[inside], rtol=1e-5)


def test_image_and_labels_share_the_grid():
    labels = np.zeros((9, 8, 5), np.uint8)
    labels[3:6, 2:5, 1:3] = 1
    spacing, target = (1.7, 1.3, 6.0), (1.5, 1.5, 3.15)
    soft = resample_image(labels, spacing, target)
    hard = resample_labels(labels, spacing, target)
    assert soft.shape == hard.shape
    # Far from ties (0.5 per axis), the nearest neighbour agrees with a clear interpolation.
    assert (hard[soft > 0.9] == 1).all() and (hard[soft < 0.1] == 0).all()


@pytest.mark.parametrize(
    ('size', 'wanted', 'start', 'result'),
    [
        (5, 3, 1, [2, 3, 4]),
        (6, 3, 1, [2, 3, 4]),
        (3, 5, -1, [0, 1, 2, 3, 0]),
        (3, 6, -1, [0, 1, 2, 3, 0, 0]),
        (3, 3, 0, [1, 2, 3]),
    ],
)
def test_center_crop_or_pad_by_hand(size, wanted, start, result):
    found, offset = center_crop_or_pad(line(range(1, size + 1)), (wanted, 1, 1))
    assert offset == (start, 0, 0)
    np.testing.assert_array_equal(found.ravel(), result)


def test_crop_or_pad_is_undone_by_its_offset():
    array = np.random.default_rng(0).integers(1, 9, (7, 4, 5)).astype(np.uint8)
    found, start = center_crop_or_pad(array, (4, 6, 5))
    assert found.shape == (4, 6, 5) and found.dtype == np.uint8
    back = crop_or_pad(found, array.shape, [-first for first in start])
    wanted = np.zeros_like(array)
    wanted[start[0] : start[0] + 4] = array[start[0] : start[0] + 4]
    np.testing.assert_array_equal(back, wanted)


def test_crop_of_a_box_that_misses_the_array_is_zero():
    for start in (-9, 9):
        np.testing.assert_array_equal(crop_or_pad(line([1, 2, 3]), (2, 1, 1), (start, 0, 0)).ravel(), [0, 0])


def test_resize_doubling_and_halving_by_hand():
    np.testing.assert_allclose(resize_image(line([0, 4]), (4, 1, 1)).ravel(), [0, 1, 3, 4])
    # Halving 4 voxels: centres at 0.5 and 2.5, triangle of radius 2, weights 3:3:1 of the voxels inside.
    wanted = [(3 * 0 + 3 * 1 + 1 * 2) / 7, (1 * 1 + 3 * 2 + 3 * 10) / 7]
    np.testing.assert_allclose(resize_image(line([0, 1, 2, 10]), (2, 1, 1)).ravel(), wanted, rtol=1e-6)


@pytest.mark.parametrize(('size', 'wanted'), [(128, 96), (32, 16), (5, 5), (3, 7), (1, 4), (4, 1)])
def test_resize_weights_are_averages(size, wanted):
    weights = resize_weights(size, wanted)
    assert weights.shape == (wanted, size) and (weights >= 0).all()
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(weights, weights[::-1, ::-1], atol=1e-6)


def test_resize_agrees_with_jax():
    jax = pytest.importorskip('jax')
    image = np.random.default_rng(0).random((12, 9, 8), np.float32)
    for shape in ((9, 5, 4), (15, 9, 8), (6, 12, 4)):
        wanted = jax.image.resize(image, shape, 'trilinear', antialias=True)
        np.testing.assert_allclose(resize_image(image, shape), wanted, atol=1e-5)


def test_resize_labels_by_majority():
    labels = np.array([0, 0, 0, 5, 5, 0, 7, 7], np.uint8).reshape(8, 1, 1)
    result = resize_labels(labels, (4, 1, 1))
    assert result.dtype == np.uint8
    # Weights 1 3 3 1. Voxel 1 sees 0 0 5 5, a tie, which goes to the smaller id; voxel 2 sees 5 5 0 7, so 5 wins 4:3:1.
    np.testing.assert_array_equal(result.ravel(), [0, 0, 5, 7])
    np.testing.assert_array_equal(resize_labels(labels, (16, 1, 1)).ravel(), np.repeat(labels.ravel(), 2))
    np.testing.assert_array_equal(resize_labels(labels, labels.shape), labels)


def test_resize_keeps_the_centre_of_mass():
    labels = np.zeros((32, 32, 16), np.uint8)
    labels[8:20, 10:26, 4:12] = 3
    small = resize_labels(labels, (24, 24, 8))
    factor = np.array(labels.shape) / np.array(small.shape)
    centre = (np.argwhere(labels == 3).mean(0) + 0.5) / factor - 0.5
    np.testing.assert_allclose(np.argwhere(small == 3).mean(0), centre, atol=0.35)


def test_volumes_move_through_a_transform_with_their_labels():
    image = np.zeros((6, 5, 4), np.float32)
    image[2, 3, 1] = 8
    moving = Volume(image, (image > 0).astype(np.int32), np.diag([2.0, 1, 1, 1]), 'moving', mask=np.ones(image.shape))
    shift = np.eye(4)
    shift[0, 3] = 1
    # Voxels of 1 mm; voxel i of the grid shows the place 1 mm further: voxel 3 shows 4 mm, which is voxel 2 of 2 mm.
    moved = move_volume(moving, ImageGrid((8, 5, 4), np.eye(4)), AffineTransform(shift))
    np.testing.assert_allclose(moved.image[:, 3, 1], [0, 0, 4, 8, 4, 0, 0, 0])
    # Places halfway between two voxels, 1.5 and 2.5, take the even one.
    np.testing.assert_array_equal(np.argwhere(moved.labels), [[2, 3, 1], [3, 3, 1], [4, 3, 1]])
    assert moved.spacing == (1, 1, 1) and moved.name == 'moving' and moved.mask is None
    unlabelled = move_volume(dataclasses.replace(moving, labels=None), moving.grid)
    np.testing.assert_array_equal(unlabelled.image, image)
    assert unlabelled.labels is None


def test_a_canonical_volume_holds_the_same_voxels_in_the_order_of_the_body():
    image = np.arange(24.0, dtype=np.float32).reshape(2, 3, 4)
    affine = np.array([[0, 0, -2.0, 5], [-1.0, 0, 0, 6], [0, 3.0, 0, 7], [0, 0, 0, 1]])
    volume = Volume(image, image.astype(np.int32), affine, 'PSL', mask=image)
    canonical = canonical_volume(volume)
    assert canonical.grid.orientation == 'RAS' and canonical.image.shape == (4, 2, 3)
    voxels = np.stack(np.meshgrid(*map(np.arange, canonical.image.shape), indexing='ij'), -1).reshape(-1, 3)
    places = voxels @ canonical.affine[:3, :3].T + canonical.affine[:3, 3]
    back = np.rint((places - affine[:3, 3]) @ np.linalg.inv(affine[:3, :3]).T).astype(int)
    for turned, original in ((canonical.image, image), (canonical.labels, image), (canonical.mask, image)):
        np.testing.assert_array_equal(turned[tuple(voxels.T)], original[tuple(back.T)])
    assert canonical_volume(canonical) is canonical
