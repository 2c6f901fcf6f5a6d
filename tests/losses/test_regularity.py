"""The velocity's divergence from its prior, and the penalty on folding."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autofuse_jax.losses import negative_jacobian_loss, velocity_kl
from autofuse_jax.losses.regularity import gradient_penalty

SHAPE = (6, 6, 6)
kl = jax.jit(velocity_kl, static_argnames='prior_lambda')


def constant(value, shape=SHAPE):
    return jnp.full((*shape, 3), value, jnp.float32)


def test_value_at_the_start_of_training():
    # mu = 0, s = -10: 1.5 (50 * 5 * e^-10 + 10) = 1.5 (0.01135 + 10) = 15.017; the mean degree of 6^3 voxels is 5.
    value = kl(constant(0.0), constant(-10.0))
    np.testing.assert_allclose(value, 1.5 * (50 * 5 * np.exp(-10) + 10), rtol=1e-6)
    assert value == pytest.approx(15.0, abs=0.02)


@pytest.mark.parametrize('shape', [(6, 6, 6), (2, 3, 4)])
def test_terms_of_the_variance(shape):
    # s = 0: 1.5 lambda * mean degree; each voxel has 6 neighbours, less the two border slices of each axis.
    degree = 6 - sum(2 / size for size in shape)
    value = velocity_kl(constant(0.0, shape), constant(0.0, shape), prior_lambda=10.0)
    np.testing.assert_allclose(value, 1.5 * 10 * degree, rtol=1e-6)


def test_variance_has_its_minimum_where_the_prior_says():
    # d/ds (lambda Deg e^s - s) = 0 at e^s = 1 / (lambda Deg): 1 / 300 inside, 1 / 150 in a corner.
    degree = np.full(SHAPE, 6.0)
    for axis in range(3):
        border = np.moveaxis(degree, axis, 0)
        border[[0, -1]] -= 1
    best = jnp.broadcast_to(-np.log(50.0 * degree)[..., None], (*SHAPE, 3)).astype(jnp.float32)
    np.testing.assert_allclose(np.exp(best[2, 3, 2, 0]), 1 / 300, rtol=1e-6)
    np.testing.assert_allclose(np.exp(best[0, -1, 0, 0]), 1 / 150, rtol=1e-6)
    gradient = jax.jit(jax.grad(velocity_kl, argnums=1))(constant(0.0), best)
    np.testing.assert_allclose(gradient, 0, atol=1e-7)
    lowest = kl(constant(0.0), best)
    for change in (-0.3, 0.3):
        assert kl(constant(0.0), best + change) > lowest + 0.01


def test_smoothness_by_hand():
    # mu_0 = 0.2 x_1 in 3 components: squared differences 0.04 along axis 1 in one component of three, 0 along others,
    # P = (0.04 / 3) / 6; the whole adds 1.5 * 50 * P.
    mean = constant(0.0).at[..., 0].set(0.2 * jnp.arange(6.0)[:, None])
    added = kl(mean, constant(-10.0)) - kl(constant(0.0), constant(-10.0))
    np.testing.assert_allclose(added, 1.5 * 50 * 0.04 / 3 / 6, rtol=1e-4)
    # It is quadratic in mu and does not see a shift.
    fourfold = kl(2 * mean + 7.0, constant(-10.0)) - kl(constant(0.0), constant(-10.0))
    np.testing.assert_allclose(fourfold, 4 * added, rtol=1e-3)


def test_prior_lambda_scales_all_but_the_entropy():
    # With s = 0 the term -s vanishes and the value is proportional to lambda.
    mean = jnp.asarray(np.random.default_rng(0).normal(size=(*SHAPE, 3)), jnp.float32)
    np.testing.assert_allclose(
        kl(mean, constant(0.0), prior_lambda=10.0) * 5, kl(mean, constant(0.0), prior_lambda=50.0), rtol=1e-6
    )


def test_gradient_penalty_by_hand():
    # u_0 = 0.2 x_2: one of nine derivatives is 0.2 in voxels, 0.2 * 1.5 / 3 in space where slices are twice as thick.
    field = jnp.zeros((4, 5, 6, 3)).at[..., 0].set(0.2 * jnp.arange(6.0))
    np.testing.assert_allclose(gradient_penalty(field), 0.04 / 9, rtol=1e-5)
    np.testing.assert_allclose(gradient_penalty(field, spacing=jnp.full(3, 2.5)), 0.04 / 9, rtol=1e-5)
    np.testing.assert_allclose(gradient_penalty(field, spacing=jnp.array([1.5, 1.5, 3.0])), 0.01 / 9, rtol=1e-5)
    # The other way round, u_2 = 0.2 x_0, it is 0.2 * 3 / 1.5.
    turned = jnp.moveaxis(field, 2, 0)[..., ::-1]
    np.testing.assert_allclose(gradient_penalty(turned, spacing=jnp.array([1.5, 1.5, 3.0])), 0.16 / 9, rtol=1e-5)


def fold(amount=-2.0, shape=(4, 5, 6)):
    """u_2 = amount * x_2: determinant 1 + amount everywhere."""
    return jnp.zeros((*shape, 3)).at[..., 2].set(amount * jnp.arange(float(shape[2])))


def test_folding_by_hand():
    # Determinant -1 on 3 * 4 * 5 = 60 voxels.
    assert negative_jacobian_loss(fold()) == 60
    assert negative_jacobian_loss(fold(), reduction='mean') == 1
    # Determinant -3: three times as much.
    assert negative_jacobian_loss(fold(-4.0)) == 180


def test_a_map_that_does_not_fold_costs_nothing():
    for amount in (0.0, 0.5, -0.9):
        assert negative_jacobian_loss(fold(amount)) == 0
    gradient = jax.grad(negative_jacobian_loss)(fold(-0.9))
    np.testing.assert_array_equal(gradient, 0)


def test_folds_along_every_axis_count():
    for axis in range(3):
        field = jnp.zeros((4, 4, 4, 3)).at[..., axis].set(-2.0 * jnp.indices((4, 4, 4))[axis])
        assert negative_jacobian_loss(field) == 27


def test_the_gradient_unfolds():
    loss = jax.jit(functools.partial(negative_jacobian_loss, reduction='mean'))
    field = fold() + 0.01 * np.random.default_rng(0).normal(size=(4, 5, 6, 3)).astype(np.float32)
    gradient = jax.jit(jax.grad(loss))(field)
    assert loss(field - 0.1 * gradient / jnp.abs(gradient).max()) < loss(field)


def test_unknown_reduction():
    with pytest.raises(ValueError, match=r"reduction is 'max', expected one of \('sum', 'mean'\)"):
        negative_jacobian_loss(fold(), reduction='max')
