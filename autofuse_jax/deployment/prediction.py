"""A method's prediction as a plain function from two arrays to named arrays, the form in which it leaves JAX."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from autofuse_jax.errors import UserError
from autofuse_jax.methods.base import Method, Params, Prediction

# Name of a result: the field of a prediction that it is.
RESULTS = {
    'displacement': 'displacement',
    'velocity': 'velocity',
    'fixed_labels': 'fixed_segmentation',
    'moving_labels': 'moving_segmentation',
}
GATE = 'gate_mean/'
# What a result is, for those who have nothing but the file.
MEANINGS = {
    'displacement': '(1, D, H, W, 3), voxels: warped(x) = moving(x + displacement(x)), last axis along (D, H, W)',
    'velocity': '(1, d, h, w, 3), the steady velocity behind it, in voxels of its own grid on the same field of view',
    'fixed_labels': '(1, D, H, W), classes of the fixed image',
    'moving_labels': '(1, D, H, W), classes of the moving image',
}
GATE_MEANING = '(1,), mean weight of the fusion branch, 0 to 1'
# Of the draws of a method that samples: a network that has left JAX draws the same numbers every time.
SEED = 0

Named = dict[str, Any]


def named_prediction(
    method: Method, params: Params, *, probabilities: bool = False
) -> Callable[[jax.Array, jax.Array], Named]:
    """Return the function from images (1, D, H, W, 1) in [0, 1] to results by name, parameters inside.

    Args:
        method: The method.
        params: Its parameters.
        probabilities: Whether the results named labels are probabilities (1, D, H, W, C) instead of classes.
    """

    def predict(fixed: jax.Array, moving: jax.Array) -> Named:
        prediction = method.predict(params, fixed, moving, jax.random.key(SEED))
        if not probabilities:
            prediction = dataclasses.replace(
                prediction,
                fixed_segmentation=_classes(prediction.fixed_segmentation),
                moving_segmentation=_classes(prediction.moving_segmentation),
            )
        arrays = {name: getattr(prediction, field) for name, field in RESULTS.items()}
        gates = {GATE + name: mean for name, mean in prediction.gate_means.items()}
        return {name: array for name, array in arrays.items() if array is not None} | gates

    return predict


def _classes(probabilities: jax.Array | None) -> jax.Array | None:
    return None if probabilities is None else jnp.argmax(probabilities, axis=-1).astype(jnp.uint8)


def of_named(results: Mapping[str, np.ndarray]) -> Prediction:
    """Return named results as a prediction."""
    fields: dict[str, Any] = {field: results.get(name) for name, field in RESULTS.items()}
    gates: dict[str, Any] = {name.removeprefix(GATE): array for name, array in results.items() if name.startswith(GATE)}
    return Prediction(**fields, gate_means=gates)


def meaning_of(name: str) -> str:
    """Return in words what a result is."""
    return GATE_MEANING if name.startswith(GATE) else MEANINGS[name]


def images_of_size(size: tuple[int, ...]) -> dict[str, jax.ShapeDtypeStruct]:
    """Return shape and type of the two images of a prediction by name."""
    image = jax.ShapeDtypeStruct((1, *size, 1), np.float32)
    return {'fixed': image, 'moving': image}


def check_size(method: Method, params: Params, size: tuple[int, ...]) -> Named:
    """Check that a method takes images of a size.

    Args:
        method: The method.
        params: Its parameters.
        size: (D, H, W), in voxels.

    Returns:
        Shape and type of each result by name.

    Raises:
        UserError: It does not; says what it takes.
    """
    if method.size is not None and tuple(size) != tuple(method.size):
        raise UserError(
            f'the size is {size}',
            expected=f'{tuple(method.size)}, the only size of these weights',
            fix='correct --size',
        )
    fitting = tuple(-(-length // step) * step for length, step in zip(size, method.multiple, strict=True))
    multiple = method.multiple[0] if len({*method.multiple}) == 1 else method.multiple
    if min(size) < 1 or fitting != tuple(size):
        raise UserError(
            f'the size is {size}',
            expected=f'multiples of {multiple}; smaller images are padded',
            fix=f'--size={",".join(map(str, map(max, fitting, method.multiple)))}',
        )
    try:
        return jax.eval_shape(named_prediction(method, params), *images_of_size(size).values())
    except ValueError as error:
        raise UserError(f'{method.name} does not take images of size {size} ({error})', fix='correct --size') from error
