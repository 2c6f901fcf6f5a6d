"""Converting weights between official state dicts and our parameters, strictly and bit for bit."""

from collections.abc import Mapping
from typing import Any

import flax.traverse_util
import jax
import numpy as np

from autofuse_jax.errors import SHOWN_NAMES, UserError
from autofuse_jax.methods.base import Method
from autofuse_jax.methods.registry import predicting_method
from autofuse_jax.porting.architectures import Architecture, is_buffer, recognise
from autofuse_jax.porting.names import CONVOLUTION, LINEAR, REVERSED, TRANSPOSED

# PyTorch's DataParallel puts this before every name.
PARALLEL_PREFIX = 'module.'
# Axes of our tensor in the official one, and the other way round.
TO_OURS = {CONVOLUTION: (2, 3, 4, 1, 0), TRANSPOSED: (2, 3, 4, 0, 1), LINEAR: (1, 0), REVERSED: (2, 3, 4, 1, 0)}
TO_OFFICIAL = {CONVOLUTION: (4, 3, 0, 1, 2), TRANSPOSED: (3, 4, 0, 1, 2), LINEAR: (1, 0), REVERSED: (4, 3, 0, 1, 2)}
FlatParams = dict[str, np.ndarray]


def from_official(
    state: Mapping[str, np.ndarray], architecture: str | None = None, dtype: type = np.float32
) -> tuple[FlatParams, Architecture, dict[str, Any]]:
    """Convert an official state dict to our parameters.

    Names may carry the prefix of DataParallel; integer buffers, and what the official class never uses, are dropped;
    half precision is widened.

    Args:
        state: Tensors by official name.
        architecture: Name of the architecture that it must be; None: recognised from the names.
        dtype: Type of the result; default float32.

    Returns:
        Our parameters by flat name, the architecture, and the options of our network that they fit.

    Raises:
        UserError: Tensors are missing, extra, of a wrong shape or type, or hold NaN or infinities.
    """
    if state and all(name.startswith(PARALLEL_PREFIX) for name in state):
        state = {name.removeprefix(PARALLEL_PREFIX): tensor for name, tensor in state.items()}
    buffers = {name: np.asarray(tensor) for name, tensor in state.items() if is_buffer(name)}
    state = {name: np.asarray(tensor) for name, tensor in state.items() if name not in buffers}
    network = recognise(state, official=True, architecture_name=architecture)
    params = {}
    for tensor in network.tensors:
        value = state[tensor.official]
        axes = TO_OURS.get(tensor.layout)
        if axes is not None and value.ndim != len(axes):
            raise UserError(
                f'{tensor.official} has shape {value.shape}',
                expected=f'{len(axes)} axes, because it is a {tensor.layout}',
            )
        value = value if axes is None else value.transpose(axes)
        params[tensor.ours] = _real(_outputs(value, tensor.layout), tensor.official, dtype)
    options = network.options_of({name: tensor.shape for name, tensor in state.items()}, buffers)
    official_names = {tensor.ours: tensor.official for tensor in network.tensors}
    check_shapes(params, network.method, options, official_names)
    return params, network, options


def to_official(params: Mapping[str, np.ndarray], architecture: str | None = None) -> tuple[FlatParams, Architecture]:
    """Convert our parameters to an official state dict, without its integer buffers.

    Args:
        params: Our parameters by flat name ('single_branch/conv_1/conv_1/kernel').
        architecture: Name of the architecture that they must be of; None: recognised from the names.

    Returns:
        Tensors by official name in official order, float32, and the architecture. What the official class holds and
        never uses (`Architecture.unused`) is not there, which PyTorch accepts with `strict=False`.

    Raises:
        UserError: Parameters are missing or extra, or hold NaN or infinities.
    """
    network = recognise(params, official=False, architecture_name=architecture)
    state = {}
    for tensor in network.tensors:
        value, axes = _outputs(np.asarray(params[tensor.ours]), tensor.layout), TO_OFFICIAL.get(tensor.layout)
        state[tensor.official] = _real(value if axes is None else value.transpose(axes), tensor.ours, np.float32)
    return state, network


def check_shapes(
    params: Mapping[str, np.ndarray],
    method: str,
    options: dict[str, Any],
    titles: Mapping[str, str] | None = None,
) -> None:
    """Check that parameters are exactly those of a network.

    Args:
        params: Our parameters by flat name.
        method: Name of the method.
        options: Options of its network.
        titles: Names of parameters in messages; default their own.

    Raises:
        UserError: Names or shapes differ; lists them.
    """
    shapes = flatten(parameter_structure(predicting_method(method, options)))
    titles = titles or {}
    differing = [
        f'{titles.get(name, name)}: {_shape_of(params, name)}, expected {_shape_of(shapes, name)}'
        for name in sorted(set(shapes) | set(params))
        if _shape_of(params, name) != _shape_of(shapes, name)
    ]
    if differing:
        more = f'; and {len(differing) - SHOWN_NAMES} more' if len(differing) > SHOWN_NAMES else ''
        described = ', '.join(f'{name}={value}' for name, value in options.items())
        raise UserError(
            f'the weights do not fit the network {method} ({described}); shapes as we keep them: '
            f'{"; ".join(differing[:SHOWN_NAMES])}{more}',
            fix='use the options that the weights were trained with',
        )


def parameter_structure(method: Method) -> Any:
    """Return shapes and types of a method's parameters as a tree, without making any."""
    size = method.size or method.multiple
    return jax.eval_shape(lambda key: method.init(key, size), jax.random.key(0))


def flatten(params: Any) -> dict[str, Any]:
    """Return a parameter tree as a dictionary of flat names, parts joined by '/'."""
    return flax.traverse_util.flatten_dict(params, sep='/')


def unflatten(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameter tree of flat names."""
    return flax.traverse_util.unflatten_dict(dict(params), sep='/')


def _outputs(value: np.ndarray, layout: str) -> np.ndarray:
    """Turn the output channels of our kernel to the other order where that is its layout."""
    return value[..., ::-1] if layout == REVERSED else value


def _shape_of(params: Mapping[str, Any], name: str) -> tuple[int, ...] | str:
    return tuple(params[name].shape) if name in params else 'absent'


def _real(value: np.ndarray, name: str, dtype: type) -> np.ndarray:
    if not (np.issubdtype(value.dtype, np.floating) or value.dtype.name == 'bfloat16'):
        raise UserError(
            f'{name} holds {value.dtype}', expected='real numbers', fix='check that the file is not damaged'
        )
    value = np.ascontiguousarray(value, dtype)
    if not np.isfinite(value).all():
        count = value.size - np.count_nonzero(np.isfinite(value))
        raise UserError(
            f'{name} holds {count} NaN or infinite values of {value.size}',
            expected='finite weights',
            fix='use weights saved before training went wrong',
        )
    return value
