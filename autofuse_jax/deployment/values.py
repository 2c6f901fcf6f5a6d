"""What stands for an array of JAX in a graph of OpenVINO: a tensor, and where its axes are.

Our volumes are (B, D, H, W, C), OpenVINO's convolutions want (B, C, D, H, W). Transposing around every convolution
would cost what the fast convolution gains, so axes stay where the last convolution put them and every operation is
carried out there. A tensor may also be of size 1 along an axis that JAX has broadcast: it is stretched where that is
needed.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from autofuse_jax.deployment.openvino_package import openvino, ops

# Axis of the array, or None for an axis of size 1 that the array does not have.
Order = tuple[int | None, ...]


@dataclasses.dataclass(frozen=True)
class Value:
    """An array of JAX as a tensor of OpenVINO.

    Attributes:
        tensor: Tensor of the graph that computes it; of static size.
        order: Axis of the array for each axis of the tensor; every axis of the array occurs once.
        shape: Shape of the array. Where the tensor has size 1, all entries along that axis are equal.
    """

    tensor: openvino.Output
    order: Order
    shape: tuple[int, ...]

    @property
    def rank(self) -> int:
        """Number of axes of the array."""
        return len(self.shape)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Size of the tensor along its own axes."""
        return tuple(self.tensor.shape)

    @property
    def stretched(self) -> bool:
        """Whether the tensor is smaller than the array."""
        return math.prod(self.sizes) != math.prod(self.shape)

    def position(self, axis: int) -> int:
        """Return the tensor's axis that is an axis of the array."""
        return self.order.index(axis)


def is_constant(tensor: openvino.Output) -> bool:
    """Return whether a tensor is known before anything runs."""
    return tensor.get_node().get_type_name() == 'Constant'


def numbers(tensor: openvino.Output) -> np.ndarray | None:
    """Return the entries of a constant, None for anything else."""
    return tensor.get_node().data if is_constant(tensor) else None


def single_number(tensor: openvino.Output) -> float | None:
    """Return the entry of a constant with one entry, None for anything else."""
    array = numbers(tensor)
    return array.item() if array is not None and array.size == 1 else None


def constant(array: np.ndarray | np.generic) -> openvino.Output:
    """Return a tensor with fixed entries."""
    array = np.asarray(array, order='C')
    return ops.constant(array, dtype=array.dtype).output(0)


def of_array(array: np.ndarray | np.generic) -> Value:
    """Return an array of known entries as a value."""
    array = np.asarray(array)
    return Value(constant(array), tuple(range(array.ndim)), array.shape)


def reshaped(tensor: openvino.Output, sizes: Sequence[int]) -> openvino.Output:
    """Return a tensor with other sizes, its entries in the same order."""
    if tuple(tensor.shape) == tuple(sizes):
        return tensor
    array = numbers(tensor)
    if array is not None:
        return constant(array.reshape(tuple(sizes)))
    return ops.reshape(tensor, np.asarray(sizes, np.int64), special_zero=False).output(0)


def transposed(tensor: openvino.Output, axes: Sequence[int]) -> openvino.Output:
    """Return a tensor with its axes in another order; a reshape where only axes of size 1 move."""
    sizes = tuple(tensor.shape)
    target_sizes = tuple(sizes[axis] for axis in axes)
    longer = [axis for axis in axes if sizes[axis] != 1]
    if longer == sorted(longer):
        return reshaped(tensor, target_sizes)
    array = numbers(tensor)
    if array is not None:
        return constant(array.transpose(tuple(axes)))
    return ops.transpose(tensor, np.asarray(axes, np.int64)).output(0)


def arranged(value: Value, order: Order) -> openvino.Output:
    """Return the tensor of a value with its axes in an order, not stretched.

    Args:
        value: Any.
        order: Every axis of the array once, and None for axes of size 1 in between.
    """
    if value.order == order:
        return value.tensor
    places = [value.position(axis) for axis in order if axis is not None]
    others = [place for place, axis in enumerate(value.order) if axis is None]
    tensor = transposed(value.tensor, places + others)
    sizes = iter(value.sizes[place] for place in places)
    return reshaped(tensor, [1 if axis is None else next(sizes) for axis in order])


def whole(value: Value) -> Value:
    """Return a value whose tensor is as large as the array."""
    if not value.stretched:
        return value
    sizes = [1 if axis is None else value.shape[axis] for axis in value.order]
    array = numbers(value.tensor)
    if array is not None:
        tensor = constant(np.broadcast_to(array, sizes))
    else:
        tensor = ops.broadcast(value.tensor, np.asarray(sizes, np.int64)).output(0)
    return dataclasses.replace(value, tensor=tensor)


def in_order(value: Value, order: Order | None = None) -> openvino.Output:
    """Return the whole tensor of a value, its axes as in the array or in a given order."""
    return arranged(whole(value), tuple(range(value.rank)) if order is None else order)


def common_order(values: Sequence[Value]) -> Order:
    """Return the order in which several values of one shape are best worked on: that of the largest tensor."""
    return max(values, key=lambda value: (value.rank, not is_constant(value.tensor), math.prod(value.sizes))).order


def aligned(values: Sequence[Value]) -> tuple[list[openvino.Output], Order]:
    """Return the tensors of values of one shape, or of scalars, with their axes in one order; they may be stretched."""
    order = common_order(values)
    return [arranged(value, order) if value.rank else value.tensor for value in values], order
