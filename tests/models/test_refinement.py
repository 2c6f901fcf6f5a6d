"""A second branch that corrects the velocity of the first: what it is given, and what the network makes of both."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autofuse_jax.errors import UserError
from autofuse_jax.models.autofuse import AutoFuse
from autofuse_jax.models.refinement import with_moved
from tests.quick import quick_jit, quick_key, random_params

MODEL = AutoFuse(base_channels=2, num_classes=3, large_kernel=False, fusion_channels=2, refining_channels=2)
SIZE, CLASSES = (16, 16, 16), 3


@pytest.fixture(scope='module')
def pair():
    return [jax.random.uniform(quick_key(seed), (1, *SIZE, 1)) for seed in (1, 2)]


@pytest.fixture(scope='module')
def params(pair):
    return random_params(jax.eval_shape(MODEL.init, quick_key(), *pair)['params'])


def inputs(size=SIZE):
    draw = lambda seed, *shape: jax.random.normal(quick_key(seed), (1, *shape))  # noqa: E731
    half = tuple(length // 2 for length in size)
    features = [(draw(seed, *half, 2), draw(seed + 1, *(length // 2 for length in half), 4)) for seed in (10, 20)]
    return draw(0, *size, 2 + 2 * CLASSES), *features


def test_without_motion_the_inputs_are_the_same():
    given = inputs()
    moved = with_moved(given, jnp.zeros((1, 8, 8, 8, 3)))
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, atol=1e-6), moved, given)


def test_everything_of_the_moving_image_moves_and_nothing_of_the_fixed():
    images, of_fixed, of_moving = inputs()
    # One voxel of the velocity's grid along the first axis: two of the images, one and half a one of the features.
    # Towards the far end, where nothing comes in, the field of a velocity is smaller.
    velocity = jnp.zeros((1, 8, 8, 8, 3)).at[..., 0].set(1.0)
    moved, fixed_after, moving_after = with_moved((images, of_fixed, of_moving), velocity)
    jax.tree.map(np.testing.assert_array_equal, fixed_after, of_fixed)
    of_moving_image = [1, *range(2 + CLASSES, 2 + 2 * CLASSES)]
    others = [channel for channel in range(images.shape[-1]) if channel not in of_moving_image]
    np.testing.assert_array_equal(moved[..., others], images[..., others])
    np.testing.assert_allclose(moved[:, :8, ..., of_moving_image], images[:, 2:10, ..., of_moving_image], atol=1e-3)
    np.testing.assert_allclose(moving_after[0][:, :4], of_moving[0][:, 1:5], atol=1e-3)
    halves = 0.5 * (of_moving[1][:, :2] + of_moving[1][:, 1:3])
    np.testing.assert_allclose(moving_after[1][:, :2], halves, atol=1e-3)


def test_no_gradient_goes_through_the_warping():
    given = inputs()
    gradient = jax.grad(lambda velocity: jnp.sum(with_moved(given, velocity)[0] ** 2))(jnp.ones((1, 8, 8, 8, 3)))
    np.testing.assert_array_equal(gradient, 0)


def test_velocities_are_added_and_a_branch_that_says_nothing_changes_nothing(pair, params):
    def velocity(model, params, **options):
        return quick_jit(lambda params: model.apply({'params': params}, *pair, **options).velocity_mean)(params)

    without = {name: params[name] for name in ('single_branch', 'fusion_branch')}
    first = velocity(dataclasses.replace(MODEL, refining_channels=0), without)
    silent = params | {'refining_branch': jax.tree.map(jnp.zeros_like, params['refining_branch'])}
    np.testing.assert_allclose(velocity(MODEL, silent), first, atol=1e-6)
    both = velocity(MODEL, params)
    assert np.max(np.abs(both - first)) > 0.1 * np.ptp(first)
    # The images exchanged: the opposite velocity, of the correction too.
    here = velocity(MODEL, params, symmetric=True)
    pair.reverse()
    exchanged = velocity(MODEL, params, symmetric=True)
    pair.reverse()
    np.testing.assert_allclose(exchanged, -here, atol=1e-4 * np.ptp(here))


def test_a_displacement_is_not_refined():
    with pytest.raises(UserError, match='refining_channels is 4 and model.output'):
        AutoFuse(refining_channels=4, output='displacement')
