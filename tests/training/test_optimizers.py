import jax.numpy as jnp
import numpy as np
import optax
import pytest

from autofuse_jax.errors import UserError
from autofuse_jax.training.optimizers import averaged, check_multiples, make_optimizer, make_schedule, multiple_of


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


MULTIPLES = (('single_branch', 0.1), ('gate_2', 3.0), ('gate_fusion', 2.0))


@pytest.mark.parametrize(
    ('name', 'factor'),
    [
        ('fusion_branch/conv_1/kernel', 1.0),
        ('single_branch/conv_1/kernel', 0.1),
        ('fusion_branch/gate_2/single/kernel', 3.0),
        ('fusion_branch/gate_2/gate_fusion/bias', 6.0),
        # Whole parts of a name count only.
        ('fusion_branch/gate_22/kernel', 1.0),
    ],
)
def test_multiple_of_a_name(name, factor):
    assert multiple_of(name, MULTIPLES) == pytest.approx(factor)


def test_multiples_scale_the_steps_of_their_groups():
    params = {'single_branch': {'kernel': jnp.zeros(1)}, 'fusion_branch': {'kernel': jnp.zeros(1)}}
    optimizer = make_optimizer(make_schedule(0.5, total_steps=10), clip_norm=1.0, multiples=MULTIPLES[:1])
    gradient = {name: {'kernel': jnp.full(1, 2.0)} for name in params}
    update, _ = optimizer.update(gradient, optimizer.init(params), params)
    np.testing.assert_allclose(update['fusion_branch']['kernel'], -0.5, rtol=1e-4)
    np.testing.assert_allclose(update['single_branch']['kernel'], -0.05, rtol=1e-4)


def test_multiples_of_no_parameter_are_refused():
    params = {'single_branch': {'conv_1': {'kernel': jnp.zeros(1)}}}
    check_multiples(MULTIPLES[:1], params)
    with pytest.raises(UserError, match="names 'gate_2'.*one of conv_1, kernel, single_branch"):
        check_multiples(MULTIPLES, params)


def test_an_average_is_short_at_first_and_then_as_long_as_asked():
    # d = min(0.5, (1 + t) / (10 + t)): 1/10 after no step, 2/11 after one, 0.5 from t = 8 on.
    for step, decay in ((0, 0.1), (1, 2 / 11), (8, 0.5), (100, 0.5)):
        average = averaged({'a': jnp.full(2, 1.0)}, {'a': jnp.full(2, 3.0)}, jnp.int32(step), 0.5)
        np.testing.assert_allclose(average['a'], decay * 1 + (1 - decay) * 3, rtol=1e-6)
