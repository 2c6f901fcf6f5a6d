"""The form of every segmentation that a network predicts: probabilities of C classes, background first."""

import jax
import jax.numpy as jnp

from autofuse_jax.errors import Range, UserError

# Background and one structure.
FEWEST_CLASSES = 2
CLASSES = Range(least=FEWEST_CLASSES, whole=True)


def check_num_classes(num_classes: int) -> None:
    """Check the number of classes of a network that cannot do without.

    Raises:
        UserError: There is no structure besides background.
    """
    if num_classes not in CLASSES:
        raise UserError(
            f'model.num_classes is {num_classes!r}',
            expected='the number of classes of the data, background included, so 2 or more',
            fix='set model.num_classes',
        )


def with_background(foreground: jax.Array) -> jax.Array:
    """Put a background before independent probabilities of structures: `p_0 = 1 - max_k p_k`.

    The largest of all classes is then background exactly where no structure reaches 1/2, which is how independent
    probabilities are read. Structures stay as they are, so that the sum is 1 for a single one only, see `normalised`.

    Args:
        foreground: (..., C - 1) in [0, 1].

    Returns:
        (..., C).
    """
    return jnp.concatenate([1.0 - jnp.max(foreground, axis=-1, keepdims=True), foreground], axis=-1)


def normalised(probabilities: jax.Array) -> jax.Array:
    """Divide by the sum over classes, which keeps their order.

    Args:
        probabilities: (..., C), at least 0, with a positive sum.

    Returns:
        (..., C); sums to 1.
    """
    return probabilities / jnp.sum(probabilities, axis=-1, keepdims=True)
