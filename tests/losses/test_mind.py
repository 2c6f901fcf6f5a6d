"""Self-similarity descriptors: against patches compared one by one, and what they are blind to."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autofuse_jax.losses.mind import CHANNELS, PAIRS, descriptor_similarity, mind_ssc
from tests.quick import quick_jit

SHAPE = (7, 8, 6)
IMAGE = np.random.default_rng(1).random(SHAPE).astype(np.float32)
describe = quick_jit(mind_ssc)


def patch_distance(image, place, first, second):
    """Mean squared difference of two patches of 3^3 voxels, each 2 voxels from the place; the border is repeated."""

    def patch(direction):
        centre = np.asarray(place) + 2 * direction
        return np.array(
            [
                image[tuple(np.clip(centre + (i, j, k), 0, np.asarray(image.shape) - 1))]
                for i in (-1, 0, 1)
                for j in (-1, 0, 1)
                for k in (-1, 0, 1)
            ]
        )

    return np.mean((patch(first).astype(np.float64) - patch(second)) ** 2)


def test_there_are_twelve_pairs_of_neighbours_that_touch_the_same_corner():
    assert CHANNELS == 12
    assert all(np.abs(a).sum() == np.abs(b).sum() == 1 and a @ b == 0 for a, b in PAIRS)
    assert len({frozenset(map(tuple, pair)) for pair in PAIRS}) == 12


def test_is_the_formula():
    distances = np.array(
        [[patch_distance(IMAGE, place, *pair) for pair in PAIRS] for place in np.ndindex(*SHAPE)]
    ).reshape(*SHAPE, 12)
    distances -= distances.min(axis=-1, keepdims=True)
    variance = distances.mean(axis=-1, keepdims=True)
    variance = np.clip(variance, 0.001 * variance.mean(), 1000 * variance.mean())
    np.testing.assert_allclose(describe(IMAGE), np.exp(-distances / variance), atol=2e-4)


@pytest.mark.parametrize('change', [lambda x: 7 - 3 * x, lambda x: 0.01 * x + 5])
def test_contrast_and_brightness_change_nothing(change):
    np.testing.assert_allclose(describe(change(IMAGE)), describe(IMAGE), atol=5e-3)


def test_a_flat_image_is_finite_and_all_ones_and_has_no_gradient():
    flat = np.full(SHAPE, 0.3, np.float32)
    np.testing.assert_array_equal(describe(flat), 1.0)
    gradient = quick_jit(jax.grad(lambda image: jnp.sum(mind_ssc(image) ** 2)))(flat)
    np.testing.assert_array_equal(gradient, 0.0)


def test_similarity_counts_valid_voxels_among_all():
    first, second = np.zeros((2, 2, 2, 12), np.float32), np.full((2, 2, 2, 12), 0.5, np.float32)
    valid = np.zeros((2, 2, 2), np.float32)
    valid[0] = 1
    assert descriptor_similarity(first, second, valid) == pytest.approx(-0.125)
    assert descriptor_similarity(second, second, valid) == 0
