"""Terms that train a segmentation from the labels of its own image."""

from collections.abc import Callable

import jax

from autofuse_jax.losses.label_maps import one_hot_labels
from autofuse_jax.losses.overlap import focal_dice_loss
from autofuse_jax.losses.terms import Batch, Term

Measure = Callable[[jax.Array, jax.Array], jax.Array]


def segmentation_terms(
    segmentations: tuple[jax.Array, jax.Array],
    batch: Batch,
    weight: float,
    measure: Measure = focal_dice_loss,
) -> dict[str, Term]:
    """Return how far the segmentations of both images are from their labels: `v_f M(L_f, S_f)` and `v_m M(L_m, S_m)`.

    Args:
        segmentations: Segmentations of the fixed and of the moving image, (B, D, H, W, C) each, probabilities.
        batch: 'fixed_labels', 'moving_labels' (B, D, H, W), 'fixed_has_labels', 'moving_has_labels' (B,).
        weight: Weight of both terms.
        measure: M, (target, prediction) -> scalar of one sample; default FocalDice.

    Returns:
        The terms 'segmentation_fixed' and 'segmentation_moving'.
    """
    return {
        f'segmentation_{role}': Term(
            jax.vmap(measure)(one_hot_labels(batch, role, predicted), predicted),
            weight,
            batch[f'{role}_has_labels'],
        )
        for role, predicted in zip(('fixed', 'moving'), segmentations, strict=True)
    }
