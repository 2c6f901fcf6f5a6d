"""Attention against a loop over heads and queries."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from autofuse_jax.models.attention import attend
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


def test_heads_that_do_not_divide_the_channels_are_refused():
    tokens = jnp.zeros((1, 2, 6))
    with pytest.raises(ValueError, match='6 channels cannot be shared by 4 heads'):
        attend(tokens, tokens, tokens, 4)
