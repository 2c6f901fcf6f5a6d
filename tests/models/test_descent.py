"""Steps that are learned: the forces that they are told, and what the network makes of them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autofuse_jax.errors import UserError
from autofuse_jax.fields import upsample_displacement
from autofuse_jax.models.autofuse import AutoFuse
from autofuse_jax.models.descent import (
    LONGEST_STEP,
    DescentBranch,
    averaged,
    central_difference,
    class_weights,
    descend,
    evidence_of,
    gauss_newton,
    mean_matrix,
    pulls,
)
from autofuse_jax.models.field_outputs import of_velocity, on_grid_of
from tests.quick import quick_jit, quick_key, random_params

CLASSES = 3
MODEL = AutoFuse(base_channels=2, num_classes=CLASSES, large_kernel=False, fusion_channels=2, descent_channels=2)
SIZE = (16, 16, 16)
CHANNELS = 1 + CLASSES
# Of what `evidence_of` returns: channels of both images, two steps, pulls and squares of all channels but the
# background, and the velocity.
PULLED = CHANNELS - 1
EVIDENCE = 2 * CHANNELS + 2 * 3 + 4 * PULLED + 3


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


@pytest.mark.parametrize(('size', 'fine'), [(8, 16), (8, 32), (4, 12)])
def test_means_have_the_weights_with_which_a_velocity_moves_the_images(size, fine):
    matrix = mean_matrix(size, fine)
    np.testing.assert_allclose(matrix.sum(axis=1), 1.0)

    def on_images(line):
        field = jnp.zeros((size, 2, 2, 3)).at[..., 0].set(line[:, None, None])
        shape = (fine, 4, 4)
        return on_grid_of(jnp.zeros((1, *shape, 1)), upsample_displacement(field)[None])[0, :, 0, 0, 0]

    moved = jax.jacobian(on_images)(jnp.zeros(size))
    np.testing.assert_allclose(matrix, (moved / moved.sum(axis=0)).T, atol=1e-6)


def test_a_constant_is_its_own_mean_along_all_axes():
    volume = jnp.broadcast_to(jnp.array([1.0, -2.0]), (2, 8, 12, 4, 2))
    np.testing.assert_allclose(averaged(volume, (4, 3, 2)), volume[:, :4, :3, :2], rtol=1e-5)
    ramp = jnp.broadcast_to(jnp.arange(12.0)[None, None, :, None, None], (1, 8, 12, 4, 1))
    np.testing.assert_allclose(averaged(ramp, (4, 3, 2))[0, 0, :, 0, 0], mean_matrix(3, 12) @ np.arange(12), rtol=1e-5)


def test_classes_count_the_same_whatever_their_size():
    """Shares 0.1, 0.2 and 0.003: the mean is 0.101, and the smallest counts no more than four times the mean."""
    fixed = jnp.broadcast_to(jnp.array([0.5, 0.697, 0.1, 0.2, 0.003]), (1, 2, 2, 2, 5))
    np.testing.assert_allclose(class_weights(fixed, fixed), [[1.0, 1.01, 0.505, 4.0]], rtol=1e-4)
    np.testing.assert_array_equal(class_weights(fixed[..., :1], fixed[..., :1]), [[1.0]])
    # Nothing is segmented: no weight is without bounds.
    assert np.all(np.isfinite(class_weights(0.0 * fixed, 0.0 * fixed)))


def segmented(fixed, moving):
    """Images with a class that is what they show, (B, D, H, W, 2 + 2 x 2)."""
    return jnp.concatenate([fixed, moving, 1.0 - fixed, fixed, 1.0 - moving, moving], axis=-1)


def test_steps_that_are_suggested_bring_images_together():
    """The sign and the grids are those of a velocity: a branch that adds what is suggested registers two balls."""
    images = segmented(ball((7.5, 7.5, 7.5)), ball((9.0, 7.5, 6.5)))
    start = jnp.zeros((1, 8, 8, 8, 3))
    velocities = descend(lambda evidence, suggested: suggested, [images], start, 12)

    def left(velocity):
        output = of_velocity(velocity, images[..., 1:2])
        return float(jnp.mean(jnp.square(output.warped - images[..., :1])))

    differences = [left(velocity) for velocity in (start, *velocities)]
    assert all(after < before for before, after in zip(differences[:6], differences[1:7], strict=True))
    assert differences[-1] < 0.05 * differences[0]
    # Pull: the moving ball lies further along the first axis, by 0.75 voxels of this grid, and nearer along the third,
    # by 0.5. Within the ball, where the images show nothing, nothing smooths these steps.
    first, second, third = velocities[-1][0, 3:5, 3:5, 3:5].mean((0, 1, 2))
    assert 0.3 < first < 1.0 and abs(second) < 1e-3 and -0.7 < third < -0.2


def test_what_a_step_is_told_in_its_order():
    images = jax.random.uniform(quick_key(6), (1, *SIZE, 2 + 2 * CLASSES))
    shape, factor = (8, 8, 4), jnp.array([2.0, 2.0, 4.0])
    told, suggested = evidence_of(images, jnp.zeros((1, *shape, 3)))
    assert told.shape == (1, *shape, EVIDENCE) and suggested.shape == (1, *shape, 3)
    sides = [[0, *range(2, 2 + CLASSES)], [1, *range(2 + CLASSES, 2 + 2 * CLASSES)]]
    fixed, moving = (images[..., channels] for channels in sides)
    seen = [averaged(side, shape) for side in (fixed, moving)]
    np.testing.assert_allclose(told[..., : 2 * CHANNELS], jnp.concatenate(seen, axis=-1), atol=1e-5)
    foreground = [0, *range(2, CHANNELS)]
    weights = class_weights(*seen)[:, None, None, None]
    pull, square = (averaged(measure, shape) for measure in pulls(fixed[..., foreground], moving[..., foreground]))
    pull, square = weights[..., None, :] * pull.reshape(1, *shape, 3, PULLED), weights * square
    steps = [gauss_newton(pull[..., part], square[..., part]) / factor for part in (slice(0, 1), slice(1, None))]
    np.testing.assert_allclose(told[..., 2 * CHANNELS : 2 * CHANNELS + 6], jnp.concatenate(steps, axis=-1), atol=1e-4)
    np.testing.assert_allclose(suggested, steps[1], atol=1e-4)
    measured = jnp.concatenate([10.0 * pull.reshape(1, *shape, 3 * PULLED), 10.0 * square], axis=-1)
    np.testing.assert_allclose(told[..., 2 * CHANNELS + 6 : -3], measured, atol=1e-4)
    velocity = jax.random.normal(quick_key(7), (1, *shape, 3))
    np.testing.assert_array_equal(evidence_of(images, velocity)[0][..., -3:], velocity)
    # Without classes there is nothing but the images, and what they suggest is not followed blindly.
    told, suggested = evidence_of(images[..., :2], velocity)
    assert told.shape[-1] == 2 + 3 + 4 + 3
    np.testing.assert_array_equal(suggested, 0.0)


def test_no_gradient_goes_from_a_step_into_those_before():
    images = jax.random.uniform(quick_key(7), (1, *SIZE, 2 + 2 * CLASSES))

    def last(factors):
        scaled = iter(factors)
        branch = lambda evidence, suggested: next(scaled) * (evidence[..., -3:] + 1.0)  # noqa: E731
        return jnp.sum(descend(branch, [images], jnp.zeros((1, 8, 8, 8, 3)), 2)[-1])

    first, second = jax.grad(last)(jnp.array([0.1, 0.1]))
    assert first == 0.0 and second != 0.0


def test_axes_of_an_odd_length_stay_as_they_are_and_no_step_is_longer_than_half_a_voxel():
    branch = DescentBranch(2)
    evidence, suggested = 100.0 * jnp.ones((1, 6, 8, 3, EVIDENCE)), 0.1 * jnp.ones((1, 6, 8, 3, 3))
    params = random_params(jax.eval_shape(branch.init, quick_key(), evidence, suggested)['params'])
    added = quick_jit(branch.apply)({'params': params}, evidence, suggested)
    assert added.shape == (1, 6, 8, 3, 3)
    np.testing.assert_allclose(np.max(np.abs(added)), LONGEST_STEP, rtol=1e-3)
    # What it says is added to what is suggested.
    silent = jax.tree.map(jnp.zeros_like, params)
    np.testing.assert_allclose(branch.apply({'params': silent}, evidence, suggested), 0.1, rtol=0.02)


def test_velocities_are_added_and_a_branch_that_says_nothing_follows_the_forces(pair, params):
    def velocity(model, params, images=pair, **options):
        return quick_jit(lambda params: model.apply({'params': params}, *images, **options).velocity_mean)(params)

    without = {name: params[name] for name in ('single_branch', 'fusion_branch')}
    first = velocity(dataclasses.replace(MODEL, descent_channels=0), without)
    silent = params | {'descent_branch': jax.tree.map(jnp.zeros_like, params['descent_branch'])}
    followed = velocity(dataclasses.replace(MODEL, descent_steps=1), silent) - first
    assert 0 < np.max(np.abs(followed)) <= LONGEST_STEP
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
