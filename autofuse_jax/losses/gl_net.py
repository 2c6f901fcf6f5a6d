"""The objectives of GL-Net, a reconstruction: perception from labels, then registration of images and regions."""

import dataclasses

import jax
import jax.numpy as jnp

from autofuse_jax.fields import warp_linear
from autofuse_jax.losses.label_maps import labels_or_predicted, structure_overlap
from autofuse_jax.losses.region_similarity import region_ncc
from autofuse_jax.losses.regularity import gradient_penalty
from autofuse_jax.losses.segmentation import segmentation_terms
from autofuse_jax.losses.similarity import NCC_WINDOW, local_ncc
from autofuse_jax.losses.terms import Batch, Diagnostics, Term, everywhere, total
from autofuse_jax.losses.weights import check_weights

# What belongs to the fixed and to the moving image.
Both = tuple[jax.Array, jax.Array]


@dataclasses.dataclass(frozen=True, kw_only=True)
class GLNetWeights:
    """Weights and options of GL-Net's objectives; none of them is published.

    Attributes:
        smoothness: Weight of the mean squared gradients of both displacements; default 1.
        ncc_window: Side of the correlation window in voxels, odd; default 9.
        regions: Weight of the mean correlation of the regions; default 1.
        dice: Weight of the overlap of fixed and warped moving labels; default 1.
        segmentation: Weight of the overlap of the perception network's segmentations with labels; default 1.
        roi_from_label: Whether to cut regions out by labels where an image has them; default False, so that training
            does as prediction.
        loss_fusion_to_seg: Whether the overlap trains the perception network where its segmentation stands in for a
            missing label map; default True.
        unlabelled_overlap: Whether to compare predicted segmentations of pairs without any labels too; default False.
        first_stage: Names of the phases in which the perception network is trained alone; default phase_1. A tenth of
            the steps fits.

    Raises:
        UserError: A weight is negative or not finite, the window is even, or an option is no flag.
    """

    smoothness: float = 1.0
    ncc_window: int = NCC_WINDOW
    regions: float = 1.0
    dice: float = 1.0
    segmentation: float = 1.0
    roi_from_label: bool = False
    loss_fusion_to_seg: bool = True
    unlabelled_overlap: bool = False
    first_stage: tuple[str, ...] = ('phase_1',)

    def __post_init__(self):
        check_weights(self)


def gl_net_objective(
    displacement: jax.Array,
    parts: tuple[jax.Array, jax.Array],
    regions: Both,
    segmentations: Both,
    batch: Batch,
    weights: GLNetWeights,
) -> tuple[jax.Array, Diagnostics]:
    """Return the loss of the joint stage and the value of each of its terms, see `losses.terms.total`.

    `L = -NCC(I_f, I_m o phi) - rho mean_k NCC(R_f^k, R_m^k o phi) + lambda (|grad u_g|^2 + |grad u_l|^2)
    + gamma Dice(T_f, T_m o phi) + eta [v_f FD(L_f, S_f) + v_m FD(L_m, S_m)]`, T being an image's labels or, where they
    are missing, its segmentation. A pair without any labels has no Dice term, unless `unlabelled_overlap`.

    Args:
        displacement: (B, D, H, W, 3), voxels.
        parts: u_g and u_l that it is made of, (B, D, H, W, 3) each.
        regions: Region images of the fixed and the moving image, (B, D, H, W, C - 1) each, without gradient.
        segmentations: Segmentations of the fixed and the moving image, (B, D, H, W, C) each, probabilities.
        batch: 'fixed', 'moving' (B, D, H, W, 1), 'fixed_labels', 'moving_labels' (B, D, H, W), 'fixed_has_labels',
            'moving_has_labels' (B,).
        weights: Weights and options.

    Reference:
        Ma et al., Computerized Medical Imaging and Graphics 108, 2023, for the idea; the formula is inferred.
    """
    warped = jax.vmap(warp_linear)(batch['moving'], displacement)
    ncc = jax.vmap(lambda f, w: local_ncc(f, w, window=weights.ncc_window))(batch['fixed'], warped)
    penalty = jax.vmap(gradient_penalty)
    terms = {
        'negative_ncc': everywhere(-ncc, 1.0),
        'smoothness_global': everywhere(penalty(parts[0]), weights.smoothness),
        'smoothness_local': everywhere(penalty(parts[1]), weights.smoothness),
    }
    if weights.regions:
        fixed_regions, moving_regions = regions
        warped_regions = jax.vmap(warp_linear)(moving_regions, displacement)
        of_each = jax.vmap(lambda f, w: region_ncc(f, w, window=weights.ncc_window))(fixed_regions, warped_regions)
        terms['negative_region_ncc'] = everywhere(-jnp.mean(of_each, axis=-1), weights.regions)
    if weights.dice:
        terms['dice'] = _overlap(displacement, segmentations, batch, weights)
    if weights.segmentation:
        terms |= segmentation_terms(segmentations, batch, weights.segmentation)
    return total(terms)


def _overlap(displacement: jax.Array, segmentations: Both, batch: Batch, weights: GLNetWeights) -> Term:
    if not weights.loss_fusion_to_seg:
        segmentations = jax.lax.stop_gradient(segmentations)
    fixed, moving = (
        labels_or_predicted(batch, role, predicted)
        for role, predicted in zip(('fixed', 'moving'), segmentations, strict=True)
    )
    warped = jax.vmap(warp_linear)(moving, displacement)
    values, flags = structure_overlap(fixed, warped, batch, unlabelled=weights.unlabelled_overlap)
    return Term(values, weights.dice, flags)
