"""Reading entries of an array at indices that another array holds."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jax.lax import GatherDimensionNumbers, GatherScatterMode

from autofuse_jax.deployment.layout import squeeze
from autofuse_jax.deployment.openvino_package import openvino, ops
from autofuse_jax.deployment.unsupported import unsupported
from autofuse_jax.deployment.values import Value, arranged, constant, in_order, numbers, reshaped, whole

# Modes in which every entry that is read exists, clipped or promised.
ALWAYS_INSIDE = (GatherScatterMode.PROMISE_IN_BOUNDS, GatherScatterMode.CLIP)


def _gather(operands: list[Value], parameters: dict[str, Any], results: list) -> list[Value]:
    """Read entries along one axis, the same or, with axes that both arrays have, others for each part of a batch."""
    value, indices = whole(operands[0]), operands[1]
    mode, shape = parameters['mode'], results[0].shape
    batch, axis = _axes(value, parameters['dimension_numbers'], parameters['slice_sizes'])
    # The axes that both have come first, the others stay as they lie in the tensor.
    others = [place for place in value.order if place is not None and place not in batch]
    tensor = arranged(value, (*batch, *others))
    index = squeeze(indices, (indices.rank - 1,))
    places, last = in_order(index), value.shape[axis] - 1
    if mode != GatherScatterMode.PROMISE_IN_BOUNDS:
        places = ops.clamp(places, 0, last).output(0)
    gathered = _read_along(tensor, places, len(batch), len(batch) + others.index(axis))
    # Axes of the result: those of the slices are where JAX says, those of the indices fill the rest.
    offsets = [int(offset) for offset in parameters['dimension_numbers'].offset_dims]
    of_index = [place for place in range(len(shape)) if place not in offsets]
    of_slice = dict(zip((place for place in range(value.rank) if place not in (*batch, axis)), offsets, strict=True))
    order = of_index[: len(batch)]
    for other in others:
        order += of_index[len(batch) :] if other == axis else [of_slice[other]]
    result = Value(gathered, tuple(order), shape)
    if mode in ALWAYS_INSIDE or _all_inside(index, last):
        return [result]
    return [_filled_outside(result, index, of_index, last, parameters['fill_value'])]


def _axes(value: Value, names: GatherDimensionNumbers, slice_sizes: Sequence[int]) -> tuple[tuple[int, ...], int]:
    """Return the axes of the array that the indices have as well, and the one along which entries are read."""
    batch, indexed, collapsed = (
        tuple(int(axis) for axis in axes)
        for axes in (names.operand_batching_dims, names.start_index_map, names.collapsed_slice_dims)
    )
    whole_slices = all(
        size == (1 if axis in (*batch, *indexed) else value.shape[axis]) for axis, size in enumerate(slice_sizes)
    )
    leading = tuple(int(axis) for axis in names.start_indices_batching_dims) == tuple(range(len(batch)))
    if len(indexed) != 1 or collapsed != indexed or not whole_slices or not leading:
        raise unsupported('gather', 'of anything but whole entries along one axis')
    return batch, indexed[0]


def _read_along(tensor: openvino.Output, index: openvino.Output, num_batch: int, place: int) -> openvino.Output:
    """Read along the tensor's axis `place`; the first `num_batch` axes are those of the index, too."""
    sizes, index_sizes = list(tensor.shape), list(index.shape)
    # Along a batch of one the runtime reads outside of its memory.
    longer = [size for size in sizes[:num_batch] if size != 1]
    short = num_batch - len(longer)
    values = ops.gather(
        reshaped(tensor, [*longer, *sizes[num_batch:]]),
        reshaped(index, [*longer, *index_sizes[num_batch:]]),
        np.int64(place - short),
        len(longer),
    ).output(0)
    return reshaped(
        values, [*sizes[:num_batch], *sizes[num_batch:place], *index_sizes[num_batch:], *sizes[place + 1 :]]
    )


def _all_inside(index: Value, last: int) -> bool:
    places = numbers(index.tensor)
    return places is not None and math.prod(places.shape) > 0 and places.min() >= 0 and places.max() <= last


def _filled_outside(result: Value, index: Value, of_index: Sequence[int], last: int, filling: Any) -> Value:
    """Replace what was read at indices that do not exist."""
    kind = result.tensor.get_element_type().to_dtype()
    if filling is None:
        filling = np.nan if np.issubdtype(kind, np.floating) else np.iinfo(kind).min
    places = in_order(index)
    lowest, highest = (constant(np.asarray(bound, places.get_element_type().to_dtype())) for bound in (0, last))
    inside = ops.logical_and(ops.greater_equal(places, lowest), ops.less_equal(places, highest)).output(0)
    # The indices' axes keep their order in the result; along those of the slices the mask repeats.
    mask = Value(inside, tuple(of_index), result.shape)
    condition = arranged(mask, tuple(axis if axis in of_index else None for axis in result.order))
    tensor = ops.select(condition, result.tensor, constant(np.asarray(filling, kind))).output(0)
    return Value(tensor, result.order, result.shape)


HANDLERS = {'gather': _gather}
