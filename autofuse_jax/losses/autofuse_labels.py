"""The terms that labels give AutoFuse's objective: of both segmentations (Eq. 3) and of their fusion (Eq. 4)."""

import jax
import jax.numpy as jnp

from autofuse_jax.fields import warp_labels, warp_linear, warp_nearest
from autofuse_jax.losses.autofuse_weights import ObjectiveWeights
from autofuse_jax.losses.overlap import dice_loss, focal_dice_loss, focal_loss
from autofuse_jax.losses.terms import Batch, Term


def segmentation_terms(fixed: jax.Array, moving: jax.Array, batch: Batch, weights: ObjectiveWeights) -> dict[str, Term]:
    """Return the terms of Eq. 3, by name.

    Args:
        fixed: (B, D, H, W, K), the segmentation of the fixed image.
        moving: Likewise, of the moving image.
        batch: Labels and flags of both, see `autofuse_objective`.
        weights: Weights and options.
    """
    terms = {}
    for role, segmentation in (('moving', moving), ('fixed', fixed)):
        target = _one_hot(batch[f'{role}_labels'], segmentation)
        values = _focal_dice(target, segmentation, weights)
        terms[f'segmentation_{role}'] = Term(values, weights.segmentation, batch[f'{role}_has_labels'])
    return terms


def fusion_terms(
    displacement: jax.Array, fixed: jax.Array, moving: jax.Array, batch: Batch, weights: ObjectiveWeights
) -> dict[str, Term]:
    """Return the terms of Eq. 4, by name.

    Args:
        displacement: (B, D, H, W, 3), in voxels, pull.
        fixed: (B, D, H, W, K), the segmentation of the fixed image.
        moving: Likewise, of the moving image.
        batch: Labels and flags of both, see `autofuse_objective`.
        weights: Weights and options.
    """
    fixed_flag, moving_flag = batch['fixed_has_labels'], batch['moving_has_labels']
    fixed_target = _one_hot(batch['fixed_labels'], fixed)
    num_classes = fixed_target.shape[-1]
    warped_labels = _warped_labels(batch['moving_labels'], displacement, num_classes, weights)
    if weights.missing_labels == 'zeros':
        # The target is the warped map: labels that are warped out of the volume are missing too.
        moving_flag = moving_flag * jnp.any(warped_labels[..., 1:] > 0).astype(moving_flag.dtype)
    warped_segmentation = jax.vmap(warp_linear)(moving, displacement)
    target, prediction = warped_labels, fixed
    if weights.consistency_grad == 'seg_only':
        target = jax.lax.stop_gradient(target)
    if weights.consistency_grad == 'flow_only':
        prediction = jax.lax.stop_gradient(prediction)
    consistency = jax.vmap(lambda t, p: _consistency(t, p, weights))(target, prediction)
    warped_segmentation_values = _focal_dice(fixed_target, warped_segmentation, weights)
    warped_labels_values = _focal_dice(fixed_target, warped_labels, weights)
    return {
        'fusion_warped_segmentation': Term(warped_segmentation_values, weights.fusion, fixed_flag),
        'fusion_fixed_segmentation': Term(consistency, weights.fusion, moving_flag),
        'fusion_warped_labels': Term(warped_labels_values, weights.fusion, fixed_flag * moving_flag),
    }


def _warped_labels(
    labels: jax.Array, displacement: jax.Array, num_classes: int, weights: ObjectiveWeights
) -> jax.Array:
    if weights.label_warp == 'linear':
        return jax.vmap(lambda one, u: warp_labels(one, u, num_classes=num_classes))(labels, displacement)
    nearest = jax.vmap(warp_nearest)(labels[..., None], displacement)[..., 0]
    return jax.nn.one_hot(nearest, num_classes, dtype=displacement.dtype)


def with_flags_from_zeros(batch: Batch) -> Batch:
    """Empty the label maps of unlabelled samples, and flag a role for the whole batch where any label is left."""
    result = dict(batch)
    for role in ('fixed', 'moving'):
        labels, flags = batch[f'{role}_labels'], batch[f'{role}_has_labels']
        labels = jnp.where(flags.reshape(-1, 1, 1, 1) > 0, labels, 0)
        result[f'{role}_labels'] = labels
        result[f'{role}_has_labels'] = jnp.broadcast_to(jnp.any(labels != 0).astype(flags.dtype), flags.shape)
    return result


def _one_hot(labels: jax.Array, like: jax.Array) -> jax.Array:
    return jax.nn.one_hot(labels, like.shape[-1], dtype=jnp.promote_types(like.dtype, jnp.float32))


def _focal_dice(target: jax.Array, prediction: jax.Array, weights: ObjectiveWeights) -> jax.Array:
    return jax.vmap(lambda t, p: focal_dice_loss(t, p, ignore_absent=weights.ignore_absent))(target, prediction)


def _consistency(target: jax.Array, prediction: jax.Array, weights: ObjectiveWeights) -> jax.Array:
    """Return FocalDice whose Dice part trains both arguments and whose focal part trains the prediction only."""
    dice = dice_loss(target, prediction, ignore_absent=weights.ignore_absent)
    return dice + focal_loss(jax.lax.stop_gradient(target), prediction)
