"""AutoFuse as a registration method, unsupervised or semi-supervised; its fusion baselines are trained alike."""

import dataclasses
import functools

import jax

from autofuse_jax.errors import UserError, check_types
from autofuse_jax.losses.autofuse import autofuse_objective, teacher_term
from autofuse_jax.losses.autofuse_weights import ObjectiveWeights
from autofuse_jax.losses.frame_segmentation import frame_segmentation_objective
from autofuse_jax.losses.terms import total
from autofuse_jax.methods.base import Batch, Diagnostics, Method, Objective, Params, Prediction
from autofuse_jax.methods.pair_method import apply_network, lazy_init, prediction_of, velocity_noise
from autofuse_jax.models.field_outputs import SIZE_MULTIPLE
from autofuse_jax.models.fusion_baseline import FusionBaseline
from autofuse_jax.models.pair_network import PairNetwork, in_compute_dtype

# Fusion of a network that has gates.
GATED = 'gate'
SINGLE_BRANCH, FUSION_BRANCH, REFINING_BRANCH = 'single_branch', 'fusion_branch', 'refining_branch'
PLANE_BRANCH, DESCENT_BRANCH = 'plane_branch', 'descent_branch'
Network = PairNetwork | FusionBaseline


@dataclasses.dataclass(frozen=True, kw_only=True)
class AutoFuseInference:
    """How AutoFuse predicts.

    Attributes:
        symmetric: Whether to predict from both orders of the images, `v = (v(fixed, moving) - v(moving, fixed)) / 2`,
            so that exchanging them gives the inverse map up to integration error; what sees one image only runs once.
            Default False, as in the paper. Needs a network that predicts a velocity.
        sample_velocity: Whether to predict from a sampled velocity, as the official code does: the result then depends
            on the random key. Default False.

    Raises:
        UserError: Both are on, or one is no flag.
    """

    symmetric: bool = False
    sample_velocity: bool = False

    def __post_init__(self):
        check_types(self, 'inference.')
        if self.symmetric and self.sample_velocity:
            raise UserError(
                'inference.symmetric and inference.sample_velocity are both on',
                expected='one of them, because the average is one of mean velocities',
                fix='set inference.sample_velocity=False',
            )


def autofuse_method(
    name: str,
    model: Network,
    weights: ObjectiveWeights,
    inference: AutoFuseInference = AutoFuseInference(),
) -> Method:
    """Join the network and its objective.

    Training samples the velocity, one standard normal draw a voxel and step; prediction takes its mean, so that it is
    the same every time.

    Args:
        name: Name of the method in the config.
        model: The network; with `num_classes` above 0 training is semi-supervised.
        weights: Weights and options of the objective.
        inference: Options of the prediction; default the mean velocity of one order of the images.

    Returns:
        A method with one objective that trains everything; in `weights.segmentation_phases` it trains the single branch
        alone, on frames without a partner, in `weights.fusion_phases` the fusion branch alone, with what
        refines its velocity, and in `weights.teacher_phases` these from given velocities alone.

    Raises:
        UserError: `symmetric`, `inverse` or a teacher with a network that predicts a displacement, or phases that train
            a segmentation or a fusion branch with a network that has none.

    Reference:
        Meng et al., AutoFuse, sections 3.2 and 3.3.
    """
    _check(name, model, weights, inference)

    def loss(params: Params, batch: Batch, key: jax.Array) -> tuple[jax.Array, Diagnostics]:
        noise = velocity_noise(key, model, batch['fixed'].shape)
        output = apply_network(model, params, batch['fixed'], batch['moving'], noise)
        return autofuse_objective(output, batch, weights)

    def gate_weights(params: Params, fixed: jax.Array, moving: jax.Array) -> dict[str, jax.Array]:
        return apply_network(model, params, fixed, moving).gate_weights

    segmentation = (Objective('segmentation', functools.partial(_segmentation_loss, model), trains=(SINGLE_BRANCH,)),)
    teacher_loss = functools.partial(_teacher_loss, model, weights.teacher or 1.0)
    # What corrects the velocity registers, too, and no other phase of such a training would reach it.
    correcting = {'refining_channels': REFINING_BRANCH, 'descent_channels': DESCENT_BRANCH}
    registering = (FUSION_BRANCH, *(branch for option, branch in correcting.items() if getattr(model, option, 0)))
    teacher = (Objective('teacher', teacher_loss, trains=registering),)
    fusion = (Objective('fusion', loss, trains=registering),)
    registration = (Objective('registration', loss),)

    def objectives(phase: str) -> tuple[Objective, ...]:
        if phase in weights.segmentation_phases:
            return segmentation
        if phase in weights.teacher_phases:
            return teacher
        return fusion if phase in weights.fusion_phases else registration

    return Method(
        name,
        lazy_init(model),
        objectives,
        functools.partial(_predict, model, inference),
        uses_labels=model.num_classes > 0,
        multiple=model.multiple if isinstance(model, PairNetwork) else (SIZE_MULTIPLE,) * 3,
        gate_weights=gate_weights if getattr(model, 'fusion', None) == GATED else None,
    )


