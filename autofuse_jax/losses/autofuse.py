"""The objective of AutoFuse: weighted, masked terms summed to a scalar, each reported by name (Eq. 1-4)."""

import dataclasses

import jax
import jax.numpy as jnp

from autofuse_jax.fields import resample_displacement, warp_labels, warp_linear, warp_nearest
from autofuse_jax.losses.overlap import dice_loss, focal_dice_loss, focal_loss
from autofuse_jax.losses.regularity import (
    JACOBIAN_REDUCTIONS,
    PRIOR_LAMBDA,
    gradient_penalty,
    negative_jacobian_loss,
    velocity_kl,
)
from autofuse_jax.losses.similarity import NCC_WINDOW, local_ncc
from autofuse_jax.losses.terms import Batch, Diagnostics, Term, everywhere, total
from autofuse_jax.losses.weights import check_weights
from autofuse_jax.metrics.determinants import DETERMINANTS
from autofuse_jax.outputs import RegistrationOutput

CONSISTENCY_GRADIENTS = ('both', 'seg_only', 'flow_only')
LABEL_WARPS = ('linear', 'nearest')
MISSING_LABELS = ('flags', 'zeros')


@dataclasses.dataclass(frozen=True, kw_only=True)
class ObjectiveWeights:
    """Weights and options of the objective.

    Attributes:
        kl: sigma of Eq. 1; default 0.01.
        prior_lambda: lambda of Eq. 1; default 50.
        jacobian: mu of Eq. 1; default 1e-5 on the sum over voxels.
        jacobian_reduction: 'sum' (default) or 'mean'.
        jacobian_determinant: 'correct' (default) or 'official', see `negative_jacobian_loss`.
        ncc_window: Side of the correlation window in voxels; default 9.
        segmentation: alpha of Eq. 2; default 1.
        fusion: beta of Eq. 2; default 1.
        consistency_grad: Arguments that the term between warped moving labels and the fixed segmentation trains: 'both'
            (default), 'seg_only' (as the official code does in effect) or 'flow_only'.
        label_warp: 'linear' (default) warps each class's indicator, so that the terms with warped labels train the
            deformation; 'nearest' warps label indices as the official code does, through which no gradient flows.
        missing_labels: Sign of a missing label map: 'flags' (default) of each sample, or 'zeros' as in the official
            code: a term is left out, for the whole batch, where its target holds nothing but background. A labelled
            volume without foreground then counts as unlabelled.
        ignore_absent: Whether Dice is averaged over the classes present in the target only; default True.
        inverse: Weight w of the same terms for the inverse map, which registers fixed to moving; default 0, as in the
            paper. Each term becomes `(forward + w backward) / (1 + w)`: twice the supervision for one pass through the
            network, and a velocity that explains the pair in both directions.
        smoothness: Weight of the mean squared gradient of the field that the network predicts; default 0, as in the
            paper. Made for AutoFuse-disp, which has no KL divergence.
        segmentation_phases: Names of the phases that train the single branch alone, on labelled frames without a
            partner, see `frame_segmentation_objective`; default none, as in the paper.
        fusion_phases: Names of the phases in which the single branch stays as it is and the fusion branch alone is
            trained; default none, as in the paper.
        teacher: Weight of the mean squared distance between the mean velocity and a given one, in voxels of the
            velocity; default 0, as in the paper.
        teacher_phases: Names of the phases in which that term trains the fusion branch alone; default none.

    Raises:
        UserError: A weight is negative or not finite, the window is even, or an option is unknown.
    """

    kl: float = 0.01
    prior_lambda: float = PRIOR_LAMBDA
    jacobian: float = 1e-5
    jacobian_reduction: str = 'sum'
    jacobian_determinant: str = 'correct'
    ncc_window: int = NCC_WINDOW
    segmentation: float = 1.0
    fusion: float = 1.0
    consistency_grad: str = 'both'
    label_warp: str = 'linear'
    missing_labels: str = 'flags'
    ignore_absent: bool = True
    inverse: float = 0.0
    smoothness: float = 0.0
    segmentation_phases: tuple[str, ...] = ()
    fusion_phases: tuple[str, ...] = ()
    teacher: float = 0.0
    teacher_phases: tuple[str, ...] = ()

    def __post_init__(self):
        check_weights(
            self,
            jacobian_reduction=JACOBIAN_REDUCTIONS,
            jacobian_determinant=DETERMINANTS,
            consistency_grad=CONSISTENCY_GRADIENTS,
            label_warp=LABEL_WARPS,
            missing_labels=MISSING_LABELS,
        )


