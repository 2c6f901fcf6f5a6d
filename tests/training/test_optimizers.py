import jax.numpy as jnp
import numpy as np
import optax
import pytest

from autofuse_jax.errors import UserError
from autofuse_jax.training.optimizers import make_optimizer, make_schedule


def values(schedule, *steps):
    return [float(schedule(step)) for step in steps]


def test_constant():
    assert values(make_schedule(0.5, total_steps=10), 0, 5, 10, 99) == [0.5] * 4


def test_warmup_rises_linearly_from_zero():
    schedule = make_schedule(0.5, warmup_steps=4, total_steps=10)
    np.testing.assert_allclose(values(schedule, 0, 1, 2, 3, 4, 5, 10), [0, 0.125, 0.25, 0.375, 0.5, 0.5, 0.5])


def test_cosine_falls_to_zero_at_the_last_step():
    # (1 + cos(pi t / 8)) / 2 at t = 0, 2, 4, 6, 8.
    quarter = (1 + np.sqrt(0.5)) / 2
    schedule = make_schedule(1.0, schedule='cosine', total_steps=8)
    np.testing.assert_allclose(values(schedule, 0, 2, 4, 6, 8), [1, quarter, 0.5, 1 - quarter, 0], atol=1e-6)


def test_cosine_begins_after_the_warmup():
    # 2 steps up, 8 down: half way down at step 2 + 4.
    schedule = make_schedule(1.0, schedule='cosine', warmup_steps=2, total_steps=10)
    np.testing.assert_allclose(values(schedule, 0, 1, 2, 6, 10), [0, 0.5, 1, 0.5, 0], atol=1e-6)


def test_cosine_ends_at_the_final_fraction():
    # Half way: the mean of 1 and 0.1.
    schedule = make_schedule(2.0, schedule='cosine', total_steps=10, final_fraction=0.1)
    np.testing.assert_allclose(values(schedule, 0, 5, 10, 20), [2.0, 1.1, 0.2, 0.2], atol=1e-6)


def test_unknown_schedule():
    with pytest.raises(UserError, match="optimizer.schedule is 'linear'.*one of constant, cosine"):
        make_schedule(1.0, schedule='linear', total_steps=10)


def first_step(gradient, **options):
    """Return the first update for a gradient and Adam's first moment, 0.1 of the gradient that reached it."""
    optimizer = make_optimizer(make_schedule(0.5, total_steps=10), **options)
    params = jnp.zeros(2)
    update, state = optimizer.update(jnp.asarray(gradient), optimizer.init(params), params)
    return np.asarray(update), np.asarray(optax.tree.get(state, 'mu'))


def test_first_step_of_adam():
    # Bias-corrected moments are g and g^2, so the step is -0.5 g / (|g| + 1e-8).
    update, moment = first_step([3.0, -4.0])
    np.testing.assert_allclose(update, [-0.5, 0.5], rtol=1e-4)  # float32 holds 1 - 0.999 to this
    np.testing.assert_allclose(moment, [0.3, -0.4], rtol=1e-6)


def test_clipping_keeps_the_direction():
    # The norm of (3, -4) is 5: clipped to 1 it is (0.6, -0.8); a limit of 5 or more changes nothing.
    np.testing.assert_allclose(first_step([3.0, -4.0], clip_norm=1.0)[1], [0.06, -0.08], rtol=1e-6)
    np.testing.assert_allclose(first_step([3.0, -4.0], clip_norm=6.0)[1], [0.3, -0.4], rtol=1e-6)


def test_rate_of_each_step_is_that_of_the_schedule():
    # Warmup over 2 steps: the first step is taken with rate 0, the second with half the rate.
    optimizer = make_optimizer(make_schedule(0.5, warmup_steps=2, total_steps=10))
    params, gradient = jnp.zeros(1), jnp.ones(1)
    state = optimizer.init(params)
    sizes = []
    for _ in range(3):
        update, state = optimizer.update(gradient, state, params)
        sizes.append(float(update[0]))
    np.testing.assert_allclose(sizes, [0.0, -0.25, -0.5], rtol=1e-4)
