"""Attention against a loop over heads and queries, its derivative against the one JAX finds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from autofuse_jax.models.attention import attend, softmax_attention
from tests.quick import quick_jit


def test_attention_is_that_of_the_formula():
    rng = np.random.default_rng(0)
    query, key, value = (rng.normal(size=(2, tokens, 6)).astype(np.float32) for tokens in (3, 5, 5))
    wanted = np.zeros((2, 3, 6))
    for sample in range(2):
        for part in (slice(0, 3), slice(3, 6)):
            for number in range(3):
                logits = key[sample, :, part] @ query[sample, number, part] / np.sqrt(3)
                wanted[sample, number, part] = special.softmax(logits) @ value[sample, :, part]
    found = quick_jit(attend, static_argnums=3)(query, key, value, 2)
    np.testing.assert_allclose(found, wanted, atol=1e-6)


# Three windows of a volume, two volumes, two heads, five tokens of four channels.
REGIONS = np.array([[0] * 5, [0, 0, 1, 1, 2], [0, 1, 1, 1, 1]])
HEADS, TOKENS = 2, 5


def parts(dtype=np.float32):
    rng = np.random.default_rng(1)
    sizes = [(6, HEADS, TOKENS, 4)] * 3 + [(HEADS, TOKENS, TOKENS)]
    return [jnp.asarray(rng.normal(size=size), dtype) for size in sizes]


def plain(query, key, value, bias):
    """The formula as it is written, without a word on its derivative."""
    logits = jnp.einsum('nhqc,nhkc->nhqk', query, key) / 2.0 + bias
    hidden = REGIONS[:, :, None] != REGIONS[:, None, :]
    logits = logits - 100.0 * np.tile(hidden, (2, 1, 1))[:, None]
    return jnp.einsum('nhqk,nhkc->nhqc', jax.nn.softmax(logits), value)


def both(function):
    """A function's result and the derivatives of a weighted sum of it."""
    weights = np.random.default_rng(2).normal(size=(6, HEADS, TOKENS, 4)).astype(np.float32)

    def total(*arguments):
        result = function(*arguments)
        return jnp.vdot(weights, result), result

    return quick_jit(jax.grad(total, argnums=(0, 1, 2, 3), has_aux=True))


def test_derivative_with_bias_and_regions_is_that_of_the_formula():
    found, result = both(lambda *arguments: softmax_attention(*arguments, regions=REGIONS))(*parts())
    wanted, expected = both(plain)(*parts())
    np.testing.assert_allclose(result, expected, atol=1e-6)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_half_precision_is_close_and_keeps_its_type():
    found, result = both(lambda *arguments: softmax_attention(*arguments, regions=REGIONS))(*parts(jnp.bfloat16))
    wanted, expected = both(plain)(*(part.astype(np.float32) for part in parts(jnp.bfloat16)))
    assert result.dtype == jnp.bfloat16 and all(one.dtype == jnp.bfloat16 for one in found)
    np.testing.assert_allclose(np.float32(result), expected, atol=0.05)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(np.float32(one), other, atol=0.1)


def test_large_logits_do_not_overflow():
    query, key, value, bias = parts()
    assert np.isfinite(softmax_attention(1e3 * query, key, value, bias)).all()


def test_heads_that_do_not_divide_the_channels_are_refused():
    tokens = jnp.zeros((1, 2, 6))
    with pytest.raises(ValueError, match='6 channels cannot be shared by 4 heads'):
        attend(tokens, tokens, tokens, 4)
