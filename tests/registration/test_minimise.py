"""Gradient descent in compiled pieces."""

import jax.numpy as jnp
import numpy as np
import pytest

from autofuse_jax.errors import UserError
from autofuse_jax.registration.minimise import Schedule, minimise


def parabola(params, target, options, step=0):
    return options * jnp.sum((params - target) ** 2)


def logarithm(params, data, options, step):
    return jnp.sum(jnp.log(params))


def two_parabolas(params, targets, offset, step):
    return parabola(params, targets[step % 2], 1.0) + offset * (step % 2)


def test_finds_the_minimum_of_a_parabola():
    target = jnp.array([1.0, -2.0])
    found = minimise(parabola, jnp.zeros(2), target, 1.0, Schedule(200, 0.2))
    np.testing.assert_allclose(found.params, target, atol=0.01)
    assert found.losses[0] == pytest.approx(5) and found.losses[-1] < 1e-3
    assert len(found.losses) == 200 and found.stopped == 'all steps'


def test_stops_when_nothing_is_gained_any_more():
    found = minimise(parabola, jnp.zeros(2), jnp.array([1.0, -2.0]), 1.0, Schedule(1000, 0.2, tolerance=0.01))
    assert found.stopped == 'no further gain'
    assert 20 < len(found.losses) < 300
    # The best that was seen, not where the last steps happened to be.
    reached = parabola(found.params, jnp.array([1.0, -2.0]), 1.0)
    assert reached <= found.losses[::5].min() + 1e-6
    assert reached < 0.05 * found.losses[0]


def test_losses_in_turn_end_between_their_minima():
    targets = jnp.array([[0.0, 1.0], [2.0, 3.0]])
    found = minimise(two_parabolas, jnp.array([8.0, 8.0]), targets, 100.0, Schedule(200, 0.2, turns=2))
    np.testing.assert_allclose(found.params, [1.0, 2.0], atol=0.1)
    # Of each (1, 1) away, and the second loss is larger by 100 everywhere.
    assert found.losses[-1] == pytest.approx(2 + 50, abs=0.2) and np.abs(np.diff(found.losses)[-20:]).max() < 1


def test_losses_in_turn_that_differ_do_not_end_early():
    targets = jnp.array([[0.0, 1.0], [2.0, 3.0]])
    found = minimise(two_parabolas, jnp.array([8.0, 8.0]), targets, 100.0, Schedule(1000, 0.2, 0.01, turns=2))
    assert found.stopped == 'no further gain' and found.loss < 2 + 50 + 1


def test_reports_every_five_steps():
    reports = []
    minimise(parabola, jnp.zeros(2), jnp.ones(2), 1.0, Schedule(12, 0.1), lambda *report: reports.append(report))
    assert [done for done, _ in reports] == [5, 10, 15]
    assert [Schedule(steps, 0.1).most_steps for steps in (1, 5, 12)] == [5, 5, 15]
    assert reports[0][1] > reports[-1][1]


@pytest.mark.parametrize(
    ('wrong', 'words'),
    [
        ({'steps': 0}, 'the number of steps is 0.*leave out a level'),
        ({'learning_rate': 0.0}, 'the learning rate is 0.0.*above 0'),
        ({'tolerance': float('nan')}, 'the tolerance is nan.*at most 1'),
        ({'turns': 0}, 'the number of turns is 0'),
    ],
)
def test_a_schedule_out_of_its_range_is_refused(wrong, words):
    with pytest.raises(UserError, match=words):
        Schedule(**{'steps': 10, 'learning_rate': 0.1} | wrong)


def test_a_loss_that_is_no_number_ends_with_advice():
    with pytest.raises(UserError, match='not finite.*learning-rate'):
        minimise(logarithm, jnp.ones(2), None, None, Schedule(20, 1.0))
