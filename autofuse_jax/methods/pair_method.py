"""Methods that consist of one network and one objective: how they make parameters, sample and predict."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from autofuse_jax.losses.one_field import RegistrationWeights, registration_objective
from autofuse_jax.methods.base import Batch, Diagnostics, Method, Objective, Params, Prediction
from autofuse_jax.outputs import RegistrationOutput

DROPOUT_STREAM = 'dropout'


def registration_method(name: str, network: Any, weights: RegistrationWeights) -> Method:
    """Join a network that predicts one field with `registration_objective`.

    Args:
        name: Name of the method in the config.
        network: Maps a pair to a `RegistrationOutput`; see `pair_method`.
        weights: Weights and options of the objective.

    Returns:
        A method with one objective that trains everything, the same in every phase.
    """

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
        network: Maps `fixed, moving` (B, D, H, W, 1) to a `RegistrationOutput`. Training gives it a random stream
            'dropout', the sign by which a network with stochastic depth knows that it is trained. A network that
            samples a velocity has an attribute `noise_factor` s: training gives it standard normal noise too,
            (B, D / s, H / s, W / s, 3).
        loss: (output, batch) -> (scalar, diagnostics).
        uses_labels: Whether the loss looks at labels.

    Returns:
        A method with one objective that trains everything, the same in every phase.
    """

    def training_loss(params: Params, batch: Batch, key: jax.Array) -> tuple[jax.Array, Diagnostics]:
        noise_key, dropout_key = jax.random.split(key)
        inputs = [batch['fixed'], batch['moving']]
        if hasattr(network, 'noise_factor'):
            inputs.append(velocity_noise(noise_key, network, batch['fixed'].shape))
        output = network.apply({'params': params}, *inputs, rngs={DROPOUT_STREAM: dropout_key})
        return loss(output, batch)

    objectives = (Objective('registration', training_loss),)
    return Method(
        name,
        lazy_init(network),
        lambda phase: objectives,
        predict_without_draws(network),
        uses_labels,
        getattr(network, 'size', None),
    )


def apply_network(
    network: Any, params: Params, *inputs: jax.Array | None, method: str | None = None, **options: Any
) -> Any:
    """Return what a network, or a method of it, makes of inputs and named options.

    Flax declares that `apply` may return changed variables too, which it does where some are mutable only.
    """
    return network.apply({'params': params}, *inputs, method=method, **options)


def lazy_init(network: Any) -> Callable[[jax.Array, tuple[int, ...]], Params]:
    """Return the function (key, shape) -> parameters of a network of pairs.

    Lazy: the parameters depend on shapes only, and compiling a forward pass of constants takes minutes on CPU.
    """

    def init(key: jax.Array, shape: tuple[int, ...]) -> Params:
        image = jax.ShapeDtypeStruct((1, *shape, 1), jnp.float32)
        return network.lazy_init(key, image, image)['params']

    return init


def velocity_noise(key: jax.Array, network: Any, shape: tuple[int, ...]) -> jax.Array:
    """Draw one standard normal vector for each voxel of the velocity that a network finds for images (B, D, H, W, 1).

    Args:
        key: Source of the draws.
        network: Network whose attribute `noise_factor` says how much coarser the velocity's grid is than the images',
            in one number or one for each axis.
        shape: Shape of the images.
    """
    batch_size, *size, _ = shape
    factor = network.noise_factor
    factors = (factor,) * 3 if isinstance(factor, int) else factor
    return jax.random.normal(key, (batch_size, *(length // f for length, f in zip(size, factors, strict=True)), 3))


def predict_without_draws(network: Any) -> Callable[[Params, jax.Array, jax.Array, jax.Array], Prediction]:
    """Return the function (params, fixed, moving, key) -> prediction of a network that is the same for every key."""
    return lambda params, fixed, moving, _: prediction_of(network.apply({'params': params}, fixed, moving), network)


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
