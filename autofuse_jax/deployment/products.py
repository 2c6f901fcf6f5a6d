"""Convolutions and products of matrices."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from autofuse_jax.deployment import winograd
from autofuse_jax.deployment.arithmetic import inputs, operator
from autofuse_jax.deployment.indexing import HANDLERS as INDEXING
from autofuse_jax.deployment.layout import transpose
from autofuse_jax.deployment.openvino_package import openvino, ops
from autofuse_jax.deployment.unsupported import unsupported
from autofuse_jax.deployment.values import Value, constant, in_order, numbers, reshaped, whole
from autofuse_jax.fields.resize import align_corners_matrix
from autofuse_jax.models.winograd import Algorithm

CONVOLUTION = 'conv_general_dilated'
# Axis of a tensor that convolutions take for the channels, and how many axes a volume's tensor has.
CHANNELS, VOLUME_AXES = 1, 5
# Weights of an interpolation are recognised up to rounding to float32.
TOLERANCE = 1e-6


def _convolution(operands: list[Value], parameters: dict[str, Any], results: list) -> list[Value]:
    value, kernel = operands
    spec = parameters['dimension_numbers']
    if parameters['batch_group_count'] != 1:
        raise unsupported(CONVOLUTION, 'in groups of the batch')
    groups, padding = parameters['feature_group_count'], parameters['padding']
    strides, enlarged = parameters['window_strides'], parameters['lhs_dilation']
    volume = in_order(value, tuple(spec.lhs_spec))
    order = tuple(spec.out_spec)
    if any(step != 1 for step in enlarged):
        dilated = any(step != 1 for step in parameters['rhs_dilation'])
        if dilated or groups != 1 or any(step != 1 for step in strides):
            raise unsupported(CONVOLUTION, 'with gaps between voxels and a stride, gaps in the kernel or groups')
        output = _transposed_convolution(volume, kernel, spec.rhs_spec, enlarged, padding)
    else:
        weights = in_order(kernel, tuple(spec.rhs_spec))
        arguments = [list(strides), *_sides(padding), list(parameters['rhs_dilation'])]
        array = numbers(weights)
        if groups == 1 and array is not None and (algorithm := _algorithm(volume, array, arguments)):
            output = winograd.convolve(volume, array, algorithm)
        elif groups == 1:
            output = ops.convolution(volume, weights, *arguments).output(0)
        else:
            features, *rest = weights.shape
            kernels = reshaped(weights, [groups, features // groups, *rest])
            output = ops.group_convolution(volume, kernels, *arguments).output(0)
    return [Value(output, order, results[0].shape)]


def _algorithm(volume: openvino.Output, kernel: np.ndarray, arguments: list) -> Algorithm | None:
    """Return Winograd's algorithm where a convolution of volumes is of the kind that it is made for."""
    # Strides, padding at both ends, gaps in the kernel.
    if kernel.ndim != VOLUME_AXES or arguments != [[1] * 3] * 4:
        return None
    return winograd.algorithm_for(volume.get_shape(), kernel)


def _sides(padding: Sequence[tuple[int, int]]) -> tuple[list[int], list[int]]:
    return [low for low, _ in padding], [high for _, high in padding]


def _transposed_convolution(
    volume: openvino.Output,
    kernel: Value,
    kernel_order: Sequence[int],
    enlarged: Sequence[int],
    padding: Sequence[tuple[int, int]],
) -> openvino.Output:
    """Convolve a volume with gaps of zeros between its voxels: the adjoint of a convolution with a stride."""
    features, channels, *spatial = kernel_order
    (flipped,) = INDEXING['rev']([kernel], {'dimensions': spatial}, [])
    weights = in_order(flipped, (channels, features, *spatial))
    reach = [kernel.shape[axis] - 1 for axis in spatial]
    margins = [(most - low, most - high) for most, (low, high) in zip(reach, padding, strict=True)]
    if min(min(pair) for pair in margins) < 0:
        raise unsupported(CONVOLUTION, 'with gaps between voxels and more padding than the kernel reaches')
    return ops.convolution_backprop_data(
        volume, weights, list(enlarged), pads_begin=_sides(margins)[0], pads_end=_sides(margins)[1]
    ).output(0)


