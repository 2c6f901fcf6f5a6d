"""Coordinates of the voxels of a grid."""

import jax
import jax.numpy as jnp


def voxel_grid(shape: tuple[int, ...], dtype: jnp.dtype = jnp.float32) -> jax.Array:
    """Return the index coordinates of every voxel.

    Args:
        shape: (D, H, W), in voxels.
        dtype: Floating type of the result; default float32.

    Returns:
        (D, H, W, 3); entry [i, j, k] is (i, j, k). The centre of the first voxel is at 0, of the last at N - 1.

    Example:
        >>> voxel_grid((2, 2, 2), jnp.float32)[1, 0, 1].tolist()
        [1.0, 0.0, 1.0]
    """
    axes = [jnp.arange(size, dtype=dtype) for size in shape]
    return jnp.stack(jnp.meshgrid(*axes, indexing='ij'), axis=-1)


def check_field(field: jax.Array, name: str) -> None:
    """Check that an array is a field of one sample.

    Args:
        field: The array to check.
        name: Name in the message.

    Raises:
        ValueError: The shape is not (D, H, W, 3).
    """
    if field.ndim != 4 or field.shape[-1] != 3:
        raise ValueError(f'{name} has shape {field.shape}, expected (D, H, W, 3); batch with jax.vmap.')
