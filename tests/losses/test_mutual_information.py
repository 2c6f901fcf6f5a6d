"""Mutual information of a smooth joint histogram."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autofuse_jax.losses.mutual_information import mutual_information


@pytest.fixture(scope='module')
def samples():
    rng = np.random.default_rng(0)
    first = rng.uniform(size=4000).astype(np.float32)
    return jnp.asarray(first), jnp.asarray(rng.uniform(size=4000).astype(np.float32)), jnp.ones(4000)


def test_independent_images_share_next_to_nothing(samples):
    first, second, weights = samples
    # The bias of an empirical histogram is about (bins - 1)^2 / (2 N) = 0.12 at most; smoothing lowers it.
    assert 0 <= mutual_information(first, second, weights) < 0.12


def test_an_image_tells_most_about_itself_and_about_any_function_of_it(samples):
    first, second, weights = samples
    itself = mutual_information(first, first, weights)
    inverted = mutual_information(first, 1 - first, weights)
    noisy = mutual_information(first, 0.7 * first + 0.3 * second, weights)
    np.testing.assert_allclose(itself, inverted, rtol=1e-3)
    assert itself > 1.5 > noisy > 0.3


def test_two_values_that_go_together_share_one_bit():
    # Half the samples are (0, 1), half (1, 0): knowing one tells the other, log 2 nats; the spline blurs each into
    # neighbouring bins, which are independent given the value and so change nothing.
    values = jnp.asarray([0.0, 1.0] * 50)
    np.testing.assert_allclose(mutual_information(values, 1 - values, jnp.ones(100)), np.log(2), rtol=1e-3)


def test_samples_without_weight_do_not_count(samples):
    first, second, _ = samples
    weights = jnp.asarray(np.arange(4000) < 2000, jnp.float32)
    mixed = jnp.where(weights > 0, first, second)
    np.testing.assert_allclose(
        mutual_information(first, mixed, weights),
        mutual_information(first[:2000], first[:2000], jnp.ones(2000)),
        rtol=1e-4,
    )
    assert mutual_information(first, second, jnp.zeros(4000)) == 0


def test_gradient_agrees_with_differences(samples):
    first, second, weights = samples
    function = jax.jit(jax.value_and_grad(lambda a: mutual_information(first, 0.6 * first + a * second, weights)))
    difference = function(0.31)[0] - function(0.29)[0]
    np.testing.assert_allclose(function(0.3)[1], difference / 0.02, rtol=0.02)


def test_wrong_arguments_are_refused(samples):
    first, second, weights = samples
    with pytest.raises(ValueError, match=r'\(N,\)'):
        mutual_information(first[:5], second, weights)
    with pytest.raises(ValueError, match='bins is 3'):
        mutual_information(first, second, weights, bins=3)
