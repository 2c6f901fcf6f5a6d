"""Resampling of volumes and fields between grids of different size."""

import jax
import jax.numpy as jnp
import numpy as np

from autofuse_jax.fields.coordinates import check_field


def align_corners_matrix(size_in: int, size_out: int) -> np.ndarray:
    """Return the linear interpolation matrix between two line grids whose first and last voxel centres coincide.

    Output index i reads position `i * (size_in - 1) / (size_out - 1)`.

    Args:
        size_in: Number of input voxels, at least 1.
        size_out: Number of output voxels, at least 1; a single output voxel reads the first input voxel.

    Returns:
        (size_out, size_in) float64; each row sums to 1.
    """
    position = np.arange(size_out) * ((size_in - 1) / max(size_out - 1, 1))
    lower = np.minimum(np.floor(position).astype(int), size_in - 1)
    upper = np.minimum(lower + 1, size_in - 1)
    fraction = position - lower
    matrix = np.zeros((size_out, size_in))
    np.add.at(matrix, (np.arange(size_out), lower), 1.0 - fraction)
    np.add.at(matrix, (np.arange(size_out), upper), fraction)
    return matrix


def resize_align_corners(volume: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Resize a volume by trilinear interpolation with aligned corner voxels.

    Equal to PyTorch's `interpolate(mode='trilinear', align_corners=True)`; `jax.image.resize` aligns the outer voxel
    faces instead.

    Args:
        volume: (..., D, H, W, C).
        shape: (D', H', W').

    Returns:
        (..., D', H', W', C) in the volume's type.

    Example:
        >>> line = jnp.arange(2.0).reshape(2, 1, 1, 1)
        >>> resize_align_corners(line, (3, 1, 1)).ravel().tolist()
        [0.0, 0.5, 1.0]
    """
    for axis, size in enumerate(shape):
        axis -= 4
        if volume.shape[axis] == size:
            continue
        matrix = jnp.asarray(align_corners_matrix(volume.shape[axis], size), volume.dtype)
        volume = jnp.tensordot(volume, matrix, axes=((axis,), (1,)), precision=jax.lax.Precision.HIGHEST)
        volume = jnp.moveaxis(volume, -1, axis)
    return volume


def upsample_displacement(displacement: jax.Array) -> jax.Array:
    """Bring a half-resolution displacement to the full grid: values times 2, then align-corners interpolation times 2.

    With aligned corners the exact factor would be (2N - 1) / (N - 1); 2 is kept, as in the official code, because
    published weights are trained with it (0.7 % too small for N = 72).

    Args:
        displacement: (D, H, W, 3), in half-resolution voxels.

    Returns:
        (2D, 2H, 2W, 3), in full-resolution voxels.

    Raises:
        ValueError: The shape is not (D, H, W, 3).

    Example:
        >>> upsample_displacement(jnp.ones((2, 2, 2, 3))).shape
        (4, 4, 4, 3)
    """
    check_field(displacement, 'displacement')
    return resize_align_corners(2.0 * displacement, tuple(2 * size for size in displacement.shape[:3]))


def resample_displacement(displacement: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Resample a displacement to another grid over the same field of view, rescaling its voxel units.

    `u'(x')_a = (N'_a / N_a) * u(x)_a` with voxel faces aligned: `x = (x' + 1/2) * N / N' - 1/2`. This is the geometry
    of `data.resample.resize_image`, so a network that works on a coarser grid can be evaluated on the prepared one.

    Args:
        displacement: (D, H, W, 3), in voxels of its own grid.
        shape: (D', H', W') of the new grid; linear interpolation, clamped at the border.

    Returns:
        (D', H', W', 3), in voxels of the new grid.

    Raises:
        ValueError: The shape is not (D, H, W, 3).

    Example:
        >>> half = jnp.ones((2, 2, 2, 3))
        >>> resample_displacement(half, (4, 4, 4))[0, 0, 0].tolist()
        [2.0, 2.0, 2.0]
    """
    check_field(displacement, 'displacement')
    factor = jnp.asarray([new / old for new, old in zip(shape, displacement.shape[:3], strict=True)])
    resized = jax.image.resize(displacement, (*shape, 3), 'linear', antialias=False)
    return resized * factor.astype(displacement.dtype)
