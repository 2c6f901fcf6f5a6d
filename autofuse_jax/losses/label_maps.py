"""Label maps as what losses compare: indicators of classes, and predictions in their place where labels are missing."""

import jax
import jax.numpy as jnp

from autofuse_jax.losses.overlap import dice_loss

Batch = dict[str, jax.Array]


def one_hot_labels(batch: Batch, role: str, like: jax.Array) -> jax.Array:
    """Return the indicators of an image's labels.

    Args:
        batch: With '<role>_labels', (B, D, H, W) integers.
        role: 'fixed' or 'moving'.
        like: (B, D, H, W, C), of which the number of classes and, in float32 at least, the type are taken.

    Returns:
        (B, D, H, W, C); meaningless for samples without labels.
    """
    return jax.nn.one_hot(batch[f'{role}_labels'], like.shape[-1], dtype=jnp.promote_types(like.dtype, jnp.float32))


def labels_or_predicted(batch: Batch, role: str, segmentation: jax.Array) -> jax.Array:
    """Return the indicators of an image's labels for samples that have them, and its predicted segmentation for others.

    Args:
        batch: With '<role>_labels', (B, D, H, W), and '<role>_has_labels', (B,).
        role: 'fixed' or 'moving'.
        segmentation: (B, D, H, W, C) in [0, 1].

    Returns:
        (B, D, H, W, C). Gradients reach the segmentation of samples without labels only.
    """
    return jnp.where(per_voxel(batch[f'{role}_has_labels']), one_hot_labels(batch, role, segmentation), segmentation)


def per_voxel(flags: jax.Array) -> jax.Array:
    """Return flags (B,) as truth values (B, 1, 1, 1, 1)."""
    return flags.reshape(-1, 1, 1, 1, 1) > 0


def dice_losses(target: jax.Array, prediction: jax.Array) -> jax.Array:
    """Return `dice_loss` of each sample, (B,), over the classes present in its target; both (B, D, H, W, C)."""
    return jax.vmap(lambda t, p: dice_loss(t, p, ignore_absent=True))(target, prediction)
