"""The derivatives of a linear warp, written by hand: with respect to the volume, and to the displacement.

Of a loss L, the cotangent `g(x) = dL/dwarped(x)`, one number for each channel, is given. The warp is

    warped(x) = sum_c w_c(x) volume(c),    w_c(x) = prod_a max(0, 1 - |t_a|),    t = x + u(x) - c,

over the voxels c, of which only the eight around x + u(x) have a weight; x, u, c and t are in voxels, a is an axis.

It is linear in the volume: voxel c enters warped(x) by the factor w_c(x), at all x. Hence

    dL/dvolume(c) = sum_x w_c(x) g(x),

to which each x adds at its eight neighbours. The displacement at x enters warped(x) alone, through the weights:

    dL/du_a(x) = sum_c dw_c/du_a(x) <volume(c), g(x)>,    <.,.> the sum over channels,
    dw_c/du_a = s_a prod_b max(0, 1 - |t_b|) over the other axes b,    s_a = -sign(t_a) where |t_a| < 1, else 0.

The sum over channels comes first, because it is one number for a neighbour, whatever the axis. At a voxel, where t_a is
-1, 0 or 1, the warp has a kink: s_a is there what it is on the side of larger positions, see `neighbours`. Both are in
units of L: for each unit of the volume's values, and for each voxel of displacement.

They read the eight neighbours again instead of keeping them, which takes less memory than what JAX derives. On CPU both
go over the neighbours in a loop, and so does what lays out the positions. The compiler there joins whatever it can with
what reads it, and computes it anew for each reader: the cotangent eight times, the positions as often as weights are
asked for. What enters a loop and what leaves it is computed once.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from autofuse_jax.fields.neighbours import INSIDE, corners, neighbour, neighbours, positions

# Up to so many, channels are read one by one where a sum over them follows: the compiler for CPU joins that into one
# loop, while it reads whole voxels first and sums then.
FEW_CHANNELS = 4


def volume_gradient(start: jax.Array, displacement: jax.Array, cotangent: jax.Array) -> jax.Array:
    """Return `start(c) + sum_x w_c(x) g(x)`.

    Args:
        start: (D, H, W, C), what the derivative with respect to the volume is added to.
        displacement: (D', H', W', 3), in voxels of the volume's grid, pull direction.
        cotangent: g, (D', H', W', C).

    Returns:
        (D, H, W, C).
    """
    return _for_backend(_volume_gradient, start, displacement, cotangent)


@functools.partial(jax.jit, static_argnames='in_loop')
def _volume_gradient(start: jax.Array, displacement: jax.Array, cotangent: jax.Array, *, in_loop: bool) -> jax.Array:
    shape, added = start.shape[:3], _rows(cotangent)
    position = _planes(displacement, in_loop)

    def add(summed: jax.Array, corner: jax.Array) -> tuple[jax.Array, None]:
        near = neighbour(position, corner, shape)
        return summed.at[near.place].add(near.weight.astype(added.dtype)[:, None] * added, **INSIDE), None

    return _over_corners(add, _rows(start), shape, in_loop)[0].reshape(start.shape)


def displacement_gradient(volume: jax.Array, displacement: jax.Array, cotangent: jax.Array) -> jax.Array:
    """Return `dL/du_a(x) = sum_c dw_c/du_a(x) <volume(c), g(x)>`.

    Args:
        volume: (D, H, W, C).
        displacement: (D', H', W', 3), in voxels of the volume's grid, pull direction.
        cotangent: g, (D', H', W', C).

    Returns:
        (D', H', W', 3).
    """
    return _for_backend(_displacement_gradient, volume, displacement, cotangent)


@functools.partial(jax.jit, static_argnames='in_loop')
def _displacement_gradient(
    volume: jax.Array, displacement: jax.Array, cotangent: jax.Array, *, in_loop: bool
) -> jax.Array:
    shape, voxels, gradients = volume.shape[:3], _rows(volume), _rows(cotangent)
    position = _planes(displacement, in_loop)

    def product(_: None, corner: jax.Array) -> tuple[None, jax.Array]:
        return None, _product(voxels, neighbour(position, corner, shape).place, gradients).astype(displacement.dtype)

    _, products = _over_corners(product, None, shape, in_loop)
    terms = [
        [slope * one for slope in near.gradient()]
        for near, one in zip(neighbours(position, shape), products, strict=True)
    ]
    summed = [functools.reduce(jnp.add, of_axis) for of_axis in zip(*terms, strict=True)]
    return jnp.stack(summed, axis=-1).reshape(displacement.shape)


def _product(voxels: jax.Array, place: jax.Array, gradients: jax.Array) -> jax.Array:
    """Return `<volume(c), g(x)>`, the sum over channels."""
    channels = voxels.shape[-1]
    if channels > FEW_CHANNELS:
        return jnp.sum(voxels.at[place].get(**INSIDE) * gradients, axis=-1)
    terms = (voxels[:, channel].at[place].get(**INSIDE) * gradients[:, channel] for channel in range(channels))
    return functools.reduce(jnp.add, terms)


def _for_backend(gradient: Callable[..., jax.Array], *arguments: jax.Array) -> jax.Array:
    """Compute with loops on CPU, without them elsewhere."""
    in_loop, unrolled = (functools.partial(gradient, in_loop=in_loop) for in_loop in (True, False))
    return jax.lax.platform_dependent(*arguments, cpu=in_loop, default=unrolled)


def _over_corners(step: Callable, start: Any, shape: tuple[int, ...], in_loop: bool) -> tuple[Any, Any]:
    """Take a step, as for `jax.lax.scan`, for each of the neighbours."""
    return jax.lax.scan(step, start, corners(shape), unroll=not in_loop)


def _rows(volume: jax.Array) -> jax.Array:
    """Return (D, H, W, C) as (N, C)."""
    return volume.reshape(-1, volume.shape[-1])


def _planes(displacement: jax.Array, in_loop: bool) -> Sequence[jax.Array]:
    """Return the three coordinates of x + u(x), (N,) each."""
    if not in_loop:
        return [coordinate.reshape(-1) for coordinate in positions(displacement)]
    rows = _rows(jnp.stack(positions(displacement), axis=-1))
    return jax.lax.map(lambda axis: jax.lax.dynamic_index_in_dim(rows, axis, 1, keepdims=False), np.arange(3))
