"""Operations entry by entry, and the forms of them for which the runtime has one kernel."""

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from autofuse_jax.deployment.openvino_package import openvino, ops
from autofuse_jax.deployment.unsupported import unsupported
from autofuse_jax.deployment.values import Value, aligned, constant, numbers, single_number


def like(tensor: openvino.Output, number: float | list[float]) -> openvino.Output:
    """Return a constant of a tensor's type."""
    return constant(np.asarray(number, tensor.get_element_type().to_dtype()))


def operator(tensor: openvino.Output) -> str:
    """Return the name of the operation that makes a tensor."""
    return tensor.get_node().get_type_name()


def inputs(tensor: openvino.Output) -> list[openvino.Output]:
    """Return what the operation that makes a tensor works on."""
    return [entry.get_source_output() for entry in tensor.get_node().inputs()]


def entrywise(build: Callable[..., openvino.Output | openvino.Node]) -> Callable[..., list[Value]]:
    """Return the handler of an operation that works on each entry for itself.

    Args:
        build: Function from tensors that broadcast against each other to a node or a tensor.
    """

    def handler(operands: list[Value], parameters: dict[str, Any], results: list) -> list[Value]:
        tensors, order = aligned(operands)
        node = build(*tensors)
        return [Value(node if isinstance(node, openvino.Output) else node.output(0), order, results[0].shape)]

    return handler


def _multiply(first: openvino.Output, second: openvino.Output) -> openvino.Node:
    # A quotient is what the runtime recognises a normalisation by.
    for factor, other in ((first, second), (second, first)):
        if operator(factor) == 'Divide' and operator(inputs(factor)[1]) == 'Sqrt':
            if single_number(inputs(factor)[0]) == 1:
                return ops.divide(other, inputs(factor)[1])
    return ops.multiply(first, second)


def _divide(first: openvino.Output, second: openvino.Output) -> openvino.Output | openvino.Node:
    divisor = single_number(second)
    if divisor is not None and operator(first) == 'ReduceSum':
        summed, axes = inputs(first)
        places = numbers(axes)
        if places is not None and divisor == math.prod(summed.shape[axis] for axis in places.tolist()):
            return ops.reduce_mean(summed, axes, keep_dims=True)
    if divisor and operator(first) == 'Multiply':
        for factor, other in (inputs(first), inputs(first)[::-1]):
            number = single_number(factor)
            if number is not None and second.get_element_type().is_real():
                return other if number == divisor else ops.multiply(other, like(second, number / divisor))
    if divisor and second.get_element_type().is_real():
        return ops.multiply(first, like(second, 1.0 / divisor))
    if not second.get_element_type().is_real():
        raise unsupported('div', 'of integers')
    return ops.divide(first, second)


def _reciprocal_root(tensor: openvino.Output) -> openvino.Node:
    return ops.divide(like(tensor, 1), ops.sqrt(tensor))


def _square(tensor: openvino.Output) -> openvino.Node:
    return ops.power(tensor, like(tensor, 2))


def _power(tensor: openvino.Output, exponent: openvino.Output) -> openvino.Node:
    return ops.power(tensor, ops.convert(exponent, tensor.get_element_type().to_dtype()))


def _integer_power(operands: list[Value], parameters: dict[str, Any], results: list) -> list[Value]:
    exponent = parameters['y']
    return entrywise(lambda tensor: ops.power(tensor, like(tensor, exponent)))(operands, {}, results)


def _select(which: openvino.Output, if_false: openvino.Output, if_true: openvino.Output) -> openvino.Node:
    if which.get_element_type() != openvino.Type.boolean:
        which = ops.convert(which, 'boolean').output(0)
    slope = _leak(which, if_false, if_true)
    return ops.select(which, if_true, if_false) if slope is None else ops.prelu(if_true, slope)


def _leak(which: openvino.Output, if_false: openvino.Output, if_true: openvino.Output) -> openvino.Output | None:
    """Return the slope c where `x if x >= 0 else c x` is computed."""
    if operator(which) not in ('GreaterEqual', 'Greater') or operator(if_false) != 'Multiply':
        return None
    compared, bound = inputs(which)
    if compared != if_true or single_number(bound) != 0:
        return None
    for factor, other in (inputs(if_false), inputs(if_false)[::-1]):
        slope = single_number(factor)
        if slope is not None and other == if_true:
            return like(factor, [slope])
    return None


def _select_n(operands: list[Value], parameters: dict[str, Any], results: list) -> list[Value]:
    if len(operands) != 3:
        raise unsupported('select_n', 'among more than two')
    return entrywise(_select)(operands, parameters, results)


def _clamp(low: openvino.Output, tensor: openvino.Output, high: openvino.Output) -> openvino.Node:
    return ops.minimum(ops.maximum(tensor, low), high)


def _convert(operands: list[Value], parameters: dict[str, Any], results: list) -> list[Value]:
    dtype = np.dtype(results[0].dtype)

    def build(tensor: openvino.Output) -> openvino.Output | openvino.Node:
        present = tensor.get_element_type().to_dtype()
        return tensor if present == dtype else ops.convert(tensor, dtype)

    return entrywise(build)(operands, parameters, results)


def _round(operands: list[Value], parameters: dict[str, Any], results: list) -> list[Value]:
    mode = 'half_to_even' if int(parameters['rounding_method']) == 1 else 'half_away_from_zero'
    return entrywise(functools.partial(ops.round, mode=mode))(operands, parameters, results)


def _logical(on_booleans: Callable, on_integers: Callable) -> Callable[..., openvino.Output | openvino.Node]:
    def build(*tensors: openvino.Output) -> openvino.Node:
        boolean = tensors[0].get_element_type() == openvino.Type.boolean
        return (on_booleans if boolean else on_integers)(*tensors)

    return build


def _one_minus_erf(tensor: openvino.Output) -> openvino.Node:
    return ops.subtract(like(tensor, 1), ops.erf(tensor))


ENTRYWISE = {
    'add': ops.add,
    'add_any': ops.add,
    'sub': ops.subtract,
    'mul': _multiply,
    'div': _divide,
    'max': ops.maximum,
    'min': ops.minimum,
    'neg': ops.negative,
    'abs': ops.absolute,
    'sign': ops.sign,
    'exp': ops.exp,
    'log': ops.log,
    'tanh': ops.tanh,
    'logistic': ops.sigmoid,
    'sqrt': ops.sqrt,
    'rsqrt': _reciprocal_root,
    'square': _square,
    'pow': _power,
    'erf': ops.erf,
    'erfc': _one_minus_erf,
    'floor': ops.floor,
    'ceil': ops.ceiling,
    'sin': ops.sin,
    'cos': ops.cos,
    'eq': ops.equal,
    'ne': ops.not_equal,
    'lt': ops.less,
    'le': ops.less_equal,
    'gt': ops.greater,
    'ge': ops.greater_equal,
    'and': _logical(ops.logical_and, ops.bitwise_and),
    'or': _logical(ops.logical_or, ops.bitwise_or),
    'not': _logical(ops.logical_not, ops.bitwise_not),
    'clamp': _clamp,
    'is_finite': ops.is_finite,
}
HANDLERS = {name: entrywise(build) for name, build in ENTRYWISE.items()} | {
    'integer_pow': _integer_power,
    'select_n': _select_n,
    'convert_element_type': _convert,
    'round': _round,
}
