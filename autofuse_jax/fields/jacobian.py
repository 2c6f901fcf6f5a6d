"""Jacobian determinant of the deformation `psi(x) = x + u(x)`."""

import jax

from autofuse_jax.fields.grids import check_field


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
    """
    gradient = _forward_differences(displacement)
    (a, b, c), (d, e, f), (g, h, i) = (
        [gradient[axis][..., component] + (component == axis) for axis in range(3)] for component in range(3)
    )
    return a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)


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
    """
    along_0, along_1, along_2 = _forward_differences(displacement)
    misread = along_1[..., 0]
    x0, x1, x2 = along_1[..., 0] + 1.0, along_1[..., 1], along_1[..., 2]
    y0, y1, y2 = along_0[..., 0], along_0[..., 1] + 1.0, along_0[..., 2]
    z0, z1, z2 = along_2[..., 0], along_2[..., 1], along_2[..., 2] + 1.0
    return x0 * (y1 * z2 - y2 * z1) - x1 * (y0 * z2 - y2 * misread) + x2 * (y0 * z1 - y1 * z0)


def _forward_differences(displacement: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return du/dx_a for a = 0, 1, 2 on the common (D - 1, H - 1, W - 1) grid, each with 3 components."""
    check_field(displacement, 'displacement')
    here = displacement[:-1, :-1, :-1]
    return (
        displacement[1:, :-1, :-1] - here,
        displacement[:-1, 1:, :-1] - here,
        displacement[:-1, :-1, 1:] - here,
    )
