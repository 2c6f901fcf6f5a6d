"""The eight voxels next to a displaced position: their places, their weights, and the derivatives of these."""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

# Of places that are known to exist: nothing is clipped, and none is counted from the end.
INSIDE: dict[str, Any] = {'mode': 'promise_in_bounds', 'wrap_negative_indices': False}


class Neighbour(NamedTuple):
    """One of the neighbours of each position.

    Attributes:
        place: Index in the flattened volume.
        weights: The three factors of its weight.
        slopes: Their derivatives with respect to the position.
    """

    place: jax.Array
    weights: tuple[jax.Array, ...]
    slopes: tuple[jax.Array, ...]

    @property
    def weight(self) -> jax.Array:
        """The weight `w_c(x)`."""
        return self.weights[0] * self.weights[1] * self.weights[2]

    def gradient(self) -> list[jax.Array]:
        """Return `dw_c/du_a(x)` for the three axes a."""
        w, s = self.weights, self.slopes
        return [s[0] * w[1] * w[2], w[0] * s[1] * w[2], w[0] * w[1] * s[2]]


def positions(displacement: jax.Array) -> list[jax.Array]:
    """Return the three coordinates of x + u(x), (D, H, W) each, for a displacement u of (D, H, W, 3)."""
    # Axis by axis: the compiler for CPU adds two arrays of vectors three numbers at a time.
    voxels = (jax.lax.broadcasted_iota(displacement.dtype, displacement.shape[:3], axis) for axis in range(3))
    return [voxel + displacement[..., axis] for axis, voxel in enumerate(voxels)]


def corners(shape: tuple[int, ...]) -> np.ndarray:
    """Return how far the neighbours in a grid of this shape are from the first of them: (8, 3), 0 or 1.

    Fewer where an axis has one voxel only.
    """
    return np.array(list(itertools.product(*(range(min(size, 2)) for size in shape))), np.int32)


def neighbours(position: Sequence[jax.Array], shape: tuple[int, ...]) -> list[Neighbour]:
    """Return all voxels of a grid that are next to each position, in the order of `corners`.

    What belongs to one axis is worked out once for each of its two sides, not for each of the eight voxels.

    Args:
        position: Three coordinates, arrays of one shape.
        shape: (D, H, W) of the grid.
    """
    sides = [[_along(position[a], np.int32(side), shape[a]) for side in range(min(shape[a], 2))] for a in range(3)]
    return [_joined([sides[a][corner[a]] for a in range(3)], corner, shape) for corner in corners(shape)]


def neighbour(position: Sequence[jax.Array], corner: np.ndarray | jax.Array, shape: tuple[int, ...]) -> Neighbour:
    """Return one of the voxels of a grid that are next to each position.

    Near the border and beyond it these are the outermost voxels of the grid, with the weight 0 where they are no
    neighbours: nothing needs to be clipped or masked.

    Args:
        position: Three coordinates, arrays of one shape.
        corner: (3,), of `corners`.
        shape: (D, H, W) of the grid.
    """
    return _joined([_along(position[a], corner[a], shape[a]) for a in range(3)], corner, shape)


def _joined(axes: list[tuple[jax.Array, ...]], corner: np.ndarray | jax.Array, shape: tuple[int, ...]) -> Neighbour:
    firsts, weights, slopes = zip(*axes, strict=True)
    return Neighbour(flat(firsts, shape) + flat(corner, shape), weights, slopes)


def _along(position: jax.Array, offset: np.integer | jax.Array, size: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return the index of the first of two neighbouring voxels along an axis, and what belongs to one of them.

    That is `w = max(0, 1 - |t|)` and `dw/dt`, t being the way from it to the position. The derivative at a voxel is
    that towards larger positions.
    """
    # Clipped as integers: whatever a position that is no number becomes, it lies in the grid.
    first = jnp.clip(jnp.floor(position).astype(jnp.int32), 0, max(size - 2, 0))
    way = position - (first + offset).astype(position.dtype)
    slope = jnp.where(way < 0, 1.0, -1.0) * ((way >= -1) & (way < 1))
    return first, jnp.maximum(0.0, 1.0 - jnp.abs(way)), slope.astype(position.dtype)


def flat(index: Sequence[jax.Array] | np.ndarray | jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Return the place of (i, j, k), inside the grid, in the flattened volume."""
    i, j, k = index
    return (i * shape[1] + j) * shape[2] + k
