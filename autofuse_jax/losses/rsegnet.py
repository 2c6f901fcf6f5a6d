"""The objective of RSegNet: registration, segmentation, and their agreement through the map and its inverse."""

import dataclasses

import jax

from autofuse_jax.fields import warp_linear
from autofuse_jax.losses.label_maps import dice_losses, labels_or_predicted, one_hot_labels
from autofuse_jax.losses.regularity import velocity_kl
from autofuse_jax.losses.similarity import NCC_WINDOW, local_ncc
from autofuse_jax.losses.terms import Batch, Diagnostics, Term, everywhere, total
from autofuse_jax.losses.weights import check_weights
from autofuse_jax.outputs import RegistrationOutput

# Factor of the usual Dice coefficient, which `dice_loss` has.
USUAL_FACTOR = 2.0
PRIOR_LAMBDA = 400.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class RSegNetWeights:
    """Weights and options of `rsegnet_objective`.

    The paper's values are alpha 0.05, beta_forward 0.1, beta_inverse 0.2, dice_factor 1, tuned for squared differences
    as similarity. The defaults weigh each term like the correlation, which is in [0, 1].

    Attributes:
        kl: Weight of the divergence of the velocity from its prior; default 0.01.
        prior_lambda: Precision lambda of the prior; default 400. There is no folding term, so that the prior is stiff.
        ncc_window: Side of the correlation window in voxels, odd; default 9.
        alpha: Weight of the segmentation's overlap with labels; default 1.
        beta_forward: Weight of the overlap of fixed labels and the moving segmentation warped; default 1.
        beta_inverse: Weight of the overlap of moving labels and the fixed labels warped back; default 1.
        dice_factor: 2 (default) for the usual Dice, 1 as printed in the paper, with which a perfect match gives -1/2.
        first_stage: Names of the phases in which both betas are 0, so that each subnet is trained for itself; default
            phase_1. 40 % of the steps fit.

    Raises:
        UserError: A weight is negative or not finite, or the window is even.
    """

    kl: float = 0.01
    prior_lambda: float = PRIOR_LAMBDA
    ncc_window: int = NCC_WINDOW
    alpha: float = 1.0
    beta_forward: float = 1.0
    beta_inverse: float = 1.0
    dice_factor: float = USUAL_FACTOR
    first_stage: tuple[str, ...] = ('phase_1',)

    def __post_init__(self):
        check_weights(self)


def rsegnet_objective(
    output: RegistrationOutput, batch: Batch, weights: RSegNetWeights
) -> tuple[jax.Array, Diagnostics]:
    """Return the loss of a batch and the value of each of its terms, see `losses.terms.total`.

    `L = -NCC(I_f, I_m o phi) + sigma KL + alpha [v_m D(L_m, S_m) + v_f D(L_f, S_f)]
    + beta_forward v_f D(L_f, S_m o phi) + beta_inverse v_m D(L_m, T_f o phi^-1)`, D being the Dice loss, v the
    label flags, and T_f the fixed labels or, where they are missing, the fixed segmentation without gradient. The
    similarity, the KL and the inverse term train the registration subnet, the segmentation terms the segmentation
    subnet, the forward term both. A term of weight 0 is not computed.

    Args:
        output: Output of `RSegNet`, for this batch.
        batch: 'fixed' (B, D, H, W, 1), 'fixed_labels', 'moving_labels' (B, D, H, W), 'fixed_has_labels',
            'moving_has_labels' (B,).
        weights: Weights and options; `first_stage` is not looked at.

    Reference:
        Qiu and Ren, IEEE T-ASE 19, 2022, where all images have labels and only the moving one is segmented. Inferred:
        what is done where labels are missing.
    """
    ncc = jax.vmap(lambda f, w: local_ncc(f, w, window=weights.ncc_window))(batch['fixed'], output.warped)
    fixed_segmentation, moving_segmentation = output.fixed_segmentation, output.moving_segmentation
    if fixed_segmentation is None or moving_segmentation is None:
        raise ValueError('the output has no segmentations, expected that of RSegNet.')
    kl = jax.vmap(lambda mean, s: velocity_kl(mean, s, prior_lambda=weights.prior_lambda))
    terms = {
        'negative_ncc': everywhere(-ncc, 1.0),
        'kl': everywhere(kl(output.velocity_mean, output.log_variance), weights.kl),
    }
    scale = weights.dice_factor / USUAL_FACTOR
    fixed_flag, moving_flag = batch['fixed_has_labels'], batch['moving_has_labels']
    fixed_labels = one_hot_labels(batch, 'fixed', fixed_segmentation)
    moving_labels = one_hot_labels(batch, 'moving', moving_segmentation)
    if weights.alpha:
        moving = dice_losses(moving_labels, moving_segmentation)
        fixed = dice_losses(fixed_labels, fixed_segmentation)
        terms['segmentation_moving'] = Term(moving, scale * weights.alpha, moving_flag)
        terms['segmentation_fixed'] = Term(fixed, scale * weights.alpha, fixed_flag)
    if weights.beta_forward:
        warped = jax.vmap(warp_linear)(moving_segmentation, output.displacement)
        terms['forward'] = Term(dice_losses(fixed_labels, warped), scale * weights.beta_forward, fixed_flag)
    if weights.beta_inverse:
        if output.inverse_displacement is None:
            raise ValueError('the output has no inverse map, expected that of RSegNet.')
        fixed_masks = labels_or_predicted(batch, 'fixed', jax.lax.stop_gradient(fixed_segmentation))
        warped = jax.vmap(warp_linear)(fixed_masks, output.inverse_displacement)
        terms['inverse'] = Term(dice_losses(moving_labels, warped), scale * weights.beta_inverse, moving_flag)
    return total(terms)
