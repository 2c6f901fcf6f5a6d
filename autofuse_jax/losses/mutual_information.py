"""Image similarity across modalities: mutual information of a smooth joint histogram."""

import jax
import jax.numpy as jnp

MI_BINS = 32
# Keeps the logarithm of an empty bin finite.
SMALLEST_PROBABILITY = 1e-12


def mutual_information(fixed: jax.Array, warped: jax.Array, weights: jax.Array, *, bins: int = MI_BINS) -> jax.Array:
    """Return the mutual information of two sets of intensities; the loss is its negative.

    `MI = sum_ab p(a, b) log(p(a, b) / (p(a) p(b)))`, p being the joint histogram in which each sample counts by cubic
    B-spline weights for the four nearest bins of either image, so that it is smooth in both intensities.

    Args:
        fixed: (N,), in [0, 1].
        warped: (N,), in [0, 1].
        weights: (N,), at least 0: how much each sample counts.
        bins: Number of bins per image, at least 4; default 32.

    Returns:
        A scalar in nats, at least 0 up to rounding; 0 where all weights are 0.

    Raises:
        ValueError: The shapes differ or there are fewer than 4 bins.

    Reference:
        Mattes et al., PET-CT image registration in the chest using free-form deformations, IEEE TMI 22(1), 2003.

    Example:
        >>> values, weights = jnp.linspace(0.0, 1.0, 64), jnp.ones(64)
        >>> mixed = values[(jnp.arange(64) * 29) % 64]
        >>> bool(mutual_information(values, 1.0 - values, weights) > mutual_information(values, mixed, weights))
        True
    """
    if not fixed.shape == warped.shape == weights.shape or fixed.ndim != 1:
        raise ValueError(f'fixed {fixed.shape}, warped {warped.shape} and weights {weights.shape} must all be (N,).')
    if bins < 4:
        raise ValueError(f'bins is {bins}, expected at least 4, the width of the spline.')
    fixed_weights = (_spline_weights(fixed, bins) * weights[:, None]).T
    joint = jnp.matmul(fixed_weights, _spline_weights(warped, bins), precision=jax.lax.Precision.HIGHEST)
    joint = joint / jnp.maximum(jnp.sum(joint), SMALLEST_PROBABILITY)
    independent = jnp.sum(joint, axis=1, keepdims=True) * jnp.sum(joint, axis=0, keepdims=True)
    ratio = jnp.maximum(joint, SMALLEST_PROBABILITY) / jnp.maximum(independent, SMALLEST_PROBABILITY)
    return jnp.sum(joint * jnp.log(ratio))


def _spline_weights(values: jax.Array, bins: int) -> jax.Array:
    """Cubic B-spline weight of each of the bins, (N, bins); the outermost samples stay a spline's reach inside."""
    # Bin centres 1 .. bins - 2 hold [0, 1], so that every sample's weights sum to 1.
    position = 1.0 + jnp.clip(values, 0.0, 1.0) * (bins - 3)
    distance = jnp.abs(position[:, None] - jnp.arange(bins, dtype=values.dtype))
    near = 2.0 / 3.0 - distance**2 + distance**3 / 2.0
    far = jnp.maximum(2.0 - distance, 0.0) ** 3 / 6.0
    return jnp.where(distance < 1.0, near, far)
