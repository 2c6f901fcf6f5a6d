"""Attention of one set of tokens to another, with a derivative written by hand."""

import jax
import jax.numpy as jnp
import numpy as np

from autofuse_jax.models.windows import shift_mask


def attend(query: jax.Array, key: jax.Array, value: jax.Array, num_heads: int) -> jax.Array:
    """Return what each query collects, `softmax_attention` of heads that lie one after the other along channels.

    Args:
        query: (N, Q, C).
        key: (N, K, C).
        value: (N, K, C).
        num_heads: Number of heads; must divide C.

    Returns:
        (N, Q, C), to be mixed across heads by a linear layer.

    Raises:
        ValueError: The channels cannot be shared by that many heads.
    """
    channels = query.shape[-1]
    check_heads(channels, num_heads)
    q, k, v = (part.reshape(*part.shape[:2], num_heads, -1).swapaxes(1, 2) for part in (query, key, value))
    return softmax_attention(q, k, v).swapaxes(1, 2).reshape(query.shape)


def softmax_attention(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    bias: jax.Array | None = None,
    regions: np.ndarray | None = None,
) -> jax.Array:
    """Return `softmax(q k^T / sqrt(c) + bias + mask) v` of each head.

    The softmax is computed in at least float32. Its derivative is for reverse mode only. It keeps one array of the size
    of the logits, in the type of the values, and sums the bias's derivative over N as a product with ones, because the
    compiler's own sum is slow on CPU.

    Args:
        query: (N, heads, Q, c).
        key: (N, heads, K, c).
        value: (N, heads, K, c).
        bias: (heads, Q, K), added to the logits; default nothing.
        regions: (windows, tokens), see `shift_regions`: tokens of different regions do not see each other. Q and K are
            the tokens, and N is a multiple of the windows, those of one volume next to each other. Default: all do.

    Returns:
        (N, heads, Q, c).

    Reference:
        Vaswani et al., Attention is all you need, NeurIPS 2017.
    """
    return _attention(query * query.shape[-1] ** -0.5, key, value, bias, regions)


def check_heads(channels: int, num_heads: int) -> None:
    """Raise a ValueError where the channels cannot be shared by that many heads."""
    if channels % num_heads:
        raise ValueError(f'{channels} channels cannot be shared by {num_heads} heads.')


@jax.custom_vjp
def _attention(query, key, value, bias, regions):
    return _forward(query, key, value, bias, regions)[0]


def _forward(query, key, value, bias, regions):
    logits = _wide(jnp.einsum('nhqc,nhkc->nhqk', query, key))
    if bias is not None:
        logits = logits + _wide(bias)
    if regions is not None:
        tokens = logits.shape[1:]
        by_volume = logits.reshape(-1, len(regions), *tokens) + shift_mask(regions, logits.dtype)[:, None]
        logits = by_volume.reshape(-1, *tokens)
    exponentials = jnp.exp(logits - jnp.max(logits, axis=-1, keepdims=True))
    total = jnp.sum(exponentials, axis=-1, keepdims=True)
    exponentials = exponentials.astype(value.dtype)
    # Divided last, where there are c numbers of each query instead of K.
    mixed = (jnp.einsum('nhqk,nhkc->nhqc', exponentials, value) / total).astype(value.dtype)
    return mixed, (query, key, value, bias, exponentials, total, mixed)


def _reverse(residuals, gradient):
    query, key, value, bias, exponentials, total, mixed = residuals
    # sum_k w_qk dL/dw_qk, w being the softmax, is a sum over the channels of what was mixed.
    common = jnp.sum(_wide(gradient) * _wide(mixed), axis=-1, keepdims=True) / total
    scaled = (gradient / total).astype(value.dtype)
    of_logits = _wide(exponentials) * (_wide(jnp.einsum('nhqc,nhkc->nhqk', scaled, value)) - common)
    of_bias = None
    if bias is not None:
        ones = jnp.ones(len(of_logits), of_logits.dtype)
        of_bias = jnp.einsum('n,nx->x', ones, of_logits.reshape(len(ones), -1), precision=jax.lax.Precision.HIGHEST)
        of_bias = of_bias.reshape(bias.shape).astype(bias.dtype)
    of_logits = of_logits.astype(value.dtype)
    # Sums over queries, whose results are turned: faster on CPU than results that need no turning.
    of_value = jnp.einsum('nhqc,nhqk->nhck', scaled, exponentials).swapaxes(2, 3)
    of_key = jnp.einsum('nhqc,nhqk->nhck', query, of_logits).swapaxes(2, 3)
    of_query = jnp.einsum('nhqk,nhkc->nhqc', of_logits, key)
    return of_query, of_key, of_value, of_bias, None


_attention.defvjp(_forward, _reverse)


def _wide(array: jax.Array) -> jax.Array:
    return array.astype(jnp.promote_types(array.dtype, jnp.float32))
