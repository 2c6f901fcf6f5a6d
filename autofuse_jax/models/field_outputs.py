"""From what a head predicts to maps and warped images; checks that every pair network makes of its input."""

import jax
import jax.numpy as jnp

from autofuse_jax.fields import (
    integrate_velocity,
    invert_velocity,
    resample_displacement,
    upsample_displacement,
    warp_linear,
)
from autofuse_jax.outputs import RegistrationOutput

SIZE_MULTIPLE = 16


def check_pair(fixed: jax.Array, moving: jax.Array, multiple: int | tuple[int, ...] = SIZE_MULTIPLE) -> None:
    """Check the images that a network is given.

    Args:
        fixed: Fixed images, (B, D, H, W, 1).
        moving: Moving images of the same shape.
        multiple: Step that the sizes must be multiples of, one number or one for each axis; default 16.

    Raises:
        ValueError: The shapes differ or are not of that form, or a size is no multiple; says to what to pad.
    """
    if fixed.shape != moving.shape or fixed.ndim != 5 or fixed.shape[-1] != 1:
        raise ValueError(f'fixed {fixed.shape} and moving {moving.shape} must both be (B, D, H, W, 1).')
    steps = (multiple,) * 3 if isinstance(multiple, int) else tuple(multiple)
    if any(size % step for size, step in zip(fixed.shape[1:4], steps, strict=True)):
        fitting = tuple(-(-size // step) * step for size, step in zip(fixed.shape[1:4], steps, strict=True))
        multiples = steps[0] if len({*steps}) == 1 else steps
        raise ValueError(
            f'images have size {fixed.shape[1:4]}, expected multiples of {multiples}; pad them to {fitting}.'
        )


def of_displacement(displacement: jax.Array, moving: jax.Array, **others) -> RegistrationOutput:
    """Return the output of a network that predicts a displacement at full resolution.

    Args:
        displacement: (B, D, H, W, 3), voxels of the fixed grid; widened to float32 at least.
        moving: (B, D, H, W, 1).
        **others: Further fields of `RegistrationOutput`.
    """
    displacement = widened(displacement)
    return RegistrationOutput(displacement, jax.vmap(warp_linear)(moving, displacement), **others)


def of_velocity(
    mean: jax.Array,
    moving: jax.Array,
    log_variance: jax.Array | None = None,
    noise: jax.Array | None = None,
    **others,
) -> RegistrationOutput:
    """Return the output of a network that predicts a stationary velocity at half resolution.

    `v = mean + exp(log_variance / 2) noise`, 7 squarings of `v / 2^7` at half resolution, values and size doubled; a
    velocity that is coarser than that is then resampled to the images' grid.

    Args:
        mean: (B, D / 2, H / 2, W / 2, 3), or coarser over the same field of view; voxels of its own grid.
        moving: (B, D, H, W, 1).
        log_variance: Logarithm of the variance, of the shape of `mean`; None: nothing is sampled.
        noise: Draws of the shape of `mean`, standard normal; None: the velocity is the mean.
        **others: Further fields of `RegistrationOutput`.
    """
    # Fields are integrated in float32 or better whatever the network computes in: a half-precision voxel index is
    # off by half a voxel from 1024 on, and by far too much for a Jacobian before.
    velocity = widened(mean)
    if noise is not None and log_variance is not None:
        velocity = velocity + jnp.exp(0.5 * widened(log_variance)) * noise
    # What nobody uses of this is removed by the compiler.
    forward, backward = (
        on_grid_of(moving, jax.vmap(lambda v, integrate=integrate: upsample_displacement(integrate(v)))(velocity))
        for integrate in (integrate_velocity, invert_velocity)
    )
    return RegistrationOutput(
        forward,
        jax.vmap(warp_linear)(moving, forward),
        mean,
        inverse_displacement=backward,
        log_variance=log_variance,
        **others,
    )


def on_grid_of(image: jax.Array, displacement: jax.Array) -> jax.Array:
    """Return a displacement (B, d, h, w, 3) on the grid of images (B, D, H, W, 1) of the same field of view."""
    shape = image.shape[1:4]
    if displacement.shape[1:4] == shape:
        return displacement
    return jax.vmap(lambda u: resample_displacement(u, shape))(displacement)


def widened(field: jax.Array) -> jax.Array:
    """Return a field in float32, or in its own type if that is wider."""
    return field.astype(jnp.promote_types(field.dtype, jnp.float32))
