"""Operations that give an array another shape or put arrays together; few of them move any entries."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from autofuse_jax.deployment.openvino_package import ops
from autofuse_jax.deployment.values import Order, Value, aligned, arranged, reshaped, whole

# Axes of the array before and after that hold the same entries.
Block = tuple[list[int], list[int]]


def reshape(value: Value, shape: Sequence[int]) -> Value:
    """Give an array another shape.

    An axis that is split stays where it is in the tensor; axes are transposed only where some are merged that do not
    lie side by side there.
    """
    shape = tuple(shape)
    blocks = _blocks(value.shape, shape)
    if any(len(before) != 1 or len(after) != 1 for before, after in blocks):
        value = whole(value)
    value = _without_units(value)
    if not all(_side_by_side(value.order, before) for before, _ in blocks):
        value = Value(arranged(value, (longer := _longer(value.shape))), longer, value.shape)
    first = {before[0]: after for before, after in blocks if before}
    sizes: list[int] = []
    order: list[int | None] = []
    for size, axis in zip(value.sizes, value.order, strict=True):
        if axis is None:
            sizes.append(1)
            order.append(None)
        elif axis in first:
            after = first[axis]
            sizes += [size] if len(after) == 1 and size == 1 else [shape[new] for new in after]
            order += after
    return _with_units(sizes, order, value, shape)


def insert_axes(value: Value, axes: Sequence[int], shape: Sequence[int]) -> Value:
    """Broadcast an array: its axis i becomes axis `axes[i]`, along all other axes entries repeat."""
    order: list[int | None] = [None if axis is None else axes[axis] for axis in value.order]
    return _with_units(list(value.sizes), order, value, tuple(shape))


def transpose(value: Value, axes: Sequence[int]) -> Value:
    """Put the axes of an array in another order; the tensor stays as it is."""
    places = {axis: place for place, axis in enumerate(axes)}
    order = tuple(None if axis is None else places[axis] for axis in value.order)
    return Value(value.tensor, order, tuple(value.shape[axis] for axis in axes))


def squeeze(value: Value, axes: Sequence[int]) -> Value:
    """Take axes of size 1 away; the tensor keeps them."""
    remaining = [axis for axis in range(value.rank) if axis not in axes]
    places: dict[int | None, int] = {axis: place for place, axis in enumerate(remaining)}
    order = tuple(places.get(axis) for axis in value.order)
    return Value(value.tensor, order, tuple(value.shape[axis] for axis in remaining))


def concatenate(values: Sequence[Value], axis: int) -> Value:
    """Put arrays one behind the other along an axis."""
    tensors, order = aligned([whole(value) for value in values])
    tensor = ops.concat(tensors, order.index(axis)).output(0)
    shape = list(values[0].shape)
    shape[axis] = sum(value.shape[axis] for value in values)
    return Value(tensor, order, tuple(shape))


def stack(values: Sequence[Value], axis: int) -> Value:
    """Put arrays one behind the other along a new axis."""
    shape = values[0].shape
    longer = (*shape[:axis], 1, *shape[axis:])
    places = [place if place < axis else place + 1 for place in range(len(shape))]
    return concatenate([insert_axes(value, places, longer) for value in values], axis)


def _blocks(before: tuple[int, ...], after: tuple[int, ...]) -> list[Block]:
    """Split two shapes of one size into the smallest parts of one size each, leaving axes of size 1 out."""
    olds = [axis for axis, size in enumerate(before) if size != 1]
    news = [axis for axis, size in enumerate(after) if size != 1]
    blocks: list[Block] = []
    while olds or news:
        block: Block = ([olds.pop(0)], [news.pop(0)])
        old, new = before[block[0][0]], after[block[1][0]]
        while old != new:
            side, axes = (0, olds) if old < new else (1, news)
            block[side].append(axes.pop(0))
            old, new = (
                math.prod(sizes[axis] for axis in part) for sizes, part in zip((before, after), block, strict=True)
            )
        blocks.append(block)
    return blocks


def _side_by_side(order: Order, axes: Sequence[int]) -> bool:
    places = [order.index(axis) for axis in axes]
    return places == list(range(places[0], places[0] + len(places)))


def _longer(shape: Sequence[int]) -> Order:
    return tuple(axis for axis, size in enumerate(shape) if size != 1)


def _without_units(value: Value) -> Value:
    order = tuple(None if axis is None or value.shape[axis] == 1 else axis for axis in value.order)
    return dataclasses.replace(value, order=order)


def _with_units(sizes: list[int], order: list[int | None], value: Value, shape: tuple[int, ...]) -> Value:
    """Find places for the axes of an array that the tensor lacks: those it has to spare, or new ones."""
    for axis in range(len(shape)):
        if axis in order:
            continue
        if None in order:
            order[order.index(None)] = axis
            continue
        before = [order.index(other) for other in range(axis)]
        place = before[-1] + 1 if before else 0
        order.insert(place, axis)
        sizes.insert(place, 1)
    return Value(reshaped(value.tensor, sizes), tuple(order), shape)


def _reshape(operands: list[Value], parameters: dict[str, Any], results: list) -> list[Value]:
    return [reshape(operands[0], results[0].shape)]


def _broadcast_in_dim(operands: list[Value], parameters: dict[str, Any], results: list) -> list[Value]:
    axes = [int(axis) for axis in parameters['broadcast_dimensions']]
    return [insert_axes(operands[0], axes, results[0].shape)]


def _transpose(operands: list[Value], parameters: dict[str, Any], results: list) -> list[Value]:
    return [transpose(operands[0], parameters['permutation'])]


def _squeeze(operands: list[Value], parameters: dict[str, Any], results: list) -> list[Value]:
    return [squeeze(operands[0], parameters['dimensions'])]


def _concatenate(operands: list[Value], parameters: dict[str, Any], results: list) -> list[Value]:
    return [concatenate(operands, parameters['dimension'])]


def _stack(operands: list[Value], parameters: dict[str, Any], results: list) -> list[Value]:
    return [stack(operands, parameters['axis'])]


def _split(operands: list[Value], parameters: dict[str, Any], results: list) -> list[Value]:
    value, axis = whole(operands[0]), parameters['axis']
    lengths = np.asarray(parameters['sizes'], np.int64)
    parts = ops.variadic_split(value.tensor, np.int64(value.position(axis)), lengths).outputs()
    return [Value(part, value.order, result.shape) for part, result in zip(parts, results, strict=True)]


def _same(operands: list[Value], parameters: dict[str, Any], results: list) -> list[Value]:
    return operands


HANDLERS = {
    'reshape': _reshape,
    'broadcast_in_dim': _broadcast_in_dim,
    'transpose': _transpose,
    'squeeze': _squeeze,
    'concatenate': _concatenate,
    'stack': _stack,
    'split': _split,
    'copy': _same,
    'copy_p': _same,
    'name': _same,
    'optimization_barrier': _same,
    'stop_gradient': _same,
}
