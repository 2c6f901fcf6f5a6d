"""Jacobian determinant of the deformation `psi(x) = x + u(x)`."""

import jax

from autofuse_jax.fields.coordinates import check_field
from autofuse_jax.metrics.determinants import correct_determinant, official_determinant


def jacobian_determinant(displacement: jax.Array) -> jax.Array:
    """Return `det(I + grad u)` from forward differences.

    `J_ij = delta_ij + du_i / dx_j`: row i is the displacement component, column j the axis. A value of 1 keeps volume,
    0 .. 1 shrinks, at or below 0 the map folds.

    Args:
        displacement: (D, H, W, 3), in voxels.

    Returns:
        (D - 1, H - 1, W - 1), without unit, on the voxels that have a neighbour along every axis.

    Raises:
        ValueError: The shape is not (D, H, W, 3).

    Example:
        >>> import jax.numpy as jnp
        >>> displacement = jnp.zeros((3, 3, 3, 3)).at[..., 0].set(-0.5 * jnp.arange(3.0)[:, None, None])
        >>> jacobian_determinant(displacement)[0, 0, 0].item()  # Half the volume.
        0.5
    """
    return correct_determinant(*_forward_differences(displacement))


def jacobian_determinant_official(displacement: jax.Array) -> jax.Array:
    """Return the quantity that the official AutoFuse code calls the Jacobian determinant.

    It adds the identity to the derivative of component 0 along axis 1 and of component 1 along axis 0, and one
    cofactor reads the derivative of component 0 along axis 1 where the one along axis 2 belongs. It does not see a
    fold along axis 0 or 1 and takes a strong shear for one. It is here to replay published numbers only; use
    `jacobian_determinant` for everything else.

    Args:
        displacement: (D, H, W, 3), in voxels.

    Returns:
        (D - 1, H - 1, W - 1), without unit.

    Raises:
        ValueError: The shape is not (D, H, W, 3).

    Example:
        >>> import jax.numpy as jnp
        >>> displacement = jnp.zeros((3, 3, 3, 3)).at[..., 0].set(-2.0 * jnp.arange(3.0)[:, None, None])
        >>> jacobian_determinant_official(displacement)[0, 0, 0].item()  # A fold that it does not see.
        1.0
    """
    return official_determinant(*_forward_differences(displacement))


def _forward_differences(displacement: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return du/dx_a for a = 0, 1, 2 on the common (D - 1, H - 1, W - 1) grid, each with 3 components."""
    check_field(displacement, 'displacement')
    here = displacement[:-1, :-1, :-1]
    return (
        displacement[1:, :-1, :-1] - here,
        displacement[:-1, 1:, :-1] - here,
        displacement[:-1, :-1, 1:] - here,
    )
