"""Integration of a stationary velocity field by scaling and squaring."""

import jax

from autofuse_jax.fields.coordinates import check_field
from autofuse_jax.fields.warp import warp_linear
from autofuse_jax.fields.warp_gradients import displacement_gradient, volume_gradient

SQUARING_STEPS = 7


def integrate_velocity(velocity: jax.Array, *, steps: int = SQUARING_STEPS) -> jax.Array:
    """Integrate a stationary velocity field over unit time: `psi = exp(v)`.

    `u <- v / 2^steps`, then `steps` times `u <- u + u(x + u)`.

    Args:
        velocity: (D, H, W, 3), in voxels of its grid per unit time.
        steps: Number of squarings, at least 0; default 7 as in the paper.

    Returns:
        The displacement u of `psi(x) = x + u(x)`, (D, H, W, 3), in voxels.

    Raises:
        ValueError: The shape is not (D, H, W, 3) or `steps` is negative.

    Reference:
        Arsigny et al., A log-Euclidean framework for statistics on diffeomorphisms, MICCAI 2006.

    Example:
        >>> import jax.numpy as jnp
        >>> velocity = jnp.full((4, 4, 4, 3), 0.5)
        >>> integrate_velocity(velocity)[1, 1, 1].tolist()
        [0.4990137219429016, 0.4990137219429016, 0.4990137219429016]
    """
    check_field(velocity, 'velocity')
    if steps < 0:
        raise ValueError(f'steps is {steps}, expected 0 or more.')

    def square(displacement: jax.Array, _: None) -> tuple[jax.Array, None]:
        return _square(displacement), None

    # A loop, not seven copies of its body: unrolled, the compiler computes each displacement anew for each of its
    # readers, and the cost grows exponentially with the steps.
    return jax.lax.scan(square, velocity / 2**steps, None, length=steps)[0]


@jax.custom_vjp
def _square(displacement: jax.Array) -> jax.Array:
    return displacement + warp_linear(displacement, displacement)


def _square_forward(displacement: jax.Array) -> tuple[jax.Array, jax.Array]:
    return _square(displacement), displacement


def _square_reverse(displacement: jax.Array, cotangent: jax.Array) -> tuple[jax.Array]:
    # One term is what the next is added to: three fields of their own would be written first and summed then.
    start = cotangent + displacement_gradient(displacement, displacement, cotangent)
    return (volume_gradient(start, displacement, cotangent),)


_square.defvjp(_square_forward, _square_reverse)


def invert_velocity(velocity: jax.Array, *, steps: int = SQUARING_STEPS) -> jax.Array:
    """Return the displacement of the inverse map: `psi^-1 = exp(-v)`.

    Args:
        velocity: (D, H, W, 3), in voxels of its grid per unit time.
        steps: Number of squarings; default 7.

    Returns:
        The displacement of the inverse, (D, H, W, 3), in voxels.

    Example:
        >>> import jax.numpy as jnp
        >>> velocity = jnp.full((4, 4, 4, 3), 0.5)
        >>> invert_velocity(velocity)[1, 1, 1].tolist()
        [-0.4742528796195984, -0.4742528796195984, -0.4742528796195984]
    """
    return integrate_velocity(-velocity, steps=steps)
