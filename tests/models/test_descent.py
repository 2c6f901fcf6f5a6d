"""Steps that are learned: the forces that they are told, and what the network makes of them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autofuse_jax.errors import UserError
from autofuse_jax.models.autofuse import AutoFuse
from autofuse_jax.models.conv_blocks import downsample
from autofuse_jax.models.descent import (
    LONGEST_STEP,
    DescentBranch,
    central_difference,
    descend,
    evidence_of,
    gauss_newton,
    pulls,
)
from tests.quick import quick_jit, quick_key, random_params

CLASSES = 3
MODEL = AutoFuse(base_channels=2, num_classes=CLASSES, large_kernel=False, fusion_channels=2, descent_channels=2)
SIZE = (16, 16, 16)
CHANNELS = 1 + CLASSES
# Of what `evidence_of` returns: channels of both images, two steps, pulls and squares of all channels, the velocity.
EVIDENCE = 2 * CHANNELS + 2 * 3 + 4 * CHANNELS + 3


@pytest.fixture(scope='module')
def pair():
    return [jax.random.uniform(quick_key(seed), (1, *SIZE, 1)) for seed in (1, 2)]


@pytest.fixture(scope='module')
def params(pair):
    return random_params(jax.eval_shape(MODEL.init, quick_key(), *pair)['params'])


def ball(centre, radius=4.0, width=1.5):
    """A ball with a soft border, (1, 16, 16, 16, 1)."""
    places = jnp.stack(jnp.meshgrid(*(jnp.arange(16.0) for _ in range(3)), indexing='ij'), axis=-1)
    distance = jnp.linalg.norm(places - jnp.asarray(centre), axis=-1)
    return jax.nn.sigmoid((radius - distance) / width)[None, ..., None]


def test_differences_are_those_of_numpy_away_from_the_ends():
    volume = jax.random.normal(quick_key(3), (2, 4, 5, 6, 3))
    for axis in (1, 2, 3):
        inner = [slice(1, -1) if number == axis else slice(None) for number in range(5)]
        expected = np.gradient(np.asarray(volume), axis=axis)[tuple(inner)]
        np.testing.assert_allclose(central_difference(volume, axis)[tuple(inner)], expected, atol=1e-6)
    ends = central_difference(volume, 1)
    np.testing.assert_allclose(ends[:, 0], 0.5 * (volume[:, 1] - volume[:, 0]), atol=1e-6)
    np.testing.assert_allclose(ends[:, -1], 0.5 * (volume[:, -1] - volume[:, -2]), atol=1e-6)


def step_of(fixed, warped):
    """The step that voxels suggest, each on its own."""
    pull, square = pulls(fixed, warped)
    return gauss_newton(pull.reshape(*pull.shape[:-1], 3, -1), square)


def test_a_step_by_hand():
    """Two ramps along the first axis of slope 0.2, the fixed one 0.1 higher: 0.02 / (0.04 + 0.01)."""
    ramp = jnp.broadcast_to(0.2 * jnp.arange(5.0)[None, :, None, None, None], (1, 5, 4, 4, 1))
    one = step_of(ramp + 0.1, ramp)
    np.testing.assert_allclose(one[:, 1:-1, ..., 0], 0.02 / 0.05, rtol=1e-5)
    np.testing.assert_allclose(one[..., 1:], 0.0, atol=1e-7)
    # A second channel without any gradient takes no part, and one that is as wrong the other way undoes the step.
    flat, opposite = jnp.ones_like(ramp), ramp - 0.1
    for other, expected in (((flat, 0.5 * flat), one), ((opposite, ramp), jnp.zeros_like(one))):
        both = [jnp.concatenate(channels, axis=-1) for channels in zip((ramp + 0.1, ramp), other, strict=True)]
        np.testing.assert_allclose(step_of(*both), expected, atol=1e-6)


def test_nothing_pulls_without_a_difference():
    fixed = jax.random.normal(quick_key(4), (1, 8, 8, 8, 2))
    pull, square = pulls(fixed, fixed)
    np.testing.assert_array_equal(pull, 0.0)
    assert float(jnp.min(square)) >= 0 and float(jnp.max(square)) > 0.1


def test_steps_along_the_forces_bring_images_together():
    """The sign and the grids are those of a velocity: a branch that returns half the step registers two balls."""
    fixed, moving = ball((7.5, 7.5, 7.5)), ball((9.0, 7.5, 6.5))
    images = jnp.concatenate([fixed, moving], axis=-1)
    velocities = descend(lambda evidence: 0.5 * evidence[..., 2:5], [images], jnp.zeros((1, 8, 8, 8, 3)), 12)
    warped = [evidence_of(images, velocity)[..., 1] for velocity in (jnp.zeros((1, 8, 8, 8, 3)), *velocities)]
    wanted = evidence_of(images, velocities[0])[..., 0]
    left = [float(jnp.mean(jnp.square(there - wanted))) for there in warped]
    assert all(after < before for before, after in zip(left[:5], left[1:6], strict=True))
    assert left[-1] < 0.1 * left[0]
    # Pull: the moving ball lies further along the first axis, by 0.75 voxels of this grid, and nearer along the third,
    # by 0.5. Within the ball, where the images show nothing, nothing smooths these steps.
    first, second, third = velocities[-1][0, 3:5, 3:5, 3:5].mean((0, 1, 2))
    assert 0.3 < first < 0.8 and abs(second) < 1e-4 and -0.6 < third < -0.2


def test_what_a_step_is_told_in_its_order():
    images = jax.random.uniform(quick_key(6), (1, *SIZE, 2 + 2 * CLASSES))
    told = evidence_of(images, jnp.zeros((1, 8, 8, 4, 3)))
    assert told.shape == (1, 8, 8, 4, EVIDENCE)
    factor = (2, 2, 4)
    sides = [[0, *range(2, 2 + CLASSES)], [1, *range(2 + CLASSES, 2 + 2 * CLASSES)]]
    fixed, moving = (images[..., channels] for channels in sides)
    for place, side in enumerate((fixed, moving)):
        found = told[..., place * CHANNELS : (place + 1) * CHANNELS]
        np.testing.assert_allclose(found, downsample(side, factor), atol=1e-5)
    pull, square = (downsample(measure, factor) for measure in pulls(fixed, moving))
    split = pull.reshape(*pull.shape[:-1], 3, CHANNELS)
    for place, channels in enumerate((slice(0, 1), slice(1, None))):
        step = gauss_newton(split[..., channels], square[..., channels]) / jnp.asarray(factor)
        start = 2 * CHANNELS + 3 * place
        np.testing.assert_allclose(told[..., start : start + 3], step, atol=1e-4)
    measured = jnp.concatenate([10.0 * pull, 10.0 * square], axis=-1)
    np.testing.assert_allclose(told[..., 2 * CHANNELS + 6 : -3], measured, atol=1e-4)
    velocity = jax.random.normal(quick_key(7), (1, 8, 8, 4, 3))
    np.testing.assert_array_equal(evidence_of(images, velocity)[..., -3:], velocity)
    # Without classes there is nothing but the images.
    assert evidence_of(images[..., :2], velocity).shape[-1] == 2 + 3 + 4 + 3


def test_no_gradient_goes_from_a_step_into_those_before():
    images = jax.random.uniform(quick_key(7), (1, *SIZE, 2 + 2 * CLASSES))

    def last(factors):
        scaled = iter(factors)
        branch = lambda evidence: next(scaled) * (evidence[..., -3:] + 1.0)  # noqa: E731
        return jnp.sum(descend(branch, [images], jnp.zeros((1, 8, 8, 8, 3)), 2)[-1])

    first, second = jax.grad(last)(jnp.array([0.1, 0.1]))
    assert first == 0.0 and second != 0.0


def test_axes_of_an_odd_length_stay_as_they_are_and_no_step_is_longer_than_half_a_voxel():
    branch, evidence = DescentBranch(2), 100.0 * jnp.ones((1, 6, 8, 3, EVIDENCE))
    params = random_params(jax.eval_shape(branch.init, quick_key(), evidence)['params'])
    added = quick_jit(branch.apply)({'params': params}, evidence)
    assert added.shape == (1, 6, 8, 3, 3)
    np.testing.assert_allclose(np.max(np.abs(added)), LONGEST_STEP, rtol=1e-3)


def test_velocities_are_added_and_a_branch_that_says_nothing_changes_nothing(pair, params):
    def velocity(model, params, images=pair, **options):
        return quick_jit(lambda params: model.apply({'params': params}, *images, **options).velocity_mean)(params)

    without = {name: params[name] for name in ('single_branch', 'fusion_branch')}
    first = velocity(dataclasses.replace(MODEL, descent_channels=0), without)
    silent = params | {'descent_branch': jax.tree.map(jnp.zeros_like, params['descent_branch'])}
    np.testing.assert_allclose(velocity(MODEL, silent), first, atol=1e-6)
    thrice = velocity(MODEL, params)
    assert np.max(np.abs(thrice - first)) > 0.05 * np.ptp(first)
    assert np.max(np.abs(velocity(dataclasses.replace(MODEL, descent_steps=1), params) - thrice)) > 0
    # The images exchanged: the opposite velocity, of every step.
    here = velocity(MODEL, params, symmetric=True)
    np.testing.assert_allclose(
        velocity(MODEL, params, pair[::-1], symmetric=True), -here, atol=1e-4 * float(np.ptp(here))
    )


def test_a_displacement_is_not_corrected_and_no_step_is_none():
    with pytest.raises(UserError, match='descent_channels is 4 and model.output'):
        AutoFuse(descent_channels=4, output='displacement')
    with pytest.raises(UserError, match='model.descent_steps'):
        AutoFuse(descent_steps=0)
