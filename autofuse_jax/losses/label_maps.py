"""Class maps that losses compare: indicators from labels, or predictions where labels are missing."""

import jax
import jax.numpy as jnp

from autofuse_jax.losses.overlap import dice_loss
from autofuse_jax.losses.terms import Batch


def one_hot_labels(batch: Batch, role: str, like: jax.Array) -> jax.Array:
    """Return the indicators of an image's labels.

    Args:
        batch: Batch with '<role>_labels', (B, D, H, W) integers.
        role: 'fixed' or 'moving'.
        like: (B, D, H, W, C), of which the number of classes and, in float32 at least, the type are taken.

    Returns:
        (B, D, H, W, C); meaningless for samples without labels.
    """
    return jax.nn.one_hot(batch[f'{role}_labels'], like.shape[-1], dtype=jnp.promote_types(like.dtype, jnp.float32))


def labels_or_predicted(batch: Batch, role: str, segmentation: jax.Array) -> jax.Array:
    """Return the indicators of an image's labels for samples that have them, and its predicted segmentation for others.

    Args:
        batch: Batch with '<role>_labels', (B, D, H, W), and '<role>_has_labels', (B,).
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


def structure_overlap(
    fixed: jax.Array, warped: jax.Array, batch: Batch, *, unlabelled: bool
) -> tuple[jax.Array, jax.Array]:
    """Return the Dice loss between what stands for the structures of both images, and of which pairs it counts.

    Dice is symmetric but for the classes that are in it, which are those present in labels where there are any: in the
    fixed image's, else in the moving image's.

    Args:
        fixed: (B, D, H, W, C), see `labels_or_predicted`.
        warped: Warped labels of the moving image, warped, (B, D, H, W, C).
        batch: Batch with 'fixed_has_labels' and 'moving_has_labels', (B,).
        unlabelled: Whether pairs without any labels count, whose predictions are compared.

    Returns:
        Losses (B,) in [0, 1] and flags (B,).
    """
    fixed_flag, moving_flag = batch['fixed_has_labels'], batch['moving_has_labels']
    target_is_fixed = per_voxel(fixed_flag)
    target, prediction = jnp.where(target_is_fixed, fixed, warped), jnp.where(target_is_fixed, warped, fixed)
    any_labels = jnp.maximum(fixed_flag, moving_flag)
    return dice_losses(target, prediction), jnp.ones_like(any_labels) if unlabelled else any_labels
