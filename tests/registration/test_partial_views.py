"""Images that show a part of each other, other axis orders, other backgrounds, missing values: the truth is known."""

import dataclasses

import nibabel as nib
import numpy as np
import pytest

from autofuse_jax.data.volumes import Volume
from autofuse_jax.registration.alignment import AlignmentSettings
from autofuse_jax.registration.instance import InstanceSettings
from autofuse_jax.registration.measures import measure_result
from autofuse_jax.registration.pipeline import register_volumes
from autofuse_jax.registration.pipeline_settings import PipelineSettings
from autofuse_jax.transforms.grids import grid_points
from tests.registration.scenes import centred_grid, picture

SETTINGS = PipelineSettings(
    AlignmentSettings(kind='rigid', start='header', spacings=(8.0, 4.0), steps=(20, 15), exact_steps=0),
    InstanceSettings(shrink=(2,), steps=(10,)),
)
# Where it starts is part of what is tried.
SEARCHING = PipelineSettings(
    AlignmentSettings(kind='rigid', spacings=(8.0, 4.0), steps=(20, 15), exact_steps=0), SETTINGS.instance
)
GRID = centred_grid((32, 36, 28), (3.0, 3.0, 3.0))
WHOLE = picture(GRID, name='whole', texture=True)
SLAB = slice(10, 24)


def cut(volume, axis):
    """The part of a volume between two slices, where it is in space."""
    index = [slice(None)] * 3
    index[axis] = SLAB
    affine = volume.affine.copy()
    affine[:3, 3] += affine[:3, axis] * SLAB.start
    return Volume(volume.image[tuple(index)], volume.labels[tuple(index)], affine, 'slab')


def errors(result, inside=None):
    """How far each voxel lands from where it is, millimetres."""
    points = grid_points(result.fixed.grid)
    apart = np.linalg.norm(result.transform.map_points(points) - points, axis=-1)
    return apart if inside is None else apart[inside]


@pytest.mark.parametrize('axis', [0, pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow)])
def test_a_part_of_an_image_stays_where_it_is(axis):
    inside = np.zeros(GRID.shape, bool)
    np.moveaxis(inside, axis, 0)[SLAB] = True
    for fixed, moving, where in ((WHOLE, cut(WHOLE, axis), inside), (cut(WHOLE, axis), WHOLE, None)):
        result = register_volumes(fixed, moving, SEARCHING)
        apart = errors(result, where)
        assert apart.mean() < 0.5 * 3.0 and np.percentile(apart, 95) < 3.0, (axis, apart.mean())
        # Where nothing is known the field is calm.
        assert errors(result).max() < 3 * 3.0


def test_an_image_is_registered_to_itself_by_the_identity():
    result = register_volumes(WHOLE, dataclasses.replace(WHOLE, name='copy'), SETTINGS)
    assert errors(result).max() < 0.01 * 3.0
    np.testing.assert_allclose(result.moved, WHOLE.image, atol=0.02)


def reordered(volume, codes):
    turn = nib.orientations.ornt_transform(
        nib.io_orientation(volume.affine), nib.orientations.axcodes2ornt(tuple(codes))
    )
    image, labels = (np.ascontiguousarray(nib.apply_orientation(a, turn)) for a in (volume.image, volume.labels))
    affine = volume.affine @ nib.orientations.inv_ornt_aff(turn, volume.image.shape)
    return Volume(image, labels, affine, codes)


@pytest.fixture(scope='module')
def moving():
    shift = np.asarray([3.0, -2.0, 1.5])
    return picture(GRID, lambda points: points - shift + 2.0 * np.sin(points[..., ::-1] / 18.0), 'moving', texture=True)


@pytest.fixture(scope='module')
def result(moving):
    return register_volumes(WHOLE, moving, SETTINGS)


@pytest.mark.parametrize('codes', [pytest.param('PIR', marks=pytest.mark.slow), 'ASL'])
def test_the_order_of_the_axes_in_a_file_changes_nothing(moving, result, codes):
    again = register_volumes(reordered(WHOLE, codes), reordered(moving, 'LPS'), SETTINGS)
    points = grid_points(GRID)
    apart = np.linalg.norm(again.transform.map_points(points) - result.transform.map_points(points), axis=-1)
    assert apart.max() < 0.01, apart.max()
    assert again.moved.shape == reordered(WHOLE, codes).image.shape


def test_an_offset_and_a_scale_of_the_grey_values_change_nothing(moving, result):
    other = dataclasses.replace(moving, image=0.5 * moving.image - 1024)
    again = register_volumes(dataclasses.replace(WHOLE, image=3 * WHOLE.image + 200), other, SETTINGS)
    np.testing.assert_allclose(again.transform.displacement, result.transform.displacement, atol=0.02)


def test_missing_values_have_no_say(moving, result):
    image, mask = moving.image.copy(), np.ones(GRID.shape, np.float32)
    image[:, :3], mask[:, :3] = np.nan, 0
    by_nan = register_volumes(WHOLE, dataclasses.replace(moving, image=image), SETTINGS)
    by_mask = register_volumes(WHOLE, dataclasses.replace(moving, mask=mask), SETTINGS)
    assert np.isfinite(by_nan.transform.displacement).all()
    np.testing.assert_allclose(by_nan.transform.displacement, by_mask.transform.displacement, atol=1e-3)


def test_noise_outside_a_moving_mask_has_no_say(moving, result):
    image, mask = moving.image.copy(), np.ones(GRID.shape, np.float32)
    image[:, 30:] = np.random.default_rng(0).uniform(0, 3000, image[:, 30:].shape)
    mask[:, 30:] = 0
    masked = register_volumes(WHOLE, dataclasses.replace(moving, image=image, mask=mask), SETTINGS)
    apart = np.abs(masked.transform.displacement - result.transform.displacement)[:, :26]
    assert apart.mean() < 0.25, apart.mean()


@pytest.mark.parametrize('weight', [pytest.param(1.0, marks=pytest.mark.slow), 0.3])
def test_a_small_mask_aligns_what_it_shows_whatever_its_weights(weight):
    # A ball of a twentieth of the voxels, soft at its edge, on the moving image or on both.
    distance = np.linalg.norm(grid_points(GRID) - np.array([0.0, 6.0, -3.0]), axis=-1)
    radius = np.quantile(distance, 0.05)
    mask = (weight * np.clip((1.2 * radius - distance) / (0.4 * radius), 0, 1)).astype(np.float32)
    moving = picture(GRID, lambda points: points - np.array([4.0, -3.0, 3.0]), name='moving', texture=True)
    settings = PipelineSettings(SETTINGS.alignment, None)
    shift = np.array([4.0, -3.0, 3.0])
    place = np.roll(mask, (1, -1, 1), (0, 1, 2))
    for fixed in (WHOLE, dataclasses.replace(WHOLE, mask=mask)):
        result = register_volumes(fixed, dataclasses.replace(moving, mask=place), settings)
        points = grid_points(GRID)[mask > 0.5 * weight]
        apart = np.linalg.norm(result.transform.map_points(points) - points - shift, axis=-1)
        assert apart.max() < 0.5 * 3.0, apart.max()
        measures = measure_result(result)
        assert measures.verdict.level != 'failed', measures.verdict.warnings
        # Little of the fixed image is covered, as much as the mask has.
        assert measures.evidence['covered_percent'] < 25 < 80 < measures.evidence['shared_percent'] < 120
