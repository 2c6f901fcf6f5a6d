"""Whether two images show the same contrast."""

import dataclasses

import numpy as np
import pytest

from autofuse_jax.data.intensity import window_normalise
from autofuse_jax.registration.contrast import contrast_of, match_contrast, matched_volumes
from autofuse_jax.registration.working_grid import PairOnGrid
from tests.registration.scenes import centred_grid, picture

GRID = centred_grid((32, 36, 28), (3.0, 3.0, 3.0))
SCENE = picture(GRID, texture=True)


def seen_as(change):
    noise = np.random.default_rng(0).normal(size=GRID.shape)
    image = np.where(SCENE.image > 5, change(SCENE.image / 100), 0.0)
    return dataclasses.replace(SCENE, image=(image + 0.01 * np.abs(noise)).astype(np.float32))


@pytest.mark.parametrize(
    ('change', 'same'),
    [
        (lambda x: x, True),
        (lambda x: 3 * x + 0.4, True),
        (lambda x: 1.3 - x, False),
        (lambda x: np.abs(x - 0.5) + 0.3, False),
    ],
    ids=['itself', 'scaled', 'inverted', 'not monotonic'],
)
def test_contrast_is_told_apart(change, same):
    contrast = contrast_of(SCENE, seen_as(change), np.eye(4))
    assert contrast.same is same and contrast.dependence > 0.6, contrast
    assert ('same' in contrast.sentence()) is same


def test_a_photographic_negative_suits_a_squared_correlation():
    negative = dataclasses.replace(SCENE, image=130 - SCENE.image)
    contrast = contrast_of(SCENE, negative, np.eye(4))
    assert contrast.same and contrast.correlation < -0.9


def test_too_little_to_compare_is_called_the_same():
    mask = np.zeros(GRID.shape, np.float32)
    mask[15:18, 17:20, 13:16] = 1
    contrast = contrast_of(dataclasses.replace(SCENE, mask=mask), SCENE, np.eye(4))
    assert contrast.same and np.isnan(contrast.correlation)


@pytest.mark.parametrize('swap', [False, True], ids=['function of the fixed image', 'function of the moving image'])
def test_each_image_gets_the_contrast_of_the_other(swap):
    other = seen_as(lambda x: np.abs(x - 0.5) + 0.3)
    images = [window_normalise(volume).image for volume in (SCENE, other)]
    pair = PairOnGrid(*(images[::-1] if swap else images), None, np.ones(GRID.shape, np.float32))
    by_fixed, by_moving = match_contrast(pair)
    assert by_fixed.moving is pair.moving and by_moving.fixed is pair.fixed
    assert np.corrcoef(images[0].ravel(), images[1].ravel())[0, 1] < 0.8
    followed, guessed = (by_moving, by_fixed) if swap else (by_fixed, by_moving)
    assert correlation(followed) > 0.98, 'of a function that there is'
    assert correlation(guessed) > 0.96, 'back from it, where two grey values became one: by what lies around'
    for one in (by_fixed, by_moving):
        assert min(one.fixed.min(), one.moving.min()) >= 0 and max(one.fixed.max(), one.moving.max()) <= 1


def test_where_the_images_share_nothing_they_stay_as_they_are():
    image = window_normalise(SCENE).image
    fixed_valid, moving_valid = np.zeros(GRID.shape, np.float32), np.zeros(GRID.shape, np.float32)
    fixed_valid[:16], moving_valid[16:] = 1, 1
    pair = PairOnGrid(image, 1 - image, fixed_valid, moving_valid)
    assert match_contrast(pair) == (pair, pair)


def correlation(pair):
    return np.corrcoef(pair.fixed.ravel(), pair.moving.ravel())[0, 1]


def test_a_contrast_is_compared_where_a_field_moves_the_image():
    image = window_normalise(SCENE).image
    other = np.roll(window_normalise(seen_as(lambda x: 1.3 - x)).image, 6, axis=0)
    field = np.zeros((*GRID.shape, 3))
    field[..., 0] = 6
    pair = PairOnGrid(image, other, None, np.ones(GRID.shape, np.float32))
    apart, moved = (match_contrast(pair, displacement)[0] for displacement in (None, field))
    lying = [np.roll(one.fixed, 6, axis=0) for one in (apart, moved)]
    alike = [np.corrcoef(a.ravel(), b.moving.ravel())[0, 1] for a, b in zip(lying, (apart, moved), strict=True)]
    assert alike[1] > 0.99 > 0.9 > alike[0], alike


def test_matched_volumes_lie_on_one_grid_in_the_contrast_of_one():
    # A function of the fixed image that does not lead back: what can be told is the moving image.
    shift = np.eye(4)
    shift[:3, 3] = [6.0, 0.0, 3.0]
    seen = seen_as(lambda x: np.abs(x - 0.5) + 0.3)
    moving = dataclasses.replace(seen, affine=shift @ seen.affine, labels=None, name='moving')
    fixed, moved = matched_volumes(SCENE, moving, shift)
    assert fixed.grid.same_as(moved.grid) and fixed.labels is moved.labels is None
    assert np.abs(fixed.grid.centre_mm - SCENE.grid.centre_mm).max() < 1e-6
    assert (fixed.name, moved.name) == (SCENE.name, 'moving')
    valid = (fixed.mask > 0.5) & (moved.mask > 0.5)
    assert valid.mean() > 0.95 and np.corrcoef(fixed.image[valid], moved.image[valid])[0, 1] > 0.98
    # It is the fixed image that was given another contrast.
    assert np.abs(fixed.image).max() <= 1 and moved.image[valid].std() > 0.1


def test_images_that_say_nothing_of_each_other_show_no_same_contrast():
    noise = np.random.default_rng(1).normal(size=SCENE.image.shape).astype(np.float32)
    shuffled = dataclasses.replace(SCENE, image=100 + 10 * noise + 0.02 * SCENE.image)
    contrast = contrast_of(SCENE, shuffled, np.eye(4))
    assert contrast.dependence < 0.35 and not contrast.same
