"""Reading an image with a rim at any position: interpolated between valid voxels, and how valid the result is."""

import jax
import jax.numpy as jnp

from autofuse_jax.fields import voxel_grid, warp_linear

# Validity below which an interpolated value is not enlarged any further.
SMALLEST_VALIDITY = 1e-3


def sample_rimmed(
    rimmed: jax.Array, positions: jax.Array, last: jax.Array | None = None
) -> tuple[jax.Array, jax.Array]:
    """Sample an image that `coverage.add_rim` has surrounded.

    `F(p) = sum_c w_c valid(c) f(c) / sum_c w_c valid(c)` over the neighbours c of p, with p clipped to the rim.

    Args:
        rimmed: (D + 2, H + 2, W + 2, C + 1).
        positions: (D', H', W', 3), in voxels of the image without its rim.
        last: (3,), index of the last layer of the rim along each axis, where the array is padded beyond it; None: its
            own last voxels.

    Returns:
        Values (D', H', W', C) and validity (D', H', W').
    """
    end = jnp.asarray(rimmed.shape[:3], positions.dtype) - 1 if last is None else last
    clipped = jnp.clip(positions + 1.0, 0.0, end)
    samples = warp_linear(rimmed, clipped - voxel_grid(positions.shape[:3]))
    valid = samples[..., -1]
    return samples[..., :-1] / jnp.maximum(valid, SMALLEST_VALIDITY)[..., None], valid
