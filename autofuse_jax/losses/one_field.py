"""The objective of the comparison methods that predict one field: similarity, smoothness, optional label overlap."""

import dataclasses

import jax
import jax.numpy as jnp

from autofuse_jax.errors import Range, UserError, check_option
from autofuse_jax.fields import warp_labels, warp_linear
from autofuse_jax.losses.overlap import dice_loss
from autofuse_jax.losses.regularity import PRIOR_LAMBDA, gradient_penalty, negative_jacobian_loss, velocity_kl
from autofuse_jax.losses.similarity import NCC_WINDOW, local_ncc
from autofuse_jax.losses.terms import Batch, Diagnostics, Term, everywhere, total
from autofuse_jax.losses.weights import check_weights
from autofuse_jax.outputs import RegistrationOutput

# What the gradient of the field is measured in.
VOXELS, EXTENT = 'voxels', 'extent'
SMOOTHNESS_UNITS = (VOXELS, EXTENT)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RegistrationWeights:
    """Weights and options of `registration_objective`.

    Attributes:
        smoothness: Weight of the mean squared gradient of the predicted field: the velocity where there is one, else
            the displacement; default 1.
        smoothness_unit: 'voxels' (default), or 'extent': components and axes in fractions of the volume's size, so that
            an axis with fewer voxels is not stiffer (LKU-Net).
        kl: Weight of the divergence of a predicted velocity distribution from its prior; default 0.01. Without effect
            on networks that predict no variance.
        prior_lambda: Precision lambda of the prior; default 50.
        jacobian: Weight of the sum of negative Jacobian determinants; default 0.
        ncc_window: Side of the correlation window in voxels, odd; default 9.
        inverse: Weight of the same terms for the inverse map, where the network predicts one; default 0. They are
            added, not averaged.
        dice: Weight of the overlap of warped moving and fixed labels, for pairs that have both; default 0: labels are
            not looked at.
        num_classes: C, background included; needed with `dice`.

    Raises:
        UserError: A weight is negative or not finite, the window is even, the unit unknown, or there is `dice` without
            classes.
    """

    smoothness: float = 1.0
    smoothness_unit: str = VOXELS
    kl: float = 0.01
    prior_lambda: float = PRIOR_LAMBDA
    jacobian: float = 0.0
    ncc_window: int = NCC_WINDOW
    inverse: float = 0.0
    dice: float = 0.0
    num_classes: int = 0

    def __post_init__(self):
        check_weights(self, smoothness_unit=SMOOTHNESS_UNITS)
        check_option('loss.num_classes', self.num_classes, Range(least=0, whole=True))
        if self.dice and self.num_classes < 2:
            raise UserError(
                f'loss.dice is {self.dice} with loss.num_classes {self.num_classes}',
                expected='the number of classes of the data, background included',
                fix='set loss.num_classes, or loss.dice=0 for training without labels',
            )


def registration_objective(
    output: RegistrationOutput, batch: Batch, weights: RegistrationWeights
) -> tuple[jax.Array, Diagnostics]:
    """Return the loss of a batch and the value of each of its terms, see `losses.terms.total`.

    `L = -NCC(I_f, I_m o phi) + lambda |grad u|^2 + sigma KL + mu JD + gamma v_f v_m Dice(L_f, L_m o phi)`, all but the
    KL and the Dice also for the inverse map where `inverse` is set. Labels are warped as linearly interpolated
    indicators of the foreground classes, so that Dice trains the field.

    Args:
        output: Output of the network, for this batch.
        batch: 'fixed' and 'moving' (B, D, H, W, 1), and for `dice` 'fixed_labels', 'moving_labels' (B, D, H, W) and
            'fixed_has_labels', 'moving_has_labels' (B,).
        weights: Weights and options.

    Reference:
        Balakrishnan et al., VoxelMorph, IEEE TMI 38, 2019; with NCC as the similarity of every method, as in Meng et
        al., AutoFuse, section 4.3.
    """
    field = output.displacement if output.velocity_mean is None else output.velocity_mean
    terms = map_terms(batch['fixed'], output.warped, output.displacement, field, weights)
    if weights.inverse and output.inverse_displacement is not None:
        inverse = output.inverse_displacement
        warped = jax.vmap(warp_linear)(batch['fixed'], inverse)
        backward = map_terms(batch['moving'], warped, inverse, inverse, weights)
        terms |= {
            f'inverse_{name}': term._replace(weight=weights.inverse * term.weight)
            for name, term in backward.items()
            # A velocity and its negative are equally smooth.
            if name != 'smoothness' or output.velocity_mean is None
        }
    if output.log_variance is not None:
        kl = jax.vmap(lambda mean, s: velocity_kl(mean, s, prior_lambda=weights.prior_lambda))
        terms['kl'] = everywhere(kl(output.velocity_mean, output.log_variance), weights.kl)
    if weights.dice:
        terms['dice'] = label_term(batch, output.displacement, weights.dice, weights.num_classes)
    return total(terms)


def map_terms(
    fixed: jax.Array, warped: jax.Array, displacement: jax.Array, field: jax.Array, weights: RegistrationWeights
) -> dict[str, Term]:
    """Return similarity, smoothness and folding of a map.

    Args:
        fixed: (B, D, H, W, 1).
        warped: (B, D, H, W, 1).
        displacement: (B, D, H, W, 3), in which folds are counted.
        field: (B, d, h, w, 3), which is smoothed.
        weights: Weights and options.
    """
    ncc = jax.vmap(lambda f, w: local_ncc(f, w, window=weights.ncc_window))(fixed, warped)
    # A component and an axis in fractions of the volume: the spacing is the inverse of the size.
    spacing = None if weights.smoothness_unit == VOXELS else 1.0 / jnp.asarray(field.shape[1:4], field.dtype)
    penalty = jax.vmap(lambda one: gradient_penalty(one, spacing=spacing))(field)
    terms = {'negative_ncc': everywhere(-ncc, 1.0), 'smoothness': everywhere(penalty, weights.smoothness)}
    if weights.jacobian:
        terms['jacobian'] = everywhere(jax.vmap(negative_jacobian_loss)(displacement), weights.jacobian)
    return terms


def label_term(batch: Batch, displacement: jax.Array, weight: float, num_classes: int) -> Term:
    """Return the Dice loss of warped moving and fixed labels, foreground classes only, where a pair has both.

    Args:
        batch: Batch, see `registration_objective`.
        displacement: (B, D, H, W, 3).
        weight: Weight of the term.
        num_classes: C, background included.
    """
    fixed = jax.nn.one_hot(batch['fixed_labels'], num_classes, dtype=displacement.dtype)
    warped = jax.vmap(lambda one, u: warp_labels(one, u, num_classes=num_classes))(batch['moving_labels'], displacement)
    values = jax.vmap(lambda t, p: dice_loss(t, p, ignore_absent=True))(fixed, warped)
    return Term(values, weight, batch['fixed_has_labels'] * batch['moving_has_labels'])
