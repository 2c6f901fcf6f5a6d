"""Operations that read parts of an array: slices, padding, reversal; and the indices themselves."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from autofuse_jax.deployment.layout import squeeze
from autofuse_jax.deployment.openvino_package import openvino, ops
from autofuse_jax.deployment.unsupported import unsupported
from autofuse_jax.deployment.values import Value, constant, numbers, single_number, whole

# Where a reversed slice ends: before the first entry.
BEFORE_FIRST = np.iinfo(np.int64).min


def sliced(value: Value, starts: Sequence[int], stops: Sequence[int], steps: Sequence[int]) -> Value:
    """Read `value[start:stop:step]` along every axis."""
    shape = tuple(-(-(stop - start) // step) for start, stop, step in zip(starts, stops, steps, strict=True))
    # Along an axis that is stretched there is nothing to cut.
    axes = [axis for axis in range(value.rank) if shape[axis] != value.sizes[value.position(axis)] != 1]
    if not axes:
        return Value(value.tensor, value.order, shape)
    return Value(_slice(value, axes, starts, stops, steps), value.order, shape)


def entry(value: Value, index: int, axis: int = 0) -> Value:
    """Read the part of an array at an index of an axis, without that axis."""
    starts, stops = [0] * value.rank, list(value.shape)
    starts[axis], stops[axis] = index, index + 1
    return squeeze(sliced(value, starts, stops, [1] * value.rank), (axis,))


def _slice(
    value: Value, axes: Sequence[int], starts: Sequence[int], stops: Sequence[int], steps: Sequence[int]
) -> openvino.Output:
    bounds = ([numbers[axis] for axis in axes] for numbers in (starts, stops, steps))
    places = [value.position(axis) for axis in axes]
    arguments = [np.asarray(entries, np.int64) for entries in (*bounds, places)]
    return ops.slice(value.tensor, *arguments).output(0)


def _slice_operand(operands: list[Value], parameters: dict[str, Any], results: list) -> list[Value]:
    steps = parameters['strides'] or (1,) * operands[0].rank
    return [sliced(operands[0], parameters['start_indices'], parameters['limit_indices'], steps)]


def _unstack(operands: list[Value], parameters: dict[str, Any], results: list) -> list[Value]:
    axis = parameters['axis']
    return [entry(operands[0], index, axis) for index in range(operands[0].shape[axis])]


def _dynamic_slice(operands: list[Value], parameters: dict[str, Any], results: list) -> list[Value]:
    value, *start_values = operands
    entries = [single_number(start.tensor) for start in start_values]
    places = [int(place) for place in entries if place is not None]
    if len(places) < len(entries):
        raise unsupported('dynamic_slice', 'at a place that the images decide')
    sizes = parameters['slice_sizes']
    limits = zip(places, value.shape, sizes, strict=True)
    starts = [min(max(start, 0), length - size) for start, length, size in limits]
    stops = [start + size for start, size in zip(starts, sizes, strict=True)]
    return [sliced(value, starts, stops, [1] * value.rank)]


def _reverse(operands: list[Value], parameters: dict[str, Any], results: list) -> list[Value]:
    value = operands[0]
    axes = [axis for axis in parameters['dimensions'] if value.sizes[value.position(axis)] != 1]
    if not axes:
        return [value]
    array = numbers(value.tensor)
    if array is not None:
        tensor = constant(np.flip(array, tuple(value.position(axis) for axis in axes)))
    else:
        count = value.rank
        tensor = _slice(value, axes, [-1] * count, [BEFORE_FIRST] * count, [-1] * count)
    return [Value(tensor, value.order, value.shape)]


def _pad(operands: list[Value], parameters: dict[str, Any], results: list) -> list[Value]:
    value, filling = whole(operands[0]), operands[1]
    config = parameters['padding_config']
    if any(inner for _, _, inner in config):
        raise unsupported('pad', 'between entries')
    bounds = [
        (max(-low, 0), length - max(-high, 0)) for (low, high, _), length in zip(config, value.shape, strict=True)
    ]
    value = sliced(value, [start for start, _ in bounds], [stop for _, stop in bounds], [1] * value.rank)
    sides = []
    for side in (0, 1):
        amounts = [0 if axis is None else max(config[axis][side], 0) for axis in value.order]
        sides.append(np.asarray(amounts, np.int64))
    if not np.any(sides):
        return [value]
    padded = ops.pad(value.tensor, *sides, 'constant', filling.tensor).output(0)
    return [Value(padded, value.order, results[0].shape)]


def _iota(operands: list[Value], parameters: dict[str, Any], results: list) -> list[Value]:
    shape, axis = results[0].shape, parameters['dimension']
    sizes = [size if place == axis else 1 for place, size in enumerate(shape)]
    line = np.arange(shape[axis]).astype(results[0].dtype)
    return [Value(constant(line.reshape(sizes)), tuple(range(len(shape))), shape)]


HANDLERS = {
    'slice': _slice_operand,
    'dynamic_slice': _dynamic_slice,
    'unstack': _unstack,
    'rev': _reverse,
    'pad': _pad,
    'iota': _iota,
}
