"""Pull-back of a volume by a displacement: linear and nearest sampling with zeros outside."""

import jax
import jax.numpy as jnp

from autofuse_jax.fields.coordinates import check_field
from autofuse_jax.fields.neighbours import INSIDE, flat, neighbours, positions
from autofuse_jax.fields.warp_gradients import displacement_gradient, volume_gradient


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

    Example:
        >>> line = jnp.arange(4.0).reshape(4, 1, 1, 1)
        >>> half_a_voxel = jnp.zeros((4, 1, 1, 3)).at[..., 0].set(0.5)
        >>> warp_linear(line, half_a_voxel).ravel().tolist()
        [0.5, 1.5, 2.5, 1.5]
    """
    _check_volume(volume, displacement)
    # Under vmap, NumPy arrays of a compiled function are no arrays that a hand-written derivative takes; in a program
    # the copies cost nothing.
    return _warp_linear(jnp.copy(volume), jnp.copy(displacement))


@jax.custom_vjp
@jax.jit
def _warp_linear(volume: jax.Array, displacement: jax.Array) -> jax.Array:
    warped: jax.Array | float = 0.0
    for near in neighbours(positions(displacement), volume.shape[:3]):
        warped = warped + near.weight[..., None].astype(volume.dtype) * _gather(volume, near.place)
    return jnp.asarray(warped)


def _warp_forward(volume: jax.Array, displacement: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _warp_linear(volume, displacement), (volume, displacement)


def _warp_reverse(arguments: tuple[jax.Array, jax.Array], cotangent: jax.Array) -> tuple[jax.Array, jax.Array]:
    volume, displacement = arguments
    of_volume = volume_gradient(jnp.zeros_like(volume), displacement, cotangent)
    return of_volume, displacement_gradient(volume, displacement, cotangent)


_warp_linear.defvjp(_warp_forward, _warp_reverse)


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

    Example:
        >>> line = jnp.arange(4.0).reshape(4, 1, 1, 1)
        >>> one_voxel = jnp.zeros((4, 1, 1, 3)).at[..., 0].set(1.0)
        >>> warp_nearest(line, one_voxel).ravel().tolist()
        [1.0, 2.0, 3.0, 0.0]
    """
    _check_volume(volume, displacement)
    index = [jnp.round(coordinate).astype(jnp.int32) for coordinate in positions(displacement)]
    clipped = [jnp.clip(index[axis], 0, volume.shape[axis] - 1) for axis in range(3)]
    values = _gather(volume, flat(clipped, volume.shape))
    return jnp.where(_inside(index, volume.shape)[..., None], values, jnp.zeros((), volume.dtype))


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

    Example:
        >>> labels = jnp.asarray([0, 1, 1, 0]).reshape(4, 1, 1)
        >>> half_a_voxel = jnp.zeros((4, 1, 1, 3)).at[..., 0].set(0.5)
        >>> warp_labels(labels, half_a_voxel, num_classes=2)[..., 1].ravel().tolist()
        [0.5, 1.0, 0.5, 0.0]
    """
    return warp_linear(jax.nn.one_hot(labels, num_classes, dtype=displacement.dtype), displacement)


def _check_volume(volume: jax.Array, displacement: jax.Array) -> None:
    check_field(displacement, 'displacement')
    if volume.ndim != 4:
        raise ValueError(f'volume has shape {volume.shape}, expected (D, H, W, C); batch with jax.vmap.')


def _inside(index: list[jax.Array], shape: tuple[int, ...]) -> jax.Array:
    inside: jax.Array | bool = True
    for axis in range(3):
        inside = inside & (index[axis] >= 0) & (index[axis] < shape[axis])
    return jnp.asarray(inside)


def _gather(volume: jax.Array, place: jax.Array) -> jax.Array:
    """Read voxels by their places in the flattened volume, as one gather (fast on CPU)."""
    voxels = jnp.asarray(volume).reshape(volume.shape[0] * volume.shape[1] * volume.shape[2], -1)
    return voxels.at[place].get(**INSIDE)