def autofuse_objective(
    output: RegistrationOutput, batch: Batch, weights: ObjectiveWeights
) -> tuple[jax.Array, Diagnostics]:
    """Return the loss of a batch and the value of each of its terms.

    `L = -NCC + sigma KL + mu JD + alpha [v_m FD(L_m, S_m) + v_f FD(L_f, S_f)]
    + beta [v_f FD(L_f, S_m o psi) + v_m FD(L_m o psi, S_f) + v_f v_m FD(L_f, L_m o psi)]`,
    FD being FocalDice with the target first and v the per-sample label flags. Terms are computed per sample and
    averaged over the batch; a masked term contributes zero whatever the label arrays hold.

    Note:
        By default this differs from the official code, on purpose: L_m o psi is warped linearly per class, so that its
        terms train psi (there they are constants); labels are declared absent by flags, not by all-zero arrays; the
        Jacobian determinant is the correct one; classes that are not there do not count in Dice. Each is an option.

    Args:
        output: Output of the network, for this batch.
        batch: 'fixed' (B, D, H, W, 1), and with segmentations 'fixed_labels', 'moving_labels' (B, D, H, W) and
            'fixed_has_labels', 'moving_has_labels' (B,).
        weights: Weights and options.

    Returns:
        The scalar loss, and scalars by name: `term/<name>` is the unweighted mean over the samples that have the
        term, `weighted/<name>` what it adds to the loss.

    Reference:
        Meng et al., AutoFuse, Eq. 1-4.
    """
    if weights.missing_labels == 'zeros' and output.fixed_segmentation is not None:
        batch = _with_flags_from_zeros(batch)
    terms = _terms_of_map(output, batch, weights)
    if weights.inverse and output.inverse_displacement is not None:
        exchanged = _exchanged(output, output.inverse_displacement, batch)
        terms = _mean_of_terms(terms, _terms_of_map(*exchanged, weights), weights.inverse)
    if output.log_variance is not None:
        terms['kl'] = everywhere(_kl(output, weights), weights.kl)
    if weights.smoothness:
        if output.velocity_mean is None:
            raise ValueError('the output has no velocity_mean, whose smoothness is wanted.')
        terms['smoothness'] = everywhere(jax.vmap(gradient_penalty)(output.velocity_mean), weights.smoothness)
    segmentations = _segmentations(output)
    if segmentations is not None:
        terms |= _segmentation_terms(*segmentations, batch, weights)
    if weights.teacher:
        terms |= teacher_term(output, batch, weights.teacher)
    return total(terms)


def teacher_term(output: RegistrationOutput, batch: Batch, weight: float) -> dict[str, Term]:
    """Return the mean squared distance between the mean velocity and that of the batch, in voxels of the former.

    Args:
        output: Result of the network for this batch.
        batch: 'teacher_velocity' (B, d, h, w, 3), in voxels of its own grid over the same field of view.
        weight: Weight of the term.

    Returns:
        The term 'teacher'.

    Raises:
        ValueError: The network has no velocity.
    """
    mean = output.velocity_mean
    if mean is None:
        raise ValueError('the output has no velocity_mean, which a teacher teaches.')
    shape, target = mean.shape, batch['teacher_velocity']
    if target.shape != shape:
        target = jax.vmap(lambda v: resample_displacement(v, shape[1:4]))(target)
    return {'teacher': everywhere(jnp.mean(jnp.square(mean - target), axis=(1, 2, 3, 4)), weight)}


