"""The objectives of PC-Reg: perception from labels, correspondence of regions, and reverse teaching."""

import dataclasses

import jax
import jax.numpy as jnp

from autofuse_jax.fields import warp_linear
from autofuse_jax.losses.cross_entropy import cross_entropy
from autofuse_jax.losses.label_maps import one_hot_labels
from autofuse_jax.losses.region_similarity import region_ncc
from autofuse_jax.losses.regularity import gradient_penalty
from autofuse_jax.losses.segmentation import segmentation_terms
from autofuse_jax.losses.similarity import NCC_WINDOW
from autofuse_jax.losses.terms import Batch, Diagnostics, Term, everywhere, total
from autofuse_jax.losses.weights import check_weights


@dataclasses.dataclass(frozen=True, kw_only=True)
class PCRegWeights:
    """Weights and options of PC-Reg's objectives.

    Attributes:
        smoothness: Weight of the mean squared gradient of the displacement; default 1.
        ncc_window: Side of the correlation window in voxels, odd; default 9.
        cross_entropy: Weight of the cross-entropy with an image's own labels; default 1. The cross-entropy is a mean
            over classes, so that many classes make it small: 10 fits 20 classes.
        teaching: Weight of the cross-entropy with labels of the other image, relative to `cross_entropy`; default 0.5.
        teach_labelled_pairs: Whether the second stage trains perception on pairs with both label maps; default True.
            The official PyTorch code leaves them out, its TensorFlow version does not.
        first_stage: Names of the phases that are the first stage; default phase_1. Half of the steps, as published.

    Raises:
        UserError: A weight is negative or not finite, the window is even, or an option is no flag.
    """

    smoothness: float = 1.0
    ncc_window: int = NCC_WINDOW
    cross_entropy: float = 1.0
    teaching: float = 0.5
    teach_labelled_pairs: bool = True
    first_stage: tuple[str, ...] = ('phase_1',)

    def __post_init__(self):
        check_weights(self)


def correspondence_objective(
    displacement: jax.Array, fixed_regions: jax.Array, moving_regions: jax.Array, weights: PCRegWeights
) -> tuple[jax.Array, Diagnostics]:
    """Return the loss of the correspondence network: `sum_k (1 - NCC(R_f^k, R_m^k o phi)) + lambda |grad u|^2`.

    Args:
        displacement: (B, D, H, W, 3), voxels.
        fixed_regions: (B, D, H, W, C - 1), see `models.regions.region_images`.
        moving_regions: (B, D, H, W, C - 1).
        weights: Weights and options.

    Returns:
        The scalar, and its terms by name, see `losses.terms.total`.

    Reference:
        He et al., PC-Reg-RT, IEEE JBHI 26, 2022.
    """
    warped = jax.vmap(warp_linear)(moving_regions, displacement)
    ncc = jax.vmap(lambda f, w: region_ncc(f, w, window=weights.ncc_window))(fixed_regions, warped)
    return total(
        {
            'region_dissimilarity': everywhere(jnp.sum(1.0 - ncc, axis=-1), 1.0),
            'smoothness': everywhere(jax.vmap(gradient_penalty)(displacement), weights.smoothness),
        }
    )


def perception_objective(
    segmentations: tuple[jax.Array, jax.Array], batch: Batch, weights: PCRegWeights
) -> tuple[jax.Array, Diagnostics]:
    """Return the first stage's loss of the perception network: `w [v_f CE(L_f, S_f) + v_m CE(L_m, S_m)]`.

    Args:
        segmentations: S_f and S_m, (B, D, H, W, C) each, probabilities.
        batch: 'fixed_labels', 'moving_labels' (B, D, H, W), 'fixed_has_labels', 'moving_has_labels' (B,).
        weights: Weights and options.

    Returns:
        The scalar, and its terms by name, see `losses.terms.total`.
    """
    return total(segmentation_terms(segmentations, batch, weights.cross_entropy, cross_entropy))


def teaching_objective(
    displacement: jax.Array,
    fixed_segmentation: jax.Array,
    warped_segmentation: jax.Array,
    batch: Batch,
    weights: PCRegWeights,
) -> tuple[jax.Array, Diagnostics]:
    """Return the second stage's loss of the perception network: the map gives it images and labels to learn from.

    With S_w the segmentation of the warped moving image, both label maps teach both segmentations:

    | term                           | both labelled | fixed only | moving only | none |
    |--------------------------------|---------------|------------|-------------|------|
    | `w CE(L_f, S_f)`               | yes           | yes        | -           | -    |
    | `w CE(L_m o phi, S_w)`         | yes           | -          | yes         | -    |
    | `w t CE(L_f, S_w)`             | yes           | yes        | -           | -    |
    | `w t CE(L_m o phi, S_f)`       | -             | -          | yes         | -    |

    The first column needs `teach_labelled_pairs`. The map is a constant: it learns nothing from this.

    Args:
        displacement: (B, D, H, W, 3), voxels; no gradient reaches it.
        fixed_segmentation: S_f, (B, D, H, W, C), probabilities of the fixed image.
        warped_segmentation: S_w, (B, D, H, W, C), probabilities of the warped moving image.
        batch: Batch, see `perception_objective`.
        weights: Weights and options.

    Returns:
        The scalar, and its terms by name, see `losses.terms.total`.

    Reference:
        He et al., PC-Reg-RT, IEEE JBHI 26, 2022; the first column after its TensorFlow version.
    """
    fixed_labels = one_hot_labels(batch, 'fixed', fixed_segmentation)
    moving_labels = one_hot_labels(batch, 'moving', warped_segmentation)
    warped_labels = jax.vmap(warp_linear)(moving_labels, jax.lax.stop_gradient(displacement))
    fixed_flag, moving_flag = batch['fixed_has_labels'], batch['moving_has_labels']
    pair_counts = 1.0 if weights.teach_labelled_pairs else 1.0 - fixed_flag * moving_flag
    own, taught = weights.cross_entropy, weights.teaching * weights.cross_entropy
    ce = jax.vmap(cross_entropy)
    return total(
        {
            'segmentation_fixed': Term(ce(fixed_labels, fixed_segmentation), own, fixed_flag * pair_counts),
            'segmentation_warped': Term(ce(warped_labels, warped_segmentation), own, moving_flag * pair_counts),
            'teaching_warped': Term(ce(fixed_labels, warped_segmentation), taught, fixed_flag * pair_counts),
            'teaching_fixed': Term(ce(warped_labels, fixed_segmentation), taught, moving_flag * (1.0 - fixed_flag)),
        }
    )
