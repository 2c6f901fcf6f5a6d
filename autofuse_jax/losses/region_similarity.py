"""Similarity of two images structure by structure."""

import jax
import jax.numpy as jnp

from autofuse_jax.losses.similarity import NCC_WINDOW, local_ncc


def region_ncc(fixed_regions: jax.Array, warped_regions: jax.Array, *, window: int = NCC_WINDOW) -> jax.Array:
    """Return `local_ncc` of each region on its own: `(NCC(F_1, W_1), .., NCC(F_K, W_K))`.

    One region after the other, recomputed in the reverse pass: memory is that of one region, however many there are.

    Args:
        fixed_regions: (D, H, W, K), images in [0, 1], zero outside their region.
        warped_regions: (D, H, W, K).
        window: Side of the box in voxels, odd; default 9.

    Returns:
        (K,), about 0 .. 1; 0 for a region that is empty in one of the images.
    """
    pairs = tuple(jnp.moveaxis(regions, -1, 0)[..., None] for regions in (fixed_regions, warped_regions))
    return jax.lax.map(jax.checkpoint(lambda pair: local_ncc(*pair, window=window)), pairs)