def _check(name: str, model: Network, weights: ObjectiveWeights, inference: AutoFuseInference) -> None:
    if inference.symmetric and model.output != 'velocity':
        raise UserError(
            f'inference.symmetric is on with model.output {model.output!r}',
            expected="model.output='velocity', because the average is one of velocities",
            fix='set inference.symmetric=False',
        )
    alone = (*weights.fusion_phases, *weights.teacher_phases)
    if alone and not isinstance(model, PairNetwork):
        raise UserError(
            f'loss.fusion_phases or loss.teacher_phases names {alone}, and {name} has no fusion branch',
            expected='a network with a fusion branch in phases that train it alone',
            fix='set loss.fusion_phases=() and loss.teacher_phases=()',
        )
    if weights.inverse and model.output != 'velocity':
        raise UserError(
            f'loss.inverse is {weights.inverse} with model.output {model.output!r}',
            expected="model.output='velocity', because only a velocity gives the inverse map",
            fix='set loss.inverse=0',
        )
    if (weights.teacher or weights.teacher_phases) and model.output != 'velocity':
        raise UserError(
            f'loss.teacher or loss.teacher_phases is set with model.output {model.output!r}',
            expected="model.output='velocity', because velocities teach",
            fix='set loss.teacher=0 and loss.teacher_phases=()',
        )
    if weights.segmentation_phases and not model.num_classes:
        raise UserError(
            f'loss.segmentation_phases is {tuple(weights.segmentation_phases)} and model.num_classes 0',
            expected='a network with a segmentation in phases that train it',
            fix='set model.num_classes, or loss.segmentation_phases=()',
        )


def _predict(
    model: Network,
    inference: AutoFuseInference,
    params: Params,
    fixed: jax.Array,
    moving: jax.Array,
    key: jax.Array,
) -> Prediction:
    noise = velocity_noise(key, model, fixed.shape) if inference.sample_velocity else None
    output = apply_network(model, params, fixed, moving, noise, symmetric=inference.symmetric)
    return prediction_of(output, model)


def _segmentation_loss(model: Network, params: Params, batch: Batch, key: jax.Array) -> tuple[jax.Array, Diagnostics]:
    """Train the single branch on frames without a partner."""
    del key
    single, _ = model.branches()
    images = in_compute_dtype(batch['fixed'], model.compute_dtype)
    _, segmentation = apply_network(single, params[SINGLE_BRANCH], images)
    return frame_segmentation_objective(segmentation, batch)


def _teacher_loss(
    model: Network, weight: float, params: Params, batch: Batch, key: jax.Array
) -> tuple[jax.Array, Diagnostics]:
    """Train the fusion branch on given velocities."""
    del key
    # Neither maps nor warped images are needed, and what nobody uses is removed by the compiler.
    output = apply_network(model, params, batch['fixed'], batch['moving'])
    return total(teacher_term(output, batch, weight))
