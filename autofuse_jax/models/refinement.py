"""A second look: what a fusion branch is given once the moving image lies where a first velocity puts it.

A network that registers in one go has to say how far things move before it has seen where they end. A branch that
refines sees what the first velocity leaves, and adds a velocity to it: `v = v_1 + r(fixed, moving o exp(v_1))`, so that
the map is still the exponential of one stationary velocity. The sum of velocities is that of a gradient step in the
log-domain (Vercauteren et al., Symmetric log-domain diffeomorphic registration, MICCAI 2008). Not in the paper.
"""

import jax
import jax.numpy as jnp

from autofuse_jax.fields import integrate_velocity, resample_displacement, warp_linear
from autofuse_jax.models.field_outputs import widened

# Images side by side and the features of the fixed and of the moving one at each level, see `fusion_inputs`.
FusionInputs = tuple[jax.Array, tuple[jax.Array, ...], tuple[jax.Array, ...]]


def with_moved(inputs: FusionInputs, velocity: jax.Array) -> FusionInputs:
    """Return what a fusion branch is given, with everything of the moving image warped by `exp(velocity)`.

    Nothing is perceived again: the moving image, its segmentation and its features are carried along, each on its own
    grid. No gradient goes through the warping into the velocity: the branch that found it is judged by what it finds.

    Args:
        inputs: What the branch that found the velocity was given, see `PairNetwork.fusion_inputs`.
        velocity: (B, d, h, w, 3), voxels of its own grid, of the same field of view.

    Returns:
        The inputs of the branch that refines, of the same shapes.
    """
    images, of_fixed, of_moving = inputs
    displacement = jax.lax.stop_gradient(jax.vmap(integrate_velocity)(widened(velocity)))

    def moved(volume: jax.Array) -> jax.Array:
        on_grid = jax.vmap(lambda field: resample_displacement(field, volume.shape[1:4]))(displacement)
        return jax.vmap(warp_linear)(volume, on_grid).astype(volume.dtype)

    fixed_image, moving_image, segmentations = jnp.split(images, (1, 2), axis=-1)
    fixed_segmentation, moving_segmentation = jnp.split(segmentations, 2, axis=-1)
    warped = moved(jnp.concatenate([moving_image, moving_segmentation], axis=-1))
    beside = (fixed_image, warped[..., :1], fixed_segmentation, warped[..., 1:])
    return jnp.concatenate(beside, axis=-1), of_fixed, tuple(moved(features) for features in of_moving)
