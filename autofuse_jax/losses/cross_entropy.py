"""Cross-entropy of predicted class probabilities."""

import jax
import jax.numpy as jnp

LOG_EPSILON = 1e-6


def cross_entropy(target_probabilities: jax.Array, probabilities: jax.Array) -> jax.Array:
    """Return the cross-entropy, averaged over voxels and classes: `-mean_(x, k) y_k(x) log(p_k(x) + 1e-6)`.

    Other definitions sum over the classes: they are C times as large.

    Args:
        target_probabilities: y, (D, H, W, C) in [0, 1]; a voxel whose target is zero in all classes does not count.
        probabilities: p, (D, H, W, C) in [0, 1].

    Returns:
        A scalar, at least 0 up to the 1e-6.

    Raises:
        ValueError: The shapes differ.

    Reference:
        He et al., PC-Reg-RT, IEEE JBHI 26, 2022, whose official code has this form.

    Example:
        >>> target = jnp.asarray([0.0, 1.0]).reshape(1, 1, 1, 2)
        >>> prediction = jnp.asarray([0.5, 0.5]).reshape(1, 1, 1, 2)
        >>> round(float(cross_entropy(target, prediction)), 3)
        0.347
    """
    if target_probabilities.shape != probabilities.shape:
        raise ValueError(f'target {target_probabilities.shape} and prediction {probabilities.shape} differ in shape.')
    return -jnp.mean(target_probabilities * jnp.log(probabilities + LOG_EPSILON))
