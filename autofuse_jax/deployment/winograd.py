"""Winograd's algorithm along depth in a graph of OpenVINO, as `models.winograd` has it in JAX.

The runtime convolves volumes directly. Where volumes are large and have many channels, the sums of slices cost less
than the products that they save.
"""

import math
from collections.abc import Sequence

import numpy as np

from autofuse_jax.deployment.openvino_package import openvino, ops
from autofuse_jax.deployment.values import constant
from autofuse_jax.models.winograd import TAPS, Algorithm, Row, fastest

# Axis of the depth in a tensor (B, C, D, H, W).
DEPTH = 2
# What makes the sums of slices cheap beside the products: channels in times channels out, and voxels of a volume.
MIN_CHANNEL_PAIRS, MIN_VOXELS = 32 * 32, 32 * 32 * 8


def algorithm_for(shape: Sequence[int], weights: np.ndarray) -> Algorithm | None:
    """Return the algorithm with which a convolution takes less time, or None for a direct one.

    Args:
        shape: (B, C, D, H, W) of the volume.
        weights: (O, C, kD, kH, kW).
    """
    batch, channels, *sizes = shape
    large = channels * len(weights) >= MIN_CHANNEL_PAIRS and batch * math.prod(sizes) >= MIN_VOXELS
    return fastest(sizes[0]) if large and weights.shape[2:] == (TAPS,) * 3 else None


def convolve(volume: openvino.Output, weights: np.ndarray, algorithm: Algorithm) -> openvino.Output:
    """Convolve with one voxel of zero padding all around.

    Args:
        volume: (B, C, D, H, W).
        weights: (O, C, 3, 3, 3).
        algorithm: Algorithm of `models.winograd`.

    Returns:
        (B, O, D, H, W).
    """
    depth = volume.get_shape()[DEPTH]
    per_tile, per_window = len(algorithm.outputs), len(algorithm.inputs)
    tiles = -(-depth // per_tile)
    # Input n of every tile: slices n - 1, n - 1 + m, n - 1 + 2 m, ... of the volume, with zeros beyond its ends.
    inputs = [_every(volume, n - 1, per_tile, tiles) for n in range(per_window)]
    products = []
    for row, taps in zip(algorithm.inputs, algorithm.taps, strict=True):
        kernel = np.asarray(sum(weight * weights[:, :, tap] for tap, weight in enumerate(taps)))[:, :, None]
        sides_of_slices = [0, 1, 1]
        arguments = [1, 1, 1], sides_of_slices, sides_of_slices, [1, 1, 1]
        products.append(ops.convolution(_combine(row, inputs), constant(kernel.astype(np.float32)), *arguments))
    outputs = [ops.split(_combine(row, products), DEPTH, tiles).outputs() for row in algorithm.outputs]
    # Slice by slice: to reshape what is stacked, the runtime would put the channels in another place first.
    slices = [of_tile for tile in zip(*outputs, strict=True) for of_tile in tile]
    return ops.concat(slices[:depth], DEPTH).output(0)


def _every(volume: openvino.Output, first: int, step: int, count: int) -> openvino.Node:
    """Return `count` slices along depth, from the one at `first` on; zeros where there are none."""
    shape = list(volume.get_shape())
    places = range(first, first + count * step, step)
    there = [place for place in places if 0 <= place < shape[DEPTH]]
    shape[DEPTH] = 1
    nothing = constant(np.zeros(shape, np.float32))
    parts = [nothing] * sum(place < 0 for place in places)
    if there:
        parts.append(ops.slice(volume, [there[0]], [there[-1] + 1], [step], [DEPTH]))
    parts += [nothing] * sum(place > 0 and place not in there for place in places)
    return parts[0] if len(parts) == 1 else ops.concat(parts, DEPTH)


def _combine(row: Row, tensors: Sequence[openvino.Node]) -> openvino.Node:
    """Sum tensors with the weights of a row."""
    terms = [
        tensor if weight == 1 else ops.multiply(tensor, np.float32(weight))
        for weight, tensor in zip(row, tensors, strict=True)
        if weight
    ]
    total = terms[0]
    for term in terms[1:]:
        total = ops.add(total, term)
    return total
