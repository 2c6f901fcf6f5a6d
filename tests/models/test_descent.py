"""Steps that are learned: the forces that they are told, and what the network makes of them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autofuse_jax.errors import UserError
from autofuse_jax.models.autofuse import AutoFuse
from autofuse_jax.models.conv_blocks import downsample
from autofuse_jax.models.descent import DescentBranch, central_difference, descend, evidence_of, forces
from tests.quick import quick_jit, quick_key, random_params

CLASSES = 3
MODEL = AutoFuse(base_channels=2, num_classes=CLASSES, large_kernel=False, fusion_channels=2, descent_channels=2)
SIZE = (16, 16, 16)
# Of what `evidence_of` returns: images, segmentations, two forces, displacement.
EVIDENCE = 2 + 2 * CLASSES + 3 * 3


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


def test_a_force_by_hand():
    """Two ramps along the first axis of slope 0.2, the fixed one 0.1 higher: 0.02 / (0.04 + 0.01 + 0.001)."""
    ramp = jnp.broadcast_to(0.2 * jnp.arange(5.0)[None, :, None, None, None], (1, 5, 4, 4, 1))
    one = forces(ramp + 0.1, ramp)
    np.testing.assert_allclose(one[:, 1:-1, ..., 0], 0.02 / 0.051, rtol=1e-5)
    np.testing.assert_allclose(one[..., 1:], 0.0, atol=1e-7)
    # A second channel without any gradient and difference takes no part.
    both = forces(*(jnp.concatenate([image, jnp.ones_like(image)], axis=-1) for image in (ramp + 0.1, ramp)))
    np.testing.assert_allclose(both, one, rtol=1e-5)


def test_forces_are_at_most_half_a_voxel_and_vanish_without_a_difference():
    fixed, warped = (jax.random.normal(quick_key(seed), (1, 8, 8, 8, 2)) for seed in (4, 5))
    lengths = jnp.linalg.norm(forces(fixed, warped), axis=-1)
    assert 0.3 < float(jnp.max(lengths)) <= 0.5 + 1e-6
    np.testing.assert_array_equal(forces(fixed, fixed), 0.0)


def test_steps_along_the_forces_bring_images_together():
    """The sign and the grids are those of a velocity: a branch that returns the mean force registers two balls."""
    fixed, moving = ball((7.5, 7.5, 7.5)), ball((9.0, 7.5, 6.5))
    along = lambda evidence: 0.5 * downsample(evidence[..., 2:5])  # noqa: E731
    velocities = descend(along, [jnp.concatenate([fixed, moving], axis=-1)], jnp.zeros((1, 8, 8, 8, 3)), 12)
    left = [
        float(jnp.mean(jnp.square(evidence[..., 0] - evidence[..., 1])))
        for velocity in (jnp.zeros((1, 8, 8, 8, 3)), *velocities)
        for evidence in [evidence_of(jnp.concatenate([fixed, moving], axis=-1), velocity)]
    ]
    assert all(after < before for before, after in zip(left, left[1:], strict=False))
    assert left[-1] < 0.1 * left[0]
    # Pull: the moving ball lies further along the first axis and nearer along the third; half as much on this grid.
    on_ball = velocities[-1][0, 3:5, 3:5, 3:5].mean((0, 1, 2))
    np.testing.assert_allclose(on_ball, (0.75, 0.0, -0.5), atol=0.2)


def test_what_a_step_is_told_in_its_order():
    images = jax.random.uniform(quick_key(6), (1, *SIZE, 2 + 2 * CLASSES))
    told = evidence_of(images, jnp.zeros((1, 8, 8, 8, 3)))
    assert told.shape == (1, *SIZE, EVIDENCE)
    np.testing.assert_allclose(told[..., : 2 + 2 * CLASSES], images, atol=1e-6)
    of_images = forces(images[..., :1], images[..., 1:2])
    of_segmentations = forces(images[..., 2 : 2 + CLASSES], images[..., 2 + CLASSES :])
    forced = jnp.concatenate([of_images, of_segmentations], axis=-1)
    np.testing.assert_allclose(told[..., 2 + 2 * CLASSES : -3], forced, atol=1e-5)
    np.testing.assert_allclose(told[..., -3:], 0.0, atol=1e-6)
    # Voxels of the images: one of the velocity's grid is two of them.
    moved = evidence_of(images, jnp.ones((1, 8, 8, 8, 3)))
    np.testing.assert_allclose(moved[:, :8, :8, :8, -3:], 2.0, atol=1e-3)


def test_no_gradient_goes_from_a_step_into_those_before():
    images = jax.random.uniform(quick_key(7), (1, *SIZE, 2 + 2 * CLASSES))

    def last(factors):
        scaled = iter(factors)
        branch = lambda evidence: next(scaled) * downsample(evidence[..., -3:] + 1.0)  # noqa: E731
        return jnp.sum(descend(branch, [images], jnp.zeros((1, 8, 8, 8, 3)), 2)[-1])

    first, second = jax.grad(last)(jnp.array([0.1, 0.1]))
    assert first == 0.0 and second != 0.0


def test_axes_of_an_odd_length_stay_as_they_are():
    branch, evidence = DescentBranch(2), jnp.ones((1, 12, 16, 6, EVIDENCE))
    params = random_params(jax.eval_shape(branch.init, quick_key(), evidence)['params'])
    assert quick_jit(branch.apply)({'params': params}, evidence).shape == (1, 6, 8, 3, 3)


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
