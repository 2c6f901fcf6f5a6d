"""Scaling and squaring: values by hand, inverses, and that one squaring costs as much as the next."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from autofuse_jax.fields import compose, integrate_velocity, invert_velocity, warp_linear
from tests.fields.inverse_consistency import inverse_consistency_error

SHAPE = (16, 16, 16)
integrate = jax.jit(integrate_velocity)


def smooth_field(largest, seed=0):
    """A random field, smooth and zero at the border, whose longest vector has this many voxels."""
    rng = np.random.default_rng(seed)
    field = np.stack([ndimage.gaussian_filter(rng.normal(size=SHAPE), 2.5, mode='constant') for _ in range(3)], -1)
    window = np.ones(SHAPE)
    for axis, size in enumerate(SHAPE):
        window = window * np.sin(np.pi * np.arange(size) / (size - 1)).reshape(
            [-1 if a == axis else 1 for a in range(3)]
        )
    field = field * window[..., None]
    return jnp.asarray(largest * field / np.linalg.norm(field, axis=-1).max(), jnp.float32)


def test_no_squaring_returns_the_velocity():
    field = smooth_field(2)
    np.testing.assert_array_equal(integrate_velocity(field, steps=0), field)


def test_one_squaring_by_hand():
    # v = 2 x_0 along axis 0; u = v / 2 = x_0; u + u(x + u) = x_0 + 2 x_0 where 2 x_0 <= 15, and x_0 alone beyond.
    velocity = jnp.zeros((*SHAPE, 3)).at[..., 0].set(2.0 * jnp.arange(16)[:, None, None])
    result = integrate_velocity(velocity, steps=1)
    np.testing.assert_allclose(result[:, 3, 4, 0], [3 * x if x <= 7 else x for x in range(16)])
    np.testing.assert_array_equal(result[..., 1:], 0)


def test_a_constant_velocity_is_its_own_displacement():
    vector = (1.5, -1.0, 0.5)
    result = integrate(jnp.broadcast_to(jnp.asarray(vector), (*SHAPE, 3)))
    # Near the border the path leaves the grid, where the velocity counts as zero, and each squaring carries a little of
    # that one voxel further in.
    np.testing.assert_allclose(result[5:-5, 5:-5, 5:-5], np.broadcast_to(vector, (6, 6, 6, 3)), rtol=1e-6)


def test_a_linear_velocity_grows_exponentially():
    # v = 0.1 (x - 7.5): a squaring turns the factor 1 + a into (1 + a)^2, so seven make (1 + 0.1 / 128)^128.
    velocity = jnp.zeros((*SHAPE, 3)).at[..., 1].set(0.1 * (jnp.arange(16) - 7.5)[:, None])
    result = integrate(velocity)
    distance = np.arange(16) - 7.5
    np.testing.assert_allclose(result[5, 4:-4, 6, 1], ((1 + 0.1 / 128) ** 128 - 1) * distance[4:-4], rtol=1e-5)
    # The solution of dx/dt = v is e^0.1; the last step of the limit is missing.
    np.testing.assert_allclose(result[5, 4:-4, 6, 1], np.expm1(0.1) * distance[4:-4], rtol=5e-4)
    np.testing.assert_array_equal(result[..., [0, 2]], 0)


def test_forward_then_backward_is_near_the_identity():
    velocity = smooth_field(2)
    forward, backward = integrate(velocity), integrate(-velocity)
    assert jnp.linalg.norm(forward, axis=-1).max() > 1
    for one, other in ((forward, backward), (backward, forward)):
        assert inverse_consistency_error(one, other).mean() < 0.05
    # Taking the negative displacement for the inverse is worse.
    assert inverse_consistency_error(forward, -forward).mean() > inverse_consistency_error(forward, backward).mean()


def test_invert_velocity_integrates_the_negative():
    velocity = smooth_field(2)
    np.testing.assert_array_equal(invert_velocity(velocity, steps=1), integrate_velocity(-velocity, steps=1))


def test_the_whole_time_is_twice_half_the_time():
    velocity = smooth_field(2)
    half = integrate(velocity / 2)
    np.testing.assert_allclose(compose(half, half), integrate(velocity), atol=0.02)


def test_gradient_agrees_with_differences():
    rng = np.random.default_rng(3)
    with jax.enable_x64(True):
        velocity = jnp.asarray(rng.normal(scale=0.4, size=(4, 4, 4, 3)))
        weight, direction = jnp.asarray(rng.normal(size=(2, 4, 4, 4, 3)))
        loss = jax.jit(lambda v: jnp.vdot(weight, integrate_velocity(v, steps=2)))
        step = 1e-7
        difference = (loss(velocity + step * direction) - loss(velocity - step * direction)) / (2 * step)
        analytic = float(jnp.vdot(jax.jit(jax.grad(loss))(velocity), direction))
        np.testing.assert_allclose(analytic, float(difference), rtol=1e-5)
    assert abs(analytic) > 1e-2


def test_work_is_proportional_to_the_number_of_squarings():
    # A compiler that computes u anew for each of its readers makes every squaring several times dearer than the last.
    def flops(steps):
        compiled = jax.jit(functools.partial(integrate_velocity, steps=steps)).lower(jnp.zeros((4, 4, 4, 3))).compile()
        return compiled.cost_analysis()['flops']

    assert flops(3) < 2 * 3 * flops(1)


def test_a_squaring_is_one_warp():
    velocity = smooth_field(2)
    half = velocity / 2
    np.testing.assert_allclose(integrate_velocity(velocity, steps=1), half + warp_linear(half, half), atol=1e-6)


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match=r'velocity has shape \(4, 4, 3\), expected \(D, H, W, 3\)'):
        integrate_velocity(jnp.zeros((4, 4, 3)))
    with pytest.raises(ValueError, match='steps is -1, expected 0 or more'):
        integrate_velocity(jnp.zeros((4, 4, 4, 3)), steps=-1)
