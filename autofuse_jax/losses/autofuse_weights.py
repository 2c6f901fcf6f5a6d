"""Weights and options of AutoFuse's objective."""

import dataclasses

from autofuse_jax.losses.regularity import JACOBIAN_REDUCTIONS, PRIOR_LAMBDA
from autofuse_jax.losses.similarity import NCC_WINDOW
from autofuse_jax.losses.weights import check_weights
from autofuse_jax.metrics.determinants import DETERMINANTS

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
            trained, with the branch that refines its velocity where there is one; default none, as in the paper.
        teacher: Weight of the mean squared distance between the mean velocity and a given one, in voxels of the
            velocity; default 0, as in the paper.
        teacher_phases: Names of the phases in which that term trains the fusion branch alone, likewise; default none.

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