def _terms_of_map(output: RegistrationOutput, batch: Batch, weights: ObjectiveWeights) -> dict[str, Term]:
    """Return the terms that depend on the displacement."""
    terms = {
        'negative_ncc': everywhere(-_similarity(batch['fixed'], output.warped, weights), 1.0),
        'jacobian': everywhere(_jacobian(output.displacement, weights), weights.jacobian),
    }
    segmentations = _segmentations(output)
    if segmentations is not None:
        terms |= _fusion_terms(output.displacement, *segmentations, batch, weights)
    return terms


def _segmentations(output: RegistrationOutput) -> tuple[jax.Array, jax.Array] | None:
    """Return the segmentations of the fixed and the moving image, None where the network has none."""
    fixed, moving = output.fixed_segmentation, output.moving_segmentation
    if fixed is None and moving is None:
        return None
    if fixed is None or moving is None:
        raise ValueError('the output has the segmentation of one image only, expected both or none.')
    return fixed, moving


def _exchanged(output: RegistrationOutput, inverse: jax.Array, batch: Batch) -> tuple[RegistrationOutput, Batch]:
    """Exchange the roles of fixed and moving and take the inverse map."""
    exchanged = dataclasses.replace(
        output,
        displacement=inverse,
        inverse_displacement=output.displacement,
        warped=jax.vmap(warp_linear)(batch['fixed'], inverse),
        fixed_segmentation=output.moving_segmentation,
        moving_segmentation=output.fixed_segmentation,
    )
    other = {'fixed': 'moving', 'moving': 'fixed'}
    roles = {name: name.partition('_') for name in batch}
    # What belongs to neither image, such as a teacher's velocity, is no part of these terms.
    return exchanged, {
        other[role] + rest + kind: batch[name] for name, (role, rest, kind) in roles.items() if role in other
    }


def _mean_of_terms(forward: dict[str, Term], backward: dict[str, Term], weight: float) -> dict[str, Term]:
    """Average two directions; a sample that has a term in one direction only keeps its share of it."""
    mean = {}
    for name, one in forward.items():
        other = backward[name]
        share = one.flags + weight * other.flags
        values = (one.values * one.flags + weight * other.values * other.flags) / jnp.where(share > 0, share, 1.0)
        mean[name] = Term(values, one.weight, share / (1.0 + weight))
    return mean


def _similarity(fixed: jax.Array, warped: jax.Array, weights: ObjectiveWeights) -> jax.Array:
    return jax.vmap(lambda f, w: local_ncc(f, w, window=weights.ncc_window))(fixed, warped)


def _jacobian(displacement: jax.Array, weights: ObjectiveWeights) -> jax.Array:
    return jax.vmap(
        lambda u: negative_jacobian_loss(
            u, reduction=weights.jacobian_reduction, determinant=weights.jacobian_determinant
        )
    )(displacement)


def _kl(output: RegistrationOutput, weights: ObjectiveWeights) -> jax.Array:
    return jax.vmap(lambda mean, s: velocity_kl(mean, s, prior_lambda=weights.prior_lambda))(
        output.velocity_mean, output.log_variance
    )


def _segmentation_terms(
    fixed: jax.Array, moving: jax.Array, batch: Batch, weights: ObjectiveWeights
) -> dict[str, Term]:
    """Return the terms of Eq. 3."""
    terms = {}
    for role, segmentation in (('moving', moving), ('fixed', fixed)):
        target = _one_hot(batch[f'{role}_labels'], segmentation)
        values = _focal_dice(target, segmentation, weights)
        terms[f'segmentation_{role}'] = Term(values, weights.segmentation, batch[f'{role}_has_labels'])
    return terms


def _fusion_terms(
    displacement: jax.Array, fixed: jax.Array, moving: jax.Array, batch: Batch, weights: ObjectiveWeights
) -> dict[str, Term]:
    """Return the terms of Eq. 4."""
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


def _with_flags_from_zeros(batch: Batch) -> Batch:
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
