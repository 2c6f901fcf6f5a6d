"""Pull-back of a volume by a displacement: linear and nearest sampling with zeros outside."""

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence

import jax
import jax.numpy as jnp

from autofuse_jax.fields.grids import check_field, voxel_grid

# Up to so many, channels are read one by one where a sum over them follows: the compiler for CPU joins that into one
# loop, while it reads whole voxels first and sums then.
FEW_CHANNELS = 4
# Of places that are known to exist: nothing is clipped, and none is counted from the end.
INSIDE = {'mode': 'promise_in_bounds', 'wrap_negative_indices': False}


def warp_linear(volume: jax.Array, displacement: jax.Array) -> jax.Array:
    """Sample a volume at displaced positions with trilinear interpolation.

    `warped(x) = sum_c w_c(x + u(x)) * volume(c)` over the eight voxels c around x + u(x). A neighbour outside the
    grid contributes zero, each one for itself, so values fade to zero within one voxel of the border.

    Args:
        volume: (D, H, W, C) floating point, the moving volume.
        displacement: (D', H', W', 3), in voxels of the volume's grid, pull direction. D', H', W' may differ from the
            volume's size; positions are then counted from the same first voxel.

    Returns:
        (D', H', W', C) in the volume's type. Differentiable in both arguments, in reverse mode (`jax.grad`, `jax.vjp`).

    Raises:
        ValueError: A shape is not as above.
        TypeError: It is differentiated in forward mode (`jax.jvp`).

    Reference:
        Jaderberg et al., Spatial transformer networks, NeurIPS 2015; equal to PyTorch's `grid_sample` with
        `align_corners=True, padding_mode='zeros'`.
    """
    _check_volume(volume, displacement)
    # Under vmap, NumPy arrays of a compiled function are no arrays that a hand-written derivative takes; in a program
    # the copies cost nothing.
    return _warp_linear(jnp.copy(volume), jnp.copy(displacement))


# The derivative is written by hand: it reads the eight voxels again instead of keeping them, and adds to all of them at
# once, which takes less time and less memory than what JAX derives.
@jax.custom_vjp
def _warp_linear(volume: jax.Array, displacement: jax.Array) -> jax.Array:
    warped = 0.0
    for place, weights, _ in _neighbours(displacement, volume.shape):
        weight = weights[0] * weights[1] * weights[2]
        warped = warped + weight[..., None].astype(volume.dtype) * _read(volume, place)
    return warped


