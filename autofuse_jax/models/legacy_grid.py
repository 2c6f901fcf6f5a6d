"""The sampling grid of published code that builds one convention and samples with another."""

import jax
import jax.numpy as jnp

from autofuse_jax.fields.coordinates import voxel_grid


def mixed_grid_displacement(displacement: jax.Array) -> jax.Array:
    """Return the displacement by which such code in effect samples, where its network predicts u.

    The code normalises x + u to [-1, 1] so that -1 and 1 are the centres of the first and the last voxel, and the
    sampler takes them for the outer faces: `x + u' = (x + u) n / (n - 1) - 1 / 2` along an axis of n voxels. Where u is
    zero this stretches about the middle, by half a voxel at the border.

    Args:
        displacement: (B, D, H, W, 3), u in voxels, sizes at least 2.

    Returns:
        u', of the same shape.
    """
    size = displacement.shape[1:4]
    grid = voxel_grid(size, displacement.dtype)
    stretch = jnp.asarray([length / (length - 1) for length in size], displacement.dtype)
    return (grid + displacement) * stretch - 0.5 - grid