def _product(operands: list[Value], parameters: dict[str, Any], results: list) -> list[Value]:
    (contracted, others), (batch, other_batch) = parameters['dimension_numbers']
    first, second = operands
    if not batch and len(contracted) == 1 and len(second.shape) == 2 and numbers(second.tensor) is not None:
        matrix = second if others[0] == 1 else transpose(second, (1, 0))
        return [_along_axis(whole(first), contracted[0], matrix)]
    if not batch and len(contracted) == 1 and len(first.shape) == 2 and numbers(first.tensor) is not None:
        matrix = first if contracted[0] == 1 else transpose(first, (1, 0))
        output = _along_axis(whole(second), others[0], matrix)
        # The new axis comes first here.
        last = output.rank - 1
        places = tuple(None if axis is None else (axis + 1) % (last + 1) for axis in output.order)
        return [dataclasses.replace(output, order=places, shape=(output.shape[-1], *output.shape[:-1]))]
    left = _as_matrices(first, batch, contracted, contracted_last=True)
    right = _as_matrices(second, other_batch, others, contracted_last=False)
    output = ops.matmul(left, right, False, False).output(0)
    shape = results[0].shape
    return [Value(reshaped(output, shape), tuple(range(len(shape))), shape)]


def _as_matrices(
    value: Value, batch: Sequence[int], contracted: Sequence[int], *, contracted_last: bool
) -> openvino.Output:
    free = [axis for axis in range(value.rank) if axis not in (*batch, *contracted)]
    groups = [batch, free, contracted] if contracted_last else [batch, contracted, free]
    tensor = in_order(value, tuple(axis for group in groups for axis in group))
    return reshaped(tensor, [math.prod(value.shape[axis] for axis in group) for group in groups])


def _along_axis(value: Value, axis: int, matrix: Value) -> Value:
    """Multiply every line along an axis by a matrix (O, I); the result's last axis is that of the O numbers."""
    weights = numbers(in_order(matrix))
    assert weights is not None, '`_product` asks for matrices of known entries only'
    place, tensor = value.position(axis), value.tensor
    sizes, length = list(value.sizes), weights.shape[0]
    if len(sizes) == VOLUME_AXES and place == CHANNELS:
        kernel = constant(weights.reshape(*weights.shape, 1, 1, 1))
        none = [0] * 3
        output = ops.convolution(tensor, kernel, [1] * 3, none, none, [1] * 3).output(0)
    elif len(sizes) == VOLUME_AXES and _interpolates(weights):
        output = _interpolated(tensor, place, length)
    elif place == len(sizes) - 1:
        output = ops.matmul(tensor, constant(weights), False, True).output(0)
    else:
        ahead, behind = math.prod(sizes[:place]), math.prod(sizes[place + 1 :])
        lines = reshaped(tensor, [ahead, sizes[place], behind])
        product = ops.matmul(constant(weights), lines, False, False).output(0)
        output = reshaped(product, [*sizes[:place], length, *sizes[place + 1 :]])
    order = tuple(
        value.rank - 1 if other == axis else other - (other > axis) if other is not None else None
        for other in value.order
    )
    shape = [size for other, size in enumerate(value.shape) if other != axis]
    return Value(output, order, (*shape, length))


def _interpolates(weights: np.ndarray) -> bool:
    size_out, size_in = weights.shape
    return size_out > 1 and np.abs(align_corners_matrix(size_in, size_out) - weights).max() < TOLERANCE


def _interpolated(tensor: openvino.Output, place: int, length: int) -> openvino.Output:
    """Interpolate along an axis, together with those along which the tensor was interpolated just before."""
    lengths = {place: length}
    if operator(tensor) == 'Interpolate':
        source, *fixed = inputs(tensor)
        sizes, axes = (numbers(entry) for entry in fixed)
        assert sizes is not None and axes is not None, 'an interpolation made here has both as constants'
        before = dict(zip(axes.tolist(), sizes.tolist(), strict=True))
        if place not in before:
            tensor, lengths = source, before | lengths
    places = sorted(lengths)
    return ops.interpolate(
        tensor,
        np.asarray([lengths[axis] for axis in places], np.int64),
        'linear_onnx',
        'sizes',
        coordinate_transformation_mode='align_corners',
        axes=np.asarray(places, np.int64),
    ).output(0)


HANDLERS = {CONVOLUTION: _convolution, 'dot_general': _product}