def _warp_forward(volume: jax.Array, displacement: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _warp_linear(volume, displacement), (volume, displacement)


def _warp_reverse(arguments: tuple[jax.Array, jax.Array], cotangent: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return `dL/dvolume(c) = sum_x w_c(x) g(x)` and `dL/du_a(x) = sum_c dw_c/du_a(x) <volume(c), g(x)>`."""
    volume, displacement = arguments
    product_at = _product_with(volume, cotangent)
    gradient, places, shares = [0.0, 0.0, 0.0], [], []
    for place, weights, slopes in _neighbours(displacement, volume.shape):
        product = product_at(place).astype(displacement.dtype)
        for axis in range(3):
            one, other = (weights[a] for a in range(3) if a != axis)
            gradient[axis] = gradient[axis] + slopes[axis] * one * other * product
        weight = (weights[0] * weights[1] * weights[2]).astype(volume.dtype)
        places.append(place.reshape(-1))
        shares.append((weight[..., None] * cotangent).reshape(-1, volume.shape[-1]))
    nothing = jnp.zeros((volume.shape[0] * volume.shape[1] * volume.shape[2], volume.shape[-1]), volume.dtype)
    # One addition for all neighbours: XLA adds one value after the other on CPU, and eight programs cost more than one.
    summed = nothing.at[jnp.concatenate(places)].add(jnp.concatenate(shares), **INSIDE)
    return summed.reshape(volume.shape), jnp.stack(gradient, axis=-1)


_warp_linear.defvjp(_warp_forward, _warp_reverse)


Neighbour = tuple[jax.Array, tuple[jax.Array, ...], tuple[jax.Array, ...]]


def _neighbours(displacement: jax.Array, shape: tuple[int, ...]) -> Iterator[Neighbour]:
    """Yield the eight voxels of the grid that are next to each position.

    Of each: its place in the flattened volume, the three factors of its weight, and their derivatives. Near the border
    and beyond it these are the outermost voxels of the grid, with the weight 0 where they are no neighbours: nothing
    needs to be clipped or masked.
    """
    position = voxel_grid(displacement.shape[:3], displacement.dtype) + displacement
    firsts, along = zip(*(_neighbours_along(position[..., axis], shape[axis]) for axis in range(3)), strict=True)
    first = _flat(firsts, shape)
    for corner in itertools.product(*along):
        offset, weights, slopes = zip(*corner, strict=True)
        yield first + _flat(offset, shape), weights, slopes


Along = list[tuple[int, jax.Array, jax.Array]]


def _neighbours_along(position: jax.Array, size: int) -> tuple[jax.Array, Along]:
    """Return the index of the first of two neighbouring voxels along an axis, and what belongs to each of them.

    That is how far it is from the first, `w = max(0, 1 - |t|)` and `dw/dt`, t being the way to the position. The
    derivative at a voxel is that towards larger positions.
    """
    # Clipped as integers: whatever a position that is no number becomes, it lies in the grid.
    first = jnp.clip(jnp.floor(position).astype(jnp.int32), 0, max(size - 2, 0))
    found = []
    for offset in range(min(size, 2)):
        way = position - (first + offset).astype(position.dtype)
        weight = jnp.maximum(0.0, 1.0 - jnp.abs(way))
        slope = jnp.where(way < 0, 1.0, -1.0) * ((way >= -1) & (way < 1))
        found.append((offset, weight, slope.astype(position.dtype)))
    return first, found


def _product_with(volume: jax.Array, cotangent: jax.Array) -> Callable[[jax.Array], jax.Array]:
    """Return what maps places to `<volume(c), g(x)>`, the sum over channels."""
    channels = volume.shape[-1]
    if channels > FEW_CHANNELS:
        return lambda place: jnp.sum(_read(volume, place) * cotangent, axis=-1)
    planes = [volume[..., channel].reshape(-1) for channel in range(channels)]

    def product_at(place: jax.Array) -> jax.Array:
        terms = (plane.at[place].get(**INSIDE) * cotangent[..., channel] for channel, plane in enumerate(planes))
        return functools.reduce(jnp.add, terms)

    return product_at


def warp_nearest(volume: jax.Array, displacement: jax.Array) -> jax.Array:
    """Sample a volume at displaced positions with nearest-neighbour interpolation, zero outside.

    Half-way positions round to the even index, as PyTorch's `grid_sample(mode='nearest')` does.

    Args:
        volume: (D, H, W, C), any type.
        displacement: (D', H', W', 3), in voxels, pull direction.

    Returns:
        (D', H', W', C) in the volume's type. No gradient reaches the displacement.

    Raises:
        ValueError: A shape is not as above.
    """
    _check_volume(volume, displacement)
    position = voxel_grid(displacement.shape[:3], displacement.dtype) + displacement
    nearest = jnp.round(position).astype(jnp.int32)
    index = [nearest[..., axis] for axis in range(3)]
    clipped = [jnp.clip(index[axis], 0, volume.shape[axis] - 1) for axis in range(3)]
    sampled = _read(volume, _flat(clipped, volume.shape))
    return jnp.where(_inside(index, volume.shape)[..., None], sampled, jnp.zeros((), volume.dtype))


def warp_labels(labels: jax.Array, displacement: jax.Array, *, num_classes: int) -> jax.Array:
    """Warp an integer label map so that gradients reach the displacement.

    Each class's indicator is warped linearly: `P_k(x) = sum_c w_c(x + u(x)) * [labels(c) = k]`. The official AutoFuse
    code warps label indices with nearest sampling instead, through which no gradient flows.

    Args:
        labels: (D, H, W) integers in 0 .. num_classes - 1.
        displacement: (D, H, W, 3), in voxels, pull direction.
        num_classes: C, background included.

    Returns:
        (D, H, W, C) in [0, 1]; sums to 1 over C except where neighbours lie outside the grid.
    """
    return warp_linear(jax.nn.one_hot(labels, num_classes, dtype=displacement.dtype), displacement)


def _check_volume(volume: jax.Array, displacement: jax.Array) -> None:
    check_field(displacement, 'displacement')
    if volume.ndim != 4:
        raise ValueError(f'volume has shape {volume.shape}, expected (D, H, W, C); batch with jax.vmap.')


def _inside(index: list[jax.Array], shape: tuple[int, ...]) -> jax.Array:
    inside = True
    for axis in range(3):
        inside = inside & (index[axis] >= 0) & (index[axis] < shape[axis])
    return inside


def _flat(index: Sequence[jax.Array | int], shape: tuple[int, ...]) -> jax.Array | int:
    """Return the place of (i, j, k), inside the grid, in the flattened volume."""
    i, j, k = index
    return (i * shape[1] + j) * shape[2] + k


def _read(volume: jax.Array, place: jax.Array) -> jax.Array:
    """Read voxels by their places in the flattened volume, as one gather (fast on CPU)."""
    flat = jnp.asarray(volume).reshape(volume.shape[0] * volume.shape[1] * volume.shape[2], -1)
    return flat.at[place].get(**INSIDE)
