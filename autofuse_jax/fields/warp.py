"""Pull-back of a volume by a displacement: linear and nearest sampling with zeros outside."""

import itertools

import jax
import jax.numpy as jnp

from autofuse_jax.fields.grids import check_field, voxel_grid


def warp_linear(volume: jax.Array, displacement: jax.Array) -> jax.Array:
    """Sample a volume at displaced positions with trilinear interpolation.

    `warped(x) = sum_c w_c(x + u(x)) * volume(c)` over the eight voxels c around x + u(x). A neighbour outside the
    grid contributes zero, each one for itself, so values fade to zero within one voxel of the border.

    Args:
        volume: (D, H, W, C) floating point, the moving volume.
        displacement: (D', H', W', 3), in voxels of the volume's grid, pull direction. D', H', W' may differ from the
            volume's size; positions are then counted from the same first voxel.

    Returns:
        (D', H', W', C) in the volume's type. Differentiable in both arguments.

    Raises:
        ValueError: A shape is not as above.

    Reference:
        Jaderberg et al., Spatial transformer networks, NeurIPS 2015; equal to PyTorch's `grid_sample` with
        `align_corners=True, padding_mode='zeros'`.
    """
    _check_volume(volume, displacement)
    position = voxel_grid(displacement.shape[:3], displacement.dtype) + displacement
    lower = jnp.floor(position)
    fraction = position - lower
    lower = lower.astype(jnp.int32)
    warped = 0.0
    for corner in itertools.product((0, 1), repeat=3):
        index = [lower[..., axis] + offset for axis, offset in enumerate(corner)]
        # One product of three factors, written out: reducing over a short axis is many times slower on CPU.
        weight = 1.0
        for axis, offset in enumerate(corner):
            weight = weight * (fraction[..., axis] if offset else 1.0 - fraction[..., axis])
        weight = jnp.where(_inside(index, volume.shape), weight, 0.0)
        warped = warped + weight[..., None].astype(volume.dtype) * _gather(volume, index)
    return warped


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
    return jnp.where(_inside(index, volume.shape)[..., None], _gather(volume, index), jnp.zeros((), volume.dtype))


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


def _gather(volume: jax.Array, index: list[jax.Array]) -> jax.Array:
    """Read volume[i, j, k] with indices clipped into the grid, as one gather on a flattened array (fast on CPU)."""
    depth, height, width = volume.shape[:3]
    i, j, k = (jnp.clip(index[axis], 0, volume.shape[axis] - 1) for axis in range(3))
    flat = jnp.asarray(volume).reshape(depth * height * width, -1)
    return flat.at[(i * height + j) * width + k].get(mode='promise_in_bounds')
