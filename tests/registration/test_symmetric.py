"""Exchanged images: the same map, turned round."""

import dataclasses

import numpy as np
import pytest

from autofuse_jax.data.volumes import Volume
from autofuse_jax.errors import UserError
from autofuse_jax.registration import symmetric
from autofuse_jax.registration.guide import Guide
from autofuse_jax.registration.images import register_images
from autofuse_jax.registration.instance import InstanceSettings
from autofuse_jax.registration.pipeline_settings import PipelineSettings
from autofuse_jax.registration.symmetric import register_symmetrically, structure_size
from autofuse_jax.transforms.grids import grid_points
from tests.registration.scenes import bulge, centred_grid, picture
from tests.registration.test_pipeline import FIXED_GRID, MOVING_GRID
from tests.registration.test_pipeline import QUICK as SETTINGS

# One level of each, and with that one program.
QUICK = dataclasses.replace(
    SETTINGS,
    alignment=dataclasses.replace(SETTINGS.alignment, spacings=(8.0,), steps=(20,)),
    instance=InstanceSettings(shrink=(2,), steps=(10,), smoothness=0.2),
)
LENGTHS = 64 / (2 * np.pi) / np.array([2.0, 1.0])
NOTHING = PipelineSettings(dataclasses.replace(QUICK.alignment, kind='none', start='header'), None)


@pytest.fixture(scope='module')
def pair():
    fixed = picture(FIXED_GRID, bulge, 'fixed', texture=True)
    moving = picture(MOVING_GRID, lambda points: points, 'moving', texture=True)
    return fixed, moving


@pytest.fixture(scope='module')
def both(pair):
    fixed, moving = pair
    return register_symmetrically(fixed, moving, QUICK), register_symmetrically(moving, fixed, QUICK)


def test_exchanged_images_give_the_same_maps_the_other_way_round(pair, both):
    one, other = both
    for ours, theirs in ((one.transform, other.inverse), (one.inverse, other.transform)):
        np.testing.assert_array_equal(ours.displacement, theirs.displacement)
        np.testing.assert_array_equal(ours.affine, theirs.affine)
    points = grid_points(pair[0].grid)
    back = other.alignment.map_points(one.alignment.map_points(points))
    np.testing.assert_allclose(back, points, atol=1e-6)
    np.testing.assert_allclose(one.chain.map_points(points), other.inverse_chain.map_points(points))
    np.testing.assert_allclose(one.alignment_record.matrix, one.alignment.matrix, atol=1e-9)


def test_each_result_is_one_of_its_own_images(pair, both):
    for result, fixed, moving in ((both[0], *pair), (both[1], *reversed(pair))):
        assert result.fixed is fixed and result.moving is moving
        assert result.moved.shape == result.moved_labels.shape == fixed.image.shape
        before = np.corrcoef(fixed.image.ravel(), register_images(fixed, moving, NOTHING).moved.ravel())[0, 1]
        after = np.corrcoef(fixed.image.ravel(), result.moved.ravel())[0, 1]
        assert after > before


def test_the_size_of_structures_is_in_millimetres_and_knows_no_units_of_intensity():
    grid = centred_grid((32, 32, 32), (2.0, 2.0, 2.0))
    points = grid_points(grid)
    waves = [np.sin(points[..., 0] / length).astype(np.float32) for length in LENGTHS]
    sizes = [structure_size(Volume(wave, None, grid.affine, 'wave')) for wave in waves]
    # Of a sine of wave number 1 / L: standard deviation 1 / sqrt(2), mean slope 2 / (pi L).
    np.testing.assert_allclose(sizes, np.pi * LENGTHS / 2**1.5, rtol=0.05)
    scaled = Volume(500 - 30 * waves[0], None, grid.affine, 'scaled')
    np.testing.assert_allclose(structure_size(scaled), sizes[0], rtol=1e-3)
    assert structure_size(Volume(np.ones((4, 4, 4), np.float32), None, np.eye(4), 'flat')) == 0.0


def test_a_guide_is_turned_round_with_the_images(pair, monkeypatch):
    given = {}

    def remembering(fixed, moving, settings, *, guide, on_progress):
        given[fixed.name] = guide
        raise InterruptedError

    monkeypatch.setattr(symmetric, 'register_volumes', remembering)
    points = np.array([[0.0, 0, 0], [10, 0, 0], [0, 10, 0]])
    guide = Guide(fixed_points=points, moving_points=points + [3.0, 0, 0], source='points')
    for images in (pair, pair[::-1]):
        with pytest.raises(InterruptedError):
            register_symmetrically(*images, QUICK, guide=guide)
    # Always the same image comes first, with the points that were named for it.
    (name,) = given
    assert name == max(pair, key=structure_size).name
    assert given[name].fixed_points is (guide.moving_points if pair[0].name == name else guide.fixed_points)


@pytest.mark.parametrize('what', ['shifted', 'mirrored', 'header'])
def test_of_copies_the_same_one_comes_first_from_either_side(monkeypatch, what):
    given = []

    def remembering(fixed, moving, settings, *, guide, on_progress):
        given.append(fixed.name)
        raise InterruptedError

    monkeypatch.setattr(symmetric, 'register_volumes', remembering)
    image = np.zeros((16, 16, 16), np.float32)
    image[4:9, 5:11, 4:12] = 1.0
    copy = {'shifted': np.roll(image, 2, axis=0), 'mirrored': image[::-1].copy(), 'header': image}[what]
    away = np.eye(4)
    away[:3, 3] = 5.0
    pair = Volume(image, None, np.eye(4), 'image'), Volume(copy, None, away if what == 'header' else np.eye(4), 'copy')
    assert structure_size(pair[0]) == structure_size(pair[1])
    for images in (pair, pair[::-1]):
        with pytest.raises(InterruptedError):
            register_symmetrically(*images, QUICK)
    assert given[0] == given[1]


def test_what_has_a_direction_is_refused(pair):
    with pytest.raises(UserError, match='symmetric registration together with a network or initial'):
        register_images(*pair, QUICK, symmetric=True, model='cardiac')
    with pytest.raises(UserError, match='symmetric registration together with a network or initial'):
        register_images(*pair, QUICK, symmetric=True, initial=['a.mat'])
    with pytest.raises(UserError, match='samples of a symmetric registration'):
        register_images(*pair, dataclasses.replace(QUICK, samples=2), symmetric=True)
    with pytest.raises(UserError, match='guide of a symmetric registration lies in the world of the fixed image'):
        register_symmetrically(*pair, QUICK, guide=Guide(source='classes', aligned=True))
