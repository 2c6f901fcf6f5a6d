"""The objective of AC-DMiR: both maps, both segmentations, and the segmentation of the initial warped image."""

import dataclasses

import jax
import jax.numpy as jnp

from autofuse_jax.fields import warp_labels, warp_linear
from autofuse_jax.losses.label_maps import dice_losses, one_hot_labels, per_voxel
from autofuse_jax.losses.one_field import RegistrationWeights, map_terms
from autofuse_jax.losses.overlap import focal_dice_loss
from autofuse_jax.losses.segmentation import segmentation_terms
from autofuse_jax.losses.similarity import NCC_WINDOW
from autofuse_jax.losses.terms import Batch, Diagnostics, Term, total
from autofuse_jax.losses.weights import check_weights

# Each map counts for half of what is said of both.
SHARE = 0.5


@dataclasses.dataclass(frozen=True, kw_only=True)
class ACDMiRWeights:
    """Weights and options of `ac_dmir_objective`; none of them is published.

    Attributes:
        smoothness: Weight of the mean squared gradient of each displacement; default 1.
        ncc_window: Side of the correlation window in voxels, odd; default 9.
        dice: Weight of the overlap of fixed and warped moving labels; default 1.
        constraint: Weight of the overlap of fixed labels and the segmentation of the initial warped image; default 1.
        segmentation: Weight of the overlap of the segmentations of both images with their labels; default 1.

    Raises:
        UserError: A weight is negative or not finite, or the window is even.
    """

    smoothness: float = 1.0
    ncc_window: int = NCC_WINDOW
    dice: float = 1.0
    constraint: float = 1.0
    segmentation: float = 1.0

    def __post_init__(self):
        check_weights(self)


def ac_dmir_objective(
    displacements: tuple[jax.Array, jax.Array],
    initial_warped: jax.Array,
    initial_segmentation: jax.Array,
    segmentations: tuple[jax.Array, jax.Array],
    batch: Batch,
    weights: ACDMiRWeights,
) -> tuple[jax.Array, Diagnostics]:
    """Return the loss of a batch and the value of each of its terms, see `losses.terms.total`.

    `L = sum_i [-1/2 NCC(I_f, I_m o phi_i) + lambda |grad u_i|^2 + gamma v_f v_m 1/2 Dice(L_f, L_m o phi_i)]
    + eta v_f FD(L_f, S(I_m o phi_0)) + s [v_f FD(L_f, S(I_f)) + v_m FD(L_m, S(I_m))]`, i = 0, 1. Where labels are
    missing:

    | term                 | both labelled     | fixed only            | moving only                    | none |
    |----------------------|-------------------|-----------------------|--------------------------------|------|
    | NCC, smoothness      | yes               | yes                   | yes                            | yes  |
    | Dice                 | L_f, L_m o phi_i  | L_f, S(I_m) o phi_1   | -                              | -    |
    | constraint (FD)      | L_f               | L_f                   | L_m o phi_0 as a constant      | -    |
    | segmentation (FD)    | S(I_f), S(I_m)    | S(I_f)                | S(I_m)                         | -    |

    The constraint trains the segmentation network and, through the warped image, phi_0. The Dice trains the maps:
    S(I_m) is a constant there, and the term has the full weight gamma.

    Args:
        displacements: phi_0 and phi_1, (B, D, H, W, 3) each, voxels.
        initial_warped: I_m o phi_0, (B, D, H, W, 1).
        initial_segmentation: S(I_m o phi_0), (B, D, H, W, C), probabilities.
        segmentations: S(I_f) and S(I_m), (B, D, H, W, C) each, probabilities.
        batch: 'fixed', 'moving' (B, D, H, W, 1), 'fixed_labels', 'moving_labels' (B, D, H, W), 'fixed_has_labels',
            'moving_has_labels' (B,).
        weights: Weights and options.

    Reference:
        Khor et al., Medical Image Analysis 88, 2023, for the data flow and the constraint; the segmentation terms, what
        is done where labels are missing, and all weights are inferred.
    """
    final_warped = jax.vmap(warp_linear)(batch['moving'], displacements[1])
    map_weights = RegistrationWeights(smoothness=weights.smoothness, ncc_window=weights.ncc_window)
    terms: dict[str, Term] = {}
    maps = zip(('initial', 'final'), displacements, (initial_warped, final_warped), strict=True)
    for stage, displacement, warped in maps:
        of_map = map_terms(batch['fixed'], warped, displacement, displacement, map_weights)
        of_map['negative_ncc'] = of_map['negative_ncc']._replace(weight=SHARE)
        terms |= {f'{name}_{stage}': term for name, term in of_map.items()}
    if weights.dice:
        terms |= _dice(displacements, segmentations, batch, weights)
    if weights.constraint:
        terms['constraint'] = _constraint(displacements[0], initial_segmentation, batch, weights)
    if weights.segmentation:
        terms |= segmentation_terms(segmentations, batch, weights.segmentation)
    return total(terms)


def _warped_labels(batch: Batch, displacement: jax.Array, num_classes: int) -> jax.Array:
    return jax.vmap(lambda labels, u: warp_labels(labels, u, num_classes=num_classes))(
        batch['moving_labels'], displacement
    )


def _dice(
    displacements: tuple[jax.Array, jax.Array],
    segmentations: tuple[jax.Array, jax.Array],
    batch: Batch,
    weights: ACDMiRWeights,
) -> dict[str, Term]:
    fixed_flag, moving_flag = batch['fixed_has_labels'], batch['moving_has_labels']
    fixed_labels = one_hot_labels(batch, 'fixed', segmentations[0])
    terms = {}
    for stage, displacement in zip(('initial', 'final'), displacements, strict=True):
        warped = _warped_labels(batch, displacement, fixed_labels.shape[-1])
        terms[f'dice_{stage}'] = Term(dice_losses(fixed_labels, warped), SHARE * weights.dice, fixed_flag * moving_flag)
    carried = jax.vmap(warp_linear)(jax.lax.stop_gradient(segmentations[1]), displacements[1])
    fixed_only = fixed_flag * (1.0 - moving_flag)
    return terms | {'dice_predicted': Term(dice_losses(fixed_labels, carried), weights.dice, fixed_only)}


def _constraint(
    initial_displacement: jax.Array, initial_segmentation: jax.Array, batch: Batch, weights: ACDMiRWeights
) -> Term:
    fixed_flag, moving_flag = batch['fixed_has_labels'], batch['moving_has_labels']
    fixed_labels = one_hot_labels(batch, 'fixed', initial_segmentation)
    carried = _warped_labels(batch, jax.lax.stop_gradient(initial_displacement), fixed_labels.shape[-1])
    target = jnp.where(per_voxel(fixed_flag), fixed_labels, carried)
    values = jax.vmap(focal_dice_loss)(target, initial_segmentation)
    return Term(values, weights.constraint, jnp.maximum(fixed_flag, moving_flag))
