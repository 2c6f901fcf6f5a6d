"""Methods that consist of one network and one objective: how they make parameters, sample and predict."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from autofuse_jax.losses.one_field import RegistrationWeights, registration_objective
from autofuse_jax.methods.base import Batch, Diagnostics, Method, Objective, Params, Prediction
from autofuse_jax.outputs import RegistrationOutput

DROPOUT_STREAM = 'dropout'
# Factor by which the grid of a velocity is coarser than that of the images, unless the network has another.
NOISE_FACTOR = 2


@dataclasses.dataclass(frozen=True)
class NoOptions:
    """Options of a prediction that has none."""


def registration_method(name: str, network: Any, weights: RegistrationWeights, inference: NoOptions) -> Method:
    """Join a network that predicts one field with `registration_objective`.

    Args:
        name: Name of the method in the config.
        network: Maps (fixed, moving, noise) to a `RegistrationOutput`; see `pair_method`.
        weights: Weights of the objective.
        inference: Nothing.

    Returns:
        A method with one objective that trains everything, the same in every phase.
    """
    del inference

    def loss(output: RegistrationOutput, batch: Batch) -> tuple[jax.Array, Diagnostics]:
        return registration_objective(output, batch, weights)

    return pair_method(name, network, loss, uses_labels=weights.dice > 0)


def pair_method(
    name: str,
    network: Any,
    loss: Callable[[RegistrationOutput, Batch], tuple[jax.Array, Diagnostics]],
    *,
    uses_labels: bool,
) -> Method:
    """Join a network and an objective that sees nothing but its output and the batch.

    Args:
        name: Name of the method in the config.
        network: Maps `fixed, moving` (B, D, H, W, 1) and `noise` (B, D / 2, H / 2, W / 2, 3) or None to a
            `RegistrationOutput`. Training gives it noise, whether it samples or not, and a random stream 'dropout', the
            sign by which a network with stochastic depth knows that it is trained; prediction gives it neither. The
            noise is D / s, H / s, W / s where it has an attribute `noise_factor` s.
        loss: (output, batch) -> (scalar, diagnostics).
        uses_labels: Whether the loss looks at labels.

    Returns:
        A method with one objective that trains everything, the same in every phase.
    """

    def training_loss(params: Params, batch: Batch, key: jax.Array) -> tuple[jax.Array, Diagnostics]:
        noise_key, dropout_key = jax.random.split(key)
        noise = _noise(noise_key, batch['fixed'].shape, getattr(network, 'noise_factor', NOISE_FACTOR))
        rngs = {DROPOUT_STREAM: dropout_key}
        output = network.apply({'params': params}, batch['fixed'], batch['moving'], noise, rngs=rngs)
        return loss(output, batch)

    def predict(params: Params, fixed: jax.Array, moving: jax.Array, key: jax.Array) -> Prediction:
        del key
        return prediction_of(network.apply({'params': params}, fixed, moving), network)

    objectives = (Objective('registration', training_loss),)
    return Method(
        name, lazy_init(network), lambda phase: objectives, predict, uses_labels, getattr(network, 'size', None)
    )


def lazy_init(network: Any) -> Callable[[jax.Array, tuple[int, int, int]], Params]:
    """Return the function (key, shape) -> parameters of a network of pairs.

    Lazy: the parameters depend on shapes only, and compiling a forward pass of constants takes minutes on CPU.
    """

    def init(key: jax.Array, shape: tuple[int, int, int]) -> Params:
        image = jax.ShapeDtypeStruct((1, *shape, 1), jnp.float32)
        return network.lazy_init(key, image, image)['params']

    return init


def half_resolution_noise(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Draw one standard normal vector for each voxel of the velocity of images (B, D, H, W, 1)."""
    return _noise(key, shape, NOISE_FACTOR)


def _noise(key: jax.Array, shape: tuple[int, ...], factor: int) -> jax.Array:
    batch_size, *size, _ = shape
    return jax.random.normal(key, (batch_size, *(length // factor for length in size), 3))


def prediction_of(output: RegistrationOutput, network: Any) -> Prediction:
    """Return a network's output as a prediction; its velocity counts only where the map is that velocity's integral."""
    integrated = getattr(network, 'output', 'velocity') == 'velocity' and output.velocity_mean is not None
    return Prediction(
        displacement=output.displacement,
        velocity=output.velocity_mean if integrated else None,
        fixed_segmentation=output.fixed_segmentation,
        moving_segmentation=output.moving_segmentation,
        gate_means={name: jnp.mean(w, axis=(1, 2, 3, 4)) for name, w in output.gate_weights.items()},
    )
