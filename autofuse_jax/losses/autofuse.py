"""The objective of AutoFuse: weighted, masked terms summed to a scalar, each reported by name (Eq. 1-4)."""

import dataclasses

import jax
import jax.numpy as jnp

from autofuse_jax.fields import resample_displacement, warp_linear
from autofuse_jax.losses.autofuse_labels import fusion_terms, segmentation_terms, with_flags_from_zeros
from autofuse_jax.losses.autofuse_weights import ObjectiveWeights
from autofuse_jax.losses.regularity import (
    gradient_penalty,
    negative_jacobian_loss,
    velocity_kl,
)
from autofuse_jax.losses.similarity import local_ncc
from autofuse_jax.losses.terms import Batch, Diagnostics, Term, everywhere, total
from autofuse_jax.outputs import RegistrationOutput


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
        batch = with_flags_from_zeros(batch)
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
        terms |= segmentation_terms(*segmentations, batch, weights)
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
        terms |= fusion_terms(output.displacement, *segmentations, batch, weights)
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
