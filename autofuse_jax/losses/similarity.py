"""Image similarity: local normalised cross-correlation."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

NCC_WINDOW = 9
NCC_EPSILON = 1e-5


class LocalMoments(NamedTuple):
    """What the correlation needs to know of one image alone.

    Attributes:
        sums: (D, H, W), S[I] over window^3 voxels.
        variances: (D, H, W), S[I^2] - S[I]^2 / window^3.
    """

    sums: jax.Array
    variances: jax.Array


def local_moments(image: jax.Array, *, window: int = NCC_WINDOW) -> LocalMoments:
    """Return the sums and variances of an image in the box around each voxel, zeros outside.

    Args:
        image: (D, H, W, 1), in [0, 1].
        window: Side of the box in voxels, odd; default 9.

    Returns:
        Array in float32 at least.

    Raises:
        ValueError: The window is even.

    Example:
        >>> local_moments(jnp.ones((3, 3, 3, 1)), window=3).sums[1, 1, 1].item()
        27.0
    """
    values = _wide(image)
    sums, squares = box_sum(values, window), box_sum(values * values, window)
    # In flat regions the difference of large numbers may come out a little below 0, and the product of two as anything.
    return LocalMoments(sums, jnp.maximum(squares - sums * sums / window**3, 0.0))


def local_ncc(
    fixed: jax.Array,
    warped: jax.Array,
    *,
    window: int = NCC_WINDOW,
    epsilon: float = NCC_EPSILON,
    weights: jax.Array | None = None,
    fixed_moments: LocalMoments | None = None,
) -> jax.Array:
    """Return the mean squared local normalised cross-correlation of two images; the loss is its negative.

    With box sums S over window^3 voxels, zeros outside and n = window^3 everywhere:
    `cross = S[IJ] - S[I] S[J] / n`, `var_I = S[I^2] - S[I]^2 / n`, `cc = cross^2 / (var_I var_J + epsilon)`.
    The sums are three passes of one-dimensional sums, in float32 whatever the images are, because the differences
    cancel. The value depends on the intensity scale through epsilon: images in [0, 1] are expected.

    Args:
        fixed: (D, H, W, 1), in [0, 1].
        warped: (D, H, W, 1), in [0, 1].
        window: Side of the box in voxels, odd; default 9 as in the paper.
        epsilon: Number added to the product of the variances; default 1e-5.
        weights: (D, H, W), at least 0, of each voxel in the mean; default None counts all alike. The sums inside the
            windows are not weighted.
        fixed_moments: `local_moments` of the fixed image for the same window, computed once by those who compare it
            again and again; default None computes them.

    Returns:
        A scalar, about 0 .. 1; larger is more similar. 0 where all weights are 0.

    Raises:
        ValueError: The shapes differ or the window is even.

    Reference:
        Avants et al., Medical Image Analysis 12, 2008; Meng et al., AutoFuse, Eq. 1.

    Example:
        >>> image = jax.random.uniform(jax.random.key(0), (8, 8, 8, 1))
        >>> round(float(local_ncc(image, image, window=3)), 2)
        1.0
    """
    if fixed.shape != warped.shape or fixed.ndim != 4 or fixed.shape[-1] != 1:
        raise ValueError(f'fixed {fixed.shape} and warped {warped.shape} must both be (D, H, W, 1).')
    if weights is not None and weights.shape != fixed.shape[:3]:
        raise ValueError(f'weights {weights.shape} must have the shape {fixed.shape[:3]} of the images.')
    of_fixed = local_moments(fixed, window=window) if fixed_moments is None else fixed_moments
    of_warped = local_moments(warped, window=window)
    products = box_sum(_wide(fixed) * _wide(warped), window)
    cross = products - of_fixed.sums * of_warped.sums / window**3
    correlation = cross * cross / (of_fixed.variances * of_warped.variances + epsilon)
    if weights is None:
        return jnp.mean(correlation)
    total = jnp.sum(weights)
    return jnp.sum(weights * correlation) / jnp.where(total > 0, total, 1.0)


def _wide(image: jax.Array) -> jax.Array:
    """Return the one channel in at least float32."""
    return image[..., 0].astype(jnp.promote_types(image.dtype, jnp.float32))


def box_sum(image: jax.Array, window: int) -> jax.Array:
    """Sum over a box around each voxel with zeros outside, axis by axis.

    As windowed reductions, not as sums of shifted slices: on CPU the reverse pass of the latter takes 20 times as long.

    Args:
        image: (D, H, W).
        window: Side of the box in voxels, odd.

    Returns:
        The sums, (D, H, W).

    Raises:
        ValueError: The window is even.
    """
    if window % 2 == 0:
        raise ValueError(f'window is {window}, expected an odd number.')
    # A concrete zero: of a traced one the compiler does not know that this is a sum, which has a derivative.
    zero = np.zeros((), image.dtype)
    for axis in range(3):
        sides = [window if other == axis else 1 for other in range(3)]
        image = jax.lax.reduce_window(image, zero, jax.lax.add, sides, (1, 1, 1), 'SAME')
    return image
