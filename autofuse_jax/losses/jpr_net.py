"""The objective of JPR-Net: registration, parcellation, similarity of parcellations, and augmentation by the map."""

import dataclasses

import jax

from autofuse_jax.fields import warp_linear
from autofuse_jax.losses.cross_entropy import cross_entropy
from autofuse_jax.losses.label_maps import labels_or_predicted, one_hot_labels, structure_overlap
from autofuse_jax.losses.one_field import RegistrationWeights, map_terms
from autofuse_jax.losses.similarity import NCC_WINDOW
from autofuse_jax.losses.terms import Batch, Diagnostics, Term, total
from autofuse_jax.losses.weights import check_weights
from autofuse_jax.outputs import RegistrationOutput


@dataclasses.dataclass(frozen=True, kw_only=True)
class JPRNetWeights:
    """Weights and options of `jpr_net_objective`; none of the weights is published.

    Attributes:
        smoothness: Weight of the mean squared gradient of the displacement, or of the velocity where that is
            integrated; default 1.
        ncc_window: Side of the correlation window in voxels, odd; default 9.
        parcellation: Weight of the cross-entropy of the parcellation; default 1.
        map_similarity: Weight of the overlap of fixed and warped moving parcellation; default 1.
        augmentation: Weight of the cross-entropy with labels that the map carries over; default 1.
        unlabelled_similarity: Whether to compare predicted parcellations of pairs without any labels too; default
            False.

    Raises:
        UserError: A weight is negative or not finite, the window is even, or an option is no flag.
    """

    smoothness: float = 1.0
    ncc_window: int = NCC_WINDOW
    parcellation: float = 1.0
    map_similarity: float = 1.0
    augmentation: float = 1.0
    unlabelled_similarity: bool = False

    def __post_init__(self):
        check_weights(self)


def jpr_net_objective(
    output: RegistrationOutput, batch: Batch, weights: JPRNetWeights
) -> tuple[jax.Array, Diagnostics]:
    """Return the loss of a batch and the value of each of its terms, see `losses.terms.total`.

    `L = -NCC(I_f, I_m o phi) + lambda |grad u|^2 + w_p [v_m CE(L_m, P_m) + v_f CE(L_f, P_f)]
    + w_s Dice(T_f, T_m o phi) + w_a augmentation`, T being an image's labels or, where they are missing, its predicted
    parcellation P. Which terms a pair has:

    | term                   | both labelled | fixed only       | moving only      | none            |
    |------------------------|---------------|------------------|------------------|-----------------|
    | NCC, smoothness        | yes           | yes              | yes              | yes             |
    | parcellation (CE)      | P_f, P_m      | P_f              | P_m              | -               |
    | map similarity (Dice)  | L_f, L_m o phi | L_f, P_m o phi  | P_f, L_m o phi   | option: P_f, P_m o phi |
    | augmentation (CE)      | -             | L_f, P_m o phi   | L_m o phi, P_f   | -               |

    The augmentation trains the parcellation only: there the map is a constant. The map similarity trains the map, and
    the parcellation where it takes part.

    Args:
        output: Output of `JPRNet`, for this batch.
        batch: 'fixed' (B, D, H, W, 1), 'fixed_labels', 'moving_labels' (B, D, H, W), 'fixed_has_labels',
            'moving_has_labels' (B,).
        weights: Weights and options.

    Reference:
        Zhao et al., MICCAI 2021, for the terms; their exact form is inferred.
    """
    if output.fixed_segmentation is None or output.moving_segmentation is None:
        raise ValueError('the output has no segmentations, expected that of JPRNet.')
    segmentations = {'moving': output.moving_segmentation, 'fixed': output.fixed_segmentation}
    field = output.displacement if output.velocity_mean is None else output.velocity_mean
    map_weights = RegistrationWeights(smoothness=weights.smoothness, ncc_window=weights.ncc_window)
    terms = map_terms(batch['fixed'], output.warped, output.displacement, field, map_weights)
    moving_masks = labels_or_predicted(batch, 'moving', segmentations['moving'])
    warped = jax.vmap(warp_linear)(moving_masks, output.displacement)
    if weights.parcellation:
        terms |= _parcellation(segmentations, batch, weights)
    if weights.map_similarity:
        terms['map_similarity'] = _map_similarity(segmentations['fixed'], batch, warped, weights)
    if weights.augmentation:
        terms |= _augmentation(segmentations, output.displacement, batch, warped, weights)
    return total(terms)


def _parcellation(segmentations: dict[str, jax.Array], batch: Batch, weights: JPRNetWeights) -> dict[str, Term]:
    terms = {}
    for role, predicted in segmentations.items():
        values = jax.vmap(cross_entropy)(one_hot_labels(batch, role, predicted), predicted)
        terms[f'parcellation_{role}'] = Term(values, weights.parcellation, batch[f'{role}_has_labels'])
    return terms


def _map_similarity(segmentation: jax.Array, batch: Batch, warped: jax.Array, weights: JPRNetWeights) -> Term:
    fixed = labels_or_predicted(batch, 'fixed', segmentation)
    values, flags = structure_overlap(fixed, warped, batch, unlabelled=weights.unlabelled_similarity)
    return Term(values, weights.map_similarity, flags)


def _augmentation(
    segmentations: dict[str, jax.Array],
    displacement: jax.Array,
    batch: Batch,
    warped: jax.Array,
    weights: JPRNetWeights,
) -> dict[str, Term]:
    fixed_flag, moving_flag = batch['fixed_has_labels'], batch['moving_has_labels']
    # Where the term counts, what was warped are the moving labels.
    to_fixed = jax.vmap(cross_entropy)(jax.lax.stop_gradient(warped), segmentations['fixed'])
    # A second warp: this one trains the parcellation and not the map.
    predicted = jax.vmap(warp_linear)(segmentations['moving'], jax.lax.stop_gradient(displacement))
    to_moving = jax.vmap(cross_entropy)(one_hot_labels(batch, 'fixed', segmentations['fixed']), predicted)
    return {
        'augmentation_fixed': Term(to_fixed, weights.augmentation, moving_flag * (1.0 - fixed_flag)),
        'augmentation_moving': Term(to_moving, weights.augmentation, fixed_flag * (1.0 - moving_flag)),
    }
