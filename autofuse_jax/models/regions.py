"""Images of single regions, the input of networks that register structure by structure."""

import jax
import jax.numpy as jnp

HARD, SOFT = 'hard', 'soft'
MASKS = (HARD, SOFT)


def region_images(image: jax.Array, probabilities: jax.Array, masks: str) -> jax.Array:
    """Cut an image into its structures: `R_k = M_k I`, k = 1 .. C - 1, with M the probabilities or their maximum.

    Args:
        image: (B, D, H, W, 1).
        probabilities: (B, D, H, W, C) in [0, 1], background first.
        masks: 'hard' sets M_k to 1 where class k is the most probable and to 0 elsewhere, through which no gradient
            flows; 'soft' takes the probabilities.

    Returns:
        (B, D, H, W, C - 1).

    Raises:
        ValueError: `masks` is unknown.
    """
    if masks not in MASKS:
        raise ValueError(f'masks is {masks!r}, expected one of {MASKS}.')
    if masks == HARD:
        most_probable = jnp.argmax(probabilities, axis=-1)
        probabilities = jax.nn.one_hot(most_probable, probabilities.shape[-1], dtype=probabilities.dtype)
    return probabilities[..., 1:] * image
