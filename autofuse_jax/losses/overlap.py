"""Overlap of a predicted segmentation with a target: soft Dice, focal loss and their sum, on foreground classes."""

import jax
import jax.numpy as jnp
import numpy as np

DICE_EPSILON = 1e-5
# float32 has no 1 - 1e-5; its neighbour is used in every precision, or 1 - p there would differ by 0.1 %.
FOCAL_RANGE = (1e-5, float(np.float32(1.0 - 1e-5)))
FOCAL_ALPHA = 0.25
FOCAL_GAMMA = 2
# A class counts as present in a target from half a voxel on: a warped target may carry a trace of any class.
PRESENT_VOXELS = 0.5


def dice_loss(target: jax.Array, prediction: jax.Array, *, ignore_absent: bool = True) -> jax.Array:
    """Return the negative soft Dice coefficient, averaged over the foreground classes.

    `-mean_k 2 sum(p_k q_k) / max(sum(p_k + q_k), 1e-5)`, k = 1 .. C - 1.

    Args:
        target: (D, H, W, C) in [0, 1], background first.
        prediction: (D, H, W, C) in [0, 1].
        ignore_absent: Whether to average over the classes present in the target only; default True. The official code
            averages over all, so that an absent class counts 0.

    Returns:
        A scalar in [-1, 0]; 0 where no class is present.

    Reference:
        Milletari et al., V-Net, 3DV 2016.

    Example:
        >>> target = jnp.asarray([[0.0, 1.0], [1.0, 0.0]]).reshape(2, 1, 1, 2)
        >>> round(float(dice_loss(target, target)), 3)
        -1.0
    """
    target, prediction = target[..., 1:], prediction[..., 1:]
    overlap = jnp.sum(target * prediction, axis=(0, 1, 2))
    size = jnp.sum(target, axis=(0, 1, 2)), jnp.sum(prediction, axis=(0, 1, 2))
    dice = 2.0 * overlap / jnp.maximum(size[0] + size[1], DICE_EPSILON)
    if not ignore_absent:
        return -jnp.mean(dice)
    present = (size[0] >= PRESENT_VOXELS).astype(dice.dtype)
    return -jnp.sum(dice * present) / jnp.maximum(jnp.sum(present), 1.0)


def focal_loss(target: jax.Array, prediction: jax.Array) -> jax.Array:
    """Return the focal loss, averaged over voxels and foreground classes.

    `-1/4 (1 - p)^2 y log p - 3/4 p^2 (1 - y) log(1 - p)` with p clamped to [1e-5, 1 - 1e-5].

    Args:
        target: y, (D, H, W, C) in [0, 1], background first.
        prediction: p, (D, H, W, C) in [0, 1].

    Returns:
        A scalar, at least 0.

    Reference:
        Lin et al., Focal loss for dense object detection, ICCV 2017.

    Example:
        >>> target = jnp.asarray([[0.0, 1.0], [1.0, 0.0]]).reshape(2, 1, 1, 2)
        >>> round(float(focal_loss(target, jnp.full((2, 1, 1, 2), 0.5))), 4)
        0.0866
    """
    y, p = target[..., 1:], jnp.clip(prediction[..., 1:], *FOCAL_RANGE)
    hit = FOCAL_ALPHA * (1.0 - p) ** FOCAL_GAMMA * y * jnp.log(p)
    miss = (1.0 - FOCAL_ALPHA) * p**FOCAL_GAMMA * (1.0 - y) * jnp.log1p(-p)
    return -jnp.mean(hit + miss)


def focal_dice_loss(target: jax.Array, prediction: jax.Array, *, ignore_absent: bool = True) -> jax.Array:
    """Return the sum of the Dice and focal losses, the FocalDice of the paper.

    Args:
        target: (D, H, W, C) in [0, 1], background first.
        prediction: (D, H, W, C) in [0, 1].
        ignore_absent: Classes that are averaged, see `dice_loss`.

    Returns:
        A scalar, at least -1.

    Reference:
        Meng et al., AutoFuse, Eq. 3 and 4.

    Example:
        >>> target = jnp.asarray([[0.0, 1.0], [1.0, 0.0]]).reshape(2, 1, 1, 2)
        >>> round(float(focal_dice_loss(target, target)), 3)
        -1.0
    """
    return dice_loss(target, prediction, ignore_absent=ignore_absent) + focal_loss(target, prediction)
