"""Operations that make one number of many: sums, extremes and their places, sums along an axis, pooling."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from autofuse_jax.deployment.arithmetic import inputs, like, operator
from autofuse_jax.deployment.layout import squeeze
from autofuse_jax.deployment.openvino_package import openvino, ops
from autofuse_jax.deployment.unsupported import unsupported
from autofuse_jax.deployment.values import Value, arranged, constant, reshaped, transposed, whole

# Axes of a tensor in front of those that pooling works on: batch and channels.
AHEAD = 2
MOST_POOLED = 3
# Sums of more entries are carried out in two stages, of which the first adds blocks of up to 16 x 16 x 16.
MOST_ADDED = 2**13
LONGEST_BLOCK = 16


def _reduction(build: Callable[..., openvino.Node]) -> Callable[..., list[Value]]:
    def handler(operands: list[Value], parameters: dict[str, Any], results: list) -> list[Value]:
        value, axes = whole(operands[0]), tuple(parameters['axes'])
        places = sorted(value.position(axis) for axis in axes)
        reduced = build(value.tensor, np.asarray(places, np.int64), keep_dims=True).output(0)
        sizes = tuple(1 if axis in axes else size for axis, size in enumerate(value.shape))
        return [squeeze(Value(reduced, value.order, sizes), axes)]

    return handler


def _sum(operands: list[Value], parameters: dict[str, Any], results: list) -> list[Value]:
    value, axes = operands[0], tuple(parameters['axes'])
    pooled = _pooled(value, axes)
    return [pooled] if pooled else _reduction(_summed)(operands, parameters, results)


def _summed(tensor: openvino.Output, places: np.ndarray, *, keep_dims: bool) -> openvino.Node:
    """Sum along some axes, in two stages where there are many entries.

    The runtime adds one entry after the other in float32. Over a volume of millions the rounding errors of that reach
    1e-4 of the result; means of blocks first and their sum then have those of a few thousand additions.
    """
    sizes = list(tensor.shape)
    count = math.prod(sizes[place] for place in places)
    if count <= MOST_ADDED or not tensor.get_element_type().is_real():
        return ops.reduce_sum(tensor, places, keep_dims=keep_dims)
    others = [place for place in range(len(sizes)) if place not in places]
    spatial = np.arange(AHEAD, AHEAD + MOST_POOLED)
    if len(sizes) == len(spatial) + AHEAD and set(spatial) < set(places.tolist()):
        # Each channel first, as its voxels lie: together they would have to be copied into one line before.
        of_channels = _summed(tensor, spatial, keep_dims=True).output(0)
        return ops.reduce_sum(of_channels, np.setdiff1d(places, spatial), keep_dims=True)
    volumes = others == list(range(AHEAD)) and len(places) == MOST_POOLED
    lines = tensor
    if not volumes:
        lines = reshaped(transposed(tensor, [*others, *places.tolist()]), [1, math.prod(sizes) // count, count])
    lengths = list(lines.shape)[AHEAD:]
    longest = LONGEST_BLOCK if volumes else LONGEST_BLOCK**MOST_POOLED
    window = [max(size for size in range(1, longest + 1) if length % size == 0) for length in lengths]
    none = [0] * len(window)
    means = ops.avg_pool(lines, window, none, none, window, exclude_pad=True)
    total = ops.reduce_sum(means, np.arange(AHEAD, AHEAD + len(window)), keep_dims=True).output(0)
    total = reshaped(total, [size if place in others else 1 for place, size in enumerate(sizes)])
    return ops.multiply(total, like(tensor, math.prod(window)))


def _pooled(value: Value, axes: tuple[int, ...]) -> Value | None:
    """Return the sum over blocks of voxels, each spatial axis split in two before, from a pooling kernel."""
    if operator(value.tensor) != 'Reshape' or value.stretched:
        return None
    source = inputs(value.tensor)[0]
    before, after = list(source.shape), list(value.sizes)
    places = [value.position(axis) for axis in axes]
    spatial = before[AHEAD:]
    if len(before) != AHEAD + MOST_POOLED or len(after) != AHEAD + 2 * MOST_POOLED or before[:AHEAD] != after[:AHEAD]:
        return None
    window = after[AHEAD + 1 :: 2]
    if sorted(places) != list(range(AHEAD + 1, len(after), 2)):
        return None
    if [length * inner for length, inner in zip(after[AHEAD::2], window, strict=True)] != spatial:
        return None
    none = [0] * MOST_POOLED
    mean = ops.avg_pool(source, window, none, none, window, exclude_pad=True).output(0)
    total = ops.multiply(mean, like(mean, math.prod(window))).output(0)
    layout = [axis for place, axis in enumerate(value.order) if place not in places]
    remaining = sorted(axis for axis in layout if axis is not None)
    order = tuple(None if axis is None else remaining.index(axis) for axis in layout)
    return Value(total, order, tuple(value.shape[axis] for axis in remaining))


def _place_of(largest: bool) -> Callable[..., list[Value]]:
    def handler(operands: list[Value], parameters: dict[str, Any], results: list) -> list[Value]:
        value, (axis,) = whole(operands[0]), parameters['axes']
        mode = 'max' if largest else 'min'
        place, dtype = value.position(axis), np.dtype(results[0].dtype)
        # Stable: where entries are equal the first wins, as in JAX.
        best = ops.topk(value.tensor, constant(np.int32(1)), place, mode, 'value', 'i32', stable=True).output(1)
        if best.get_element_type().to_dtype() != dtype:
            best = ops.convert(best, dtype).output(0)
        sizes = tuple(1 if place == axis else size for place, size in enumerate(value.shape))
        return [squeeze(Value(best, value.order, sizes), (axis,))]

    return handler


def _cumulative_sum(operands: list[Value], parameters: dict[str, Any], results: list) -> list[Value]:
    value = whole(operands[0])
    place = constant(np.int32(value.position(parameters['axis'])))
    summed = ops.cum_sum(value.tensor, place, reverse=parameters['reverse']).output(0)
    return [Value(summed, value.order, value.shape)]


def _window(is_sum: bool) -> Callable[..., list[Value]]:
    name = 'reduce_window_sum' if is_sum else 'reduce_window_max'

    def handler(operands: list[Value], parameters: dict[str, Any], results: list) -> list[Value]:
        value, window, padding = whole(operands[0]), parameters['window_dimensions'], parameters['padding']
        steps = parameters['window_strides']
        spread = (*parameters['base_dilation'], *parameters['window_dilation'])
        pooled = [
            axis for axis, size in enumerate(window) if size != 1 or steps[axis] != 1 or tuple(padding[axis]) != (0, 0)
        ]
        if any(step != 1 for step in spread) or len(pooled) > MOST_POOLED:
            raise unsupported(name, 'with gaps or along more than three axes')
        if not pooled:
            return [value]
        ahead = [axis for axis in range(value.rank) if axis not in pooled]
        tensor = arranged(value, (*ahead, *pooled))
        lengths = [value.shape[axis] for axis in pooled]
        tensor = reshaped(tensor, [1, math.prod(value.shape[axis] for axis in ahead), *lengths])
        lows, highs = ([padding[axis][side] for axis in pooled] for side in (0, 1))
        sizes, strides = [window[axis] for axis in pooled], [steps[axis] for axis in pooled]
        if is_sum:
            mean = ops.avg_pool(tensor, strides, lows, highs, sizes, exclude_pad=False)
            output = ops.multiply(mean, like(tensor, math.prod(sizes))).output(0)
        else:
            ones = [1] * len(pooled)
            output = ops.max_pool(tensor, strides, ones, lows, highs, sizes).output(0)
        shape = results[0].shape
        order = (*ahead, *pooled)
        return [Value(reshaped(output, [shape[axis] for axis in order]), order, shape)]

    return handler


HANDLERS = {
    'reduce_sum': _sum,
    'reduce_max': _reduction(ops.reduce_max),
    'reduce_min': _reduction(ops.reduce_min),
    'reduce_prod': _reduction(ops.reduce_prod),
    'reduce_and': _reduction(ops.reduce_logical_and),
    'reduce_or': _reduction(ops.reduce_logical_or),
    'reduce_window_sum': _window(True),
    'reduce_window_max': _window(False),
    'argmax': _place_of(True),
    'argmin': _place_of(False),
    'cumsum': _cumulative_sum,
}
