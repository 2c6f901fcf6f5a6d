"""Attention of one set of tokens to another, without windows, positions or masks."""

import jax
import jax.numpy as jnp


def attend(query: jax.Array, key: jax.Array, value: jax.Array, num_heads: int) -> jax.Array:
    """Return what each query collects: `softmax(q k^T / sqrt(C / heads)) v` in each head.

    The softmax is computed in at least float32.

    Args:
        query: (N, Q, C), heads one after the other along C.
        key: (N, K, C).
        value: (N, K, C).
        num_heads: Number of heads; must divide C.

    Returns:
        (N, Q, C), to be mixed across heads by a linear layer.

    Raises:
        ValueError: The channels cannot be shared by that many heads.
    """
    channels = query.shape[-1]
    if channels % num_heads:
        raise ValueError(f'{channels} channels cannot be shared by {num_heads} heads.')
    query, key, value = (part.reshape(*part.shape[:2], num_heads, -1) for part in (query, key, value))
    logits = jnp.einsum('nqhc,nkhc->nhqk', query * query.shape[-1] ** -0.5, key)
    weights = jax.nn.softmax(logits.astype(jnp.promote_types(logits.dtype, jnp.float32)), axis=-1)
    mixed = jnp.einsum('nhqk,nkhc->nqhc', weights.astype(value.dtype), value)
    return mixed.reshape(*mixed.shape[:2], channels)
