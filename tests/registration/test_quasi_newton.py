"""The exact minimum of few parameters."""

import jax.numpy as jnp
import numpy as np
import pytest

from autofuse_jax.errors import UserError
from autofuse_jax.registration.quasi_newton import minimise_few


def valley(params, target, options, step=0):
    return options * ((1 - params[0]) ** 2 + 10 * (params[1] - params[0] ** 2) ** 2) + jnp.sum(target)


def logarithm(params, data, options, step):
    return jnp.sum(jnp.log(params - data))


def test_finds_the_end_of_a_curved_valley():
    reports = []
    found = minimise_few(
        valley, np.zeros(2), jnp.zeros(1), 1.0, steps=60, first_step=0.1, on_loss=lambda *about: reports.append(about)
    )
    np.testing.assert_allclose(found.params, [1, 1], atol=2e-3)
    assert found.stopped == 'no further gain' and len(found.losses) < 60
    assert [done for done, _ in reports] == list(range(1, len(found.losses) + 1))
    assert found.losses[0] == pytest.approx(1.0) and found.params.dtype == np.float32


def test_ends_with_the_best_of_as_many_evaluations_as_are_allowed():
    found = minimise_few(valley, np.zeros(2), jnp.zeros(1), 1.0, steps=5, first_step=0.1, on_loss=lambda *_: None)
    assert found.stopped == 'all steps' and len(found.losses) < 12
    assert float(valley(found.params, jnp.zeros(1), 1.0)) == pytest.approx(found.losses.min(), abs=1e-6)


def test_a_start_at_the_minimum_stays():
    found = minimise_few(valley, np.ones(2), jnp.zeros(1), 1.0, steps=20, first_step=0.1, on_loss=lambda *_: None)
    np.testing.assert_array_equal(found.params, [1, 1])


def test_a_loss_that_is_no_number_ends_with_advice():
    with pytest.raises(UserError, match='not finite.*check the images'):
        minimise_few(logarithm, np.ones(2), 2.0, None, steps=9, first_step=1.0, on_loss=lambda *_: None)
