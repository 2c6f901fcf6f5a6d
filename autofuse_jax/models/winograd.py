"""Short filters along the depth axis with fewer multiplications: Winograd's algorithms F(2, 3) and F(4, 3).

A filter of 3 taps needs 3 multiplications for each output. Winograd's F(m, 3) makes m outputs at once from m + 2
products, `y = A^T [(G g) * (B^T d)]`, with g the taps and d the m + 2 inputs: 2 multiplications for each output of
F(2, 3) and 1.5 of F(4, 3). Here each "multiplication" is a whole 2-D convolution of a slice, so that what is added
(sums of slices) costs little beside what is saved. Rounding errors grow a little: about 1e-6 and 5e-6 of the largest
output in float32.

References: S. Winograd, Arithmetic Complexity of Computations, SIAM 1980; A. Lavin and S. Gray, Fast Algorithms for
Convolutional Neural Networks, CVPR 2016 (the matrices).
"""

import dataclasses
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

TAPS = 3
Row = tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Algorithm:
    """F(m, 3) by its matrices.

    Attributes:
        inputs: B^T, (m + 2, m + 2).
        taps: G, (m + 2, 3).
        outputs: A^T, (m, m + 2).
    """

    inputs: tuple[Row, ...]
    taps: tuple[Row, ...]
    outputs: tuple[Row, ...]

    def products(self, depth: int) -> int:
        """How many slices are convolved for `depth` slices of output; the last tile may be filled up in vain."""
        return -(-depth // len(self.outputs)) * len(self.inputs)


F2 = Algorithm(
    inputs=((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1)),
    taps=((1, 0, 0), (1 / 2, 1 / 2, 1 / 2), (1 / 2, -1 / 2, 1 / 2), (0, 0, 1)),
    outputs=((1, 1, 1, 0), (0, 1, -1, -1)),
)
F4 = Algorithm(
    inputs=(
        (4, 0, -5, 0, 1, 0),
        (0, -4, -4, 1, 1, 0),
        (0, 4, -4, -1, 1, 0),
        (0, -2, -1, 2, 1, 0),
        (0, 2, -1, -2, 1, 0),
        (0, 4, 0, -5, 0, 1),
    ),
    taps=(
        (1 / 4, 0, 0),
        (-1 / 6, -1 / 6, -1 / 6),
        (-1 / 6, 1 / 6, -1 / 6),
        (1 / 24, 1 / 12, 1 / 6),
        (1 / 24, -1 / 12, 1 / 6),
        (0, 0, 1),
    ),
    outputs=((1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0), (0, 1, 1, 4, 4, 0), (0, 1, -1, 8, -8, 1)),
)


def fastest(depth: int) -> Algorithm | None:
    """Return the algorithm with the fewest products for a depth, or None where plain taps need no more."""
    best = min((F2, F4), key=lambda algorithm: algorithm.products(depth))
    return best if best.products(depth) < TAPS * depth else None


def filter_depth(
    volume: jax.Array,
    kernel: jax.Array,
    convolve_slices: Callable[[jax.Array, jax.Array], jax.Array],
    algorithm: Algorithm,
) -> jax.Array:
    """Convolve along depth by Winograd's algorithm, with one voxel of zero padding at both ends.

    Args:
        volume: (B, D, H, W, I).
        kernel: (3, kH, kW, I, O).
        convolve_slices: Convolves each slice of (B, N, H, W, I) with a kernel (kH, kW, I, O).
        algorithm: `F2` or `F4`; any depth will do, multiples of 2 or 4 waste nothing.

    Returns:
        (B, D, H, W, O).

    Raises:
        ValueError: The kernel has another depth than 3.
    """
    if kernel.shape[0] != TAPS:
        raise ValueError(f'kernel has {kernel.shape[0]} taps along depth, expected {TAPS}.')
    depth = volume.shape[1]
    # A tile makes m slices of output from m + 2 slices of input, so that neighbours share two slices. The depth is
    # filled up to whole tiles with zeros behind the one voxel of padding; what they give is cut off at the end.
    per_tile, per_window = len(algorithm.outputs), len(algorithm.inputs)
    tiles = -(-depth // per_tile)
    padded = jnp.pad(volume, ((0, 0), (1, 1 + tiles * per_tile - depth), (0, 0), (0, 0), (0, 0)))
    # All tiles at once: their first inputs are the slices 0, m, 2 m, ..., their second 1, m + 1, 2 m + 1, ...
    inputs = [padded[:, n : n + (tiles - 1) * per_tile + 1 : per_tile] for n in range(per_window)]
    products = [
        convolve_slices(_combine(row, inputs), _combine(weights, kernel))
        for row, weights in zip(algorithm.inputs, algorithm.taps, strict=True)
    ]
    # (B, tiles, m, H, W, O): the slices of a tile lie beside each other again, and one tile behind the other.
    outputs = jnp.stack([_combine(row, products) for row in algorithm.outputs], axis=2)
    outputs = outputs.reshape(outputs.shape[0], tiles * per_tile, *outputs.shape[3:])
    return outputs[:, :depth]


def _combine(row: Row, arrays: Sequence[jax.Array] | jax.Array) -> jax.Array:
    """Sum arrays with the weights of a row."""
    return sum(weight * array for weight, array in zip(row, arrays, strict=True) if weight)
