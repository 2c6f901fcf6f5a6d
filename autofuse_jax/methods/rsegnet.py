"""RSegNet as a registration method: two subnets trained apart, then together."""

import dataclasses
import functools

import jax

from autofuse_jax.losses.rsegnet import RSegNetWeights, rsegnet_objective
from autofuse_jax.methods.base import Method, Objective, Params, Prediction
from autofuse_jax.methods.pair_method import pair_method
from autofuse_jax.models.class_probabilities import normalised
from autofuse_jax.models.rsegnet import RSegNet


def rsegnet_method(name: str, network: RSegNet, weights: RSegNetWeights) -> Method:
    """Join the network and its objective.

    In the phases of `weights.first_stage` both betas are 0: no term then depends on both subnets, and one optimiser
    that treats each parameter for itself, such as Adam, trains them as two would. Training samples the velocity,
    prediction takes its mean.

    Args:
        name: Name of the method in the config.
        network: The network.
        weights: Weights and options of the objective.

    Returns:
        A method with one objective that trains everything; the segmentations that it predicts sum to 1 over classes.

    Reference:
        Qiu and Ren, IEEE T-ASE 19, 2022.
    """
    apart, together = (
        pair_method(name, network, functools.partial(rsegnet_objective, weights=stage), uses_labels=True)
        for stage in (dataclasses.replace(weights, beta_forward=0.0, beta_inverse=0.0), weights)
    )

    def objectives(phase: str) -> tuple[Objective, ...]:
        return (apart if phase in weights.first_stage else together).objectives(phase)

    def predict(params: Params, fixed: jax.Array, moving: jax.Array, key: jax.Array) -> Prediction:
        prediction = together.predict(params, fixed, moving, key)
        fixed_segmentation, moving_segmentation = prediction.fixed_segmentation, prediction.moving_segmentation
        assert fixed_segmentation is not None and moving_segmentation is not None, 'RSegNet segments both images'
        return dataclasses.replace(
            prediction,
            fixed_segmentation=normalised(fixed_segmentation),
            moving_segmentation=normalised(moving_segmentation),
        )

    return dataclasses.replace(together, objectives=objectives, predict=predict)
