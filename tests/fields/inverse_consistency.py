"""How far two maps are from being inverse to each other."""

import jax
import jax.numpy as jnp

from autofuse_jax.fields import compose


def inverse_consistency_error(forward: jax.Array, backward: jax.Array) -> jax.Array:
    """Return `|u_backward(x) + u_forward(x + u_backward(x))|` of displacements (D, H, W, 3), (D, H, W) in voxels."""
    return jnp.linalg.norm(compose(forward, backward), axis=-1)
