"""AutoFuse as a registration method, unsupervised or semi-supervised; its fusion baselines are trained alike."""

import dataclasses

import jax

from autofuse_jax.fields import integrate_velocity, upsample_displacement
from autofuse_jax.losses.autofuse import ObjectiveWeights, autofuse_objective, teacher_term
from autofuse_jax.losses.frame_segmentation import frame_segmentation_objective
from autofuse_jax.losses.terms import total
from autofuse_jax.methods.base import Batch, Diagnostics, Method, Objective, Params, Prediction
from autofuse_jax.methods.pair_method import half_resolution_noise, lazy_init, prediction_of
from autofuse_jax.models.field_outputs import SIZE_MULTIPLE, on_grid_of
from autofuse_jax.models.fusion_baseline import FusionBaseline
from autofuse_jax.models.pair_network import PairNetwork, narrowed

SINGLE_BRANCH, FUSION_BRANCH = 'single_branch', 'fusion_branch'


@dataclasses.dataclass(frozen=True, kw_only=True)
class AutoFuseInference:
    """How AutoFuse predicts.

    Attributes:
        symmetric: Predict from both orders of the images, `v = (v(fixed, moving) - v(moving, fixed)) / 2`, so that
            exchanging them gives the inverse map up to integration error, at twice the time. Default False, as in the
            paper. Needs a network that predicts a velocity.
        sample_velocity: Predict from a sampled velocity, as the official code does: the result then depends on the
            random key. Default False.
    """

    symmetric: bool = False
    sample_velocity: bool = False


def autofuse_method(
    name: str, model: PairNetwork | FusionBaseline, weights: ObjectiveWeights, inference: AutoFuseInference
) -> Method:
    """Join the network and its objective.

    Training samples the velocity, one standard normal draw a voxel and step; prediction takes its mean, so that it is
    the same every time.

    Args:
        name: Name of the method in the config.
        model: The network; with `num_classes` above 0 training is semi-supervised.
        weights: Weights and options of the objective.
        inference: How it predicts.

    Returns:
        A method with one objective that trains everything; in `weights.segmentation_phases` it trains the single branch
        alone, on frames without a partner, in `weights.fusion_phases` the fusion branch alone, and in
        `weights.teacher_phases` that branch from given velocities alone.

    Raises:
        ValueError: `symmetric` with a network that predicts a displacement or with `sample_velocity`.

    Reference:
        Meng et al., AutoFuse, sections 3.2 and 3.3.
    """
    symmetric, sample_velocity = inference.symmetric, inference.sample_velocity
    if symmetric and model.output != 'velocity':
        raise ValueError(f"symmetric prediction needs output 'velocity', not {model.output!r}.")
    if symmetric and sample_velocity:
        raise ValueError('symmetric prediction averages mean velocities, so it cannot sample them.')

    def loss(params: Params, batch: Batch, key: jax.Array) -> tuple[jax.Array, Diagnostics]:
        output = model.apply(
            {'params': params}, batch['fixed'], batch['moving'], _velocity_noise(key, model, batch['fixed'].shape)
        )
        return autofuse_objective(output, batch, weights)

    def predict(params: Params, fixed: jax.Array, moving: jax.Array, key: jax.Array) -> Prediction:
        noise = _velocity_noise(key, model, fixed.shape) if sample_velocity else None
        output = model.apply({'params': params}, fixed, moving, noise)
        if symmetric:
            exchanged = model.apply({'params': params}, moving, fixed)
            velocity = 0.5 * (output.velocity_mean - exchanged.velocity_mean)
            displacement = jax.vmap(lambda v: upsample_displacement(integrate_velocity(v)))(velocity)
            displacement = on_grid_of(fixed, displacement)
            output = output.replace(displacement=displacement, velocity_mean=velocity)
        return prediction_of(output, model)

    def segmentation_loss(params: Params, batch: Batch, key: jax.Array) -> tuple[jax.Array, Diagnostics]:
        del key
        single, _ = model.branches()
        images = narrowed(batch['fixed'], model.compute_dtype)
        _, segmentation = single.apply({'params': params[SINGLE_BRANCH]}, images)
        return frame_segmentation_objective(segmentation, batch)

    multiple = model.multiple if isinstance(model, PairNetwork) else (SIZE_MULTIPLE,) * 3
    registration = (Objective('registration', loss),)

    def teacher_loss(params: Params, batch: Batch, key: jax.Array) -> tuple[jax.Array, Diagnostics]:
        del key
        # Neither maps nor warped images are needed, and what nobody uses is removed by the compiler.
        output = model.apply({'params': params}, batch['fixed'], batch['moving'])
        return total(teacher_term(output, batch, weights.teacher or 1.0))

    teacher = (Objective('teacher', teacher_loss, trains=(FUSION_BRANCH,)),)
    fusion = (Objective('fusion', loss, trains=(FUSION_BRANCH,)),)
    segmentation = (Objective('segmentation', segmentation_loss, trains=(SINGLE_BRANCH,)),)

    def objectives(phase: str) -> tuple[Objective, ...]:
        if phase in weights.segmentation_phases:
            return segmentation
        if phase in weights.teacher_phases:
            return teacher
        return fusion if phase in weights.fusion_phases else registration

    # Phases that segment need a batch of another kind, so that a network without a segmentation refuses them.
    if weights.segmentation_phases and not getattr(model, 'num_classes', 0):
        raise ValueError(f'segmentation_phases {weights.segmentation_phases} need a network with a segmentation.')
    return Method(name, lazy_init(model), objectives, predict, uses_labels=model.num_classes > 0, multiple=multiple)


def _velocity_noise(key: jax.Array, model: PairNetwork | FusionBaseline, shape: tuple[int, ...]) -> jax.Array:
    """Draw one standard normal vector for each voxel of the velocity of images (B, D, H, W, 1)."""
    if not isinstance(model, PairNetwork):
        return half_resolution_noise(key, shape)
    return jax.random.normal(key, (shape[0], *model.velocity_shape(shape[1:4]), 3))
