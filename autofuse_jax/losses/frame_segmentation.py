"""The objective of a segmentation alone: labelled frames without a partner, padded slices left out."""

import jax
import jax.numpy as jnp

from autofuse_jax.losses.label_maps import one_hot_labels
from autofuse_jax.losses.overlap import dice_loss
from autofuse_jax.losses.terms import everywhere, total

LOG_EPSILON = 1e-6


def frame_segmentation_objective(
    segmentation: jax.Array, batch: dict[str, jax.Array]
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Return Dice loss plus cross-entropy of labelled frames over the slices that are image.

    `-mean_k Dice_k(L, S) - mean_x sum_k L_k(x) log(S_k(x) + 1e-6)`, x in the slices of `image_slices`, the Dice loss
    over the structures that are there.

    Args:
        segmentation: S, (B, D, H, W, C) class probabilities.
        batch: 'fixed' (B, D, H, W, 1) and 'fixed_labels' (B, D, H, W).

    Returns:
        The scalar loss, and the terms 'frame_dice' and 'frame_cross_entropy' as `terms.total` reports them.

    Reference:
        The sum of both losses is that of Isensee et al., nnU-Net, Nature Methods 18, 2021.
    """
    inside = image_slices(batch['fixed'])
    target, predicted = one_hot_labels(batch, 'fixed', segmentation) * inside, segmentation * inside
    dice = jax.vmap(lambda t, p: dice_loss(t, p, ignore_absent=True))(target, predicted)
    voxels = jnp.sum(jnp.broadcast_to(inside, (*segmentation.shape[:4], 1)), axis=(1, 2, 3, 4))
    logarithms = jnp.sum(target * jnp.log(segmentation + LOG_EPSILON), axis=(1, 2, 3, 4))
    terms = {
        'frame_dice': everywhere(dice, 1.0),
        'frame_cross_entropy': everywhere(-logarithms / jnp.maximum(voxels, 1.0), 1.0),
    }
    return total(terms)


def image_slices(image: jax.Array) -> jax.Array:
    """Return 1 for slices along the third axis that hold anything, and 0 for those that padding filled with zeros.

    Args:
        image: (B, D, H, W, 1) in [0, 1].

    Returns:
        (B, 1, 1, W, 1).
    """
    return jnp.any(image > 0, axis=(1, 2), keepdims=True).astype(image.dtype)
