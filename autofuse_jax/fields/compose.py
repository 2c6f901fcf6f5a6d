"""Composition of displacement fields."""

import jax

from autofuse_jax.fields.warp import warp_linear


def compose(outer: jax.Array, inner: jax.Array) -> jax.Array:
    """Return the displacement of `x -> psi_outer(psi_inner(x))`.

    `u(x) = u_inner(x) + u_outer(x + u_inner(x))`. Warping a volume with the result equals warping it with `outer`
    first and warping the outcome with `inner` then, interpolated once.

    Args:
        outer: (D, H, W, 3), in voxels.
        inner: (D, H, W, 3), in voxels.

    Returns:
        (D, H, W, 3), in voxels. `outer` counts as zero outside its grid.

    Example:
        >>> import jax.numpy as jnp
        >>> step = jnp.zeros((4, 4, 4, 3)).at[..., 0].set(1.0)
        >>> twice = compose(step, step)
        >>> twice[1, 1, 1].tolist()
        [2.0, 0.0, 0.0]
    """
    return inner + warp_linear(outer, inner)
