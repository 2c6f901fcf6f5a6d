"""The Jacobian determinant as arithmetic on forward differences, for NumPy and JAX arrays alike.

Each function takes the forward differences of a displacement along axes 0, 1 and 2, (..., 3) each.
"""

from typing import Any

# NumPy or JAX array; no type covers the arithmetic of both.
Array = Any


def correct_determinant(along_0: Array, along_1: Array, along_2: Array) -> Array:
    """Return `det(I + grad u)`: row i of the matrix is component i, column j the derivative along axis j."""
    (a, b, c), (d, e, f), (g, h, i) = (
        [along[..., row] + (row == column) for column, along in enumerate((along_0, along_1, along_2))]
        for row in range(3)
    )
    return a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)


def official_determinant(along_0: Array, along_1: Array, along_2: Array) -> Array:
    """Return the quantity that the official AutoFuse code calls the Jacobian determinant.

    It adds the identity to the derivative of component 0 along axis 1 and of component 1 along axis 0, and one
    cofactor reads the derivative of component 0 along axis 1 where the one along axis 2 belongs.
    """
    misread = along_1[..., 0]
    x0, x1, x2 = along_1[..., 0] + 1.0, along_1[..., 1], along_1[..., 2]
    y0, y1, y2 = along_0[..., 0], along_0[..., 1] + 1.0, along_0[..., 2]
    z0, z1, z2 = along_2[..., 0], along_2[..., 1], along_2[..., 2] + 1.0
    return x0 * (y1 * z2 - y2 * z1) - x1 * (y0 * z2 - y2 * misread) + x2 * (y0 * z1 - y1 * z0)


DETERMINANTS = {'correct': correct_determinant, 'official': official_determinant}
