"""Local normalised cross-correlation of what both images show: invalid voxels count neither in the mean nor inside."""

import jax
import jax.numpy as jnp

from autofuse_jax.losses.similarity import NCC_EPSILON, NCC_WINDOW, box_sum

# Added to the product of two variances before it divides: far below what `NCC_EPSILON` gives any weight to.
SMALLEST_PRODUCT = 1e-9
# Variance as a share of the squares below which float32 sums leave nothing but rounding: a window of one value, as in
# masks and label maps, would otherwise be compared by that, and come out more similar than anything that is there.
ROUNDING = 1e-6
# Windows that are valid for less than this share of a voxel hold nothing.
SMALLEST_COUNT = 1e-3


def valid_ncc(
    fixed: jax.Array,
    warped: jax.Array,
    valid: jax.Array,
    *,
    window: int = NCC_WINDOW,
    epsilon: float = NCC_EPSILON,
    over_all: bool = True,
) -> jax.Array:
    """Return the mean squared local correlation of two images where both are valid.

    With box sums S over window^3 voxels, the weights w of the valid voxels and n = S[w]:
    `cross = S[w I J] - S[w I] S[w J] / n`, `var_I = S[w I^2] - S[w I]^2 / n`, and
    `NCC = 1/N sum_x w(x) c(x) cross^2 / (var_I var_J)`, where `c = var_I^2 / (var_I^2 + epsilon)` tells how much there
    is to compare in a window of the fixed image.

    It differs from `local_ncc` in three ways. What is invalid, such as what lies outside an image, enters no sum. What
    a window counts depends on the fixed image alone: otherwise more contrast in the moving image would be a gain by
    itself, and the best map of an image to itself would be one that enlarges it. And no gradient rewards a map for
    making voxels valid or invalid.

    Args:
        fixed: (D, H, W), in [0, 1].
        warped: (D, H, W), in [0, 1].
        valid: (D, H, W), in [0, 1]: how much each voxel counts. No gradient flows to it.
        window: Side of the box in voxels, odd; default 9.
        epsilon: Squared variance at which a window counts half; default 1e-5.
        over_all: Whether the sum is divided by all voxels N (default), so that each weighs the same against the
            smoothness of a field however few are valid, or by the sum of w c: the mean over what can be compared, 1 for
            an image and itself.

    Returns:
        A scalar, 0 .. 1; larger is more similar. 0 where nothing is valid.

    Raises:
        ValueError: The shapes differ or the window is even.

    Reference:
        Avants et al., Medical Image Analysis 12, 2008, for the local correlation.

    Example:
        >>> image = jax.random.uniform(jax.random.key(0), (8, 8, 8))
        >>> round(float(valid_ncc(image, 2.0 - image, jnp.ones((8, 8, 8)), window=3)), 2)
        1.0
    """
    if not fixed.shape == warped.shape == valid.shape or fixed.ndim != 3:
        raise ValueError(f'fixed {fixed.shape}, warped {warped.shape} and valid {valid.shape} must all be (D, H, W).')
    valid = jax.lax.stop_gradient(valid)
    count = jnp.maximum(box_sum(valid, window), SMALLEST_COUNT)
    of_fixed, of_warped = valid * fixed, valid * warped
    fixed_sum, warped_sum = box_sum(of_fixed, window), box_sum(of_warped, window)
    fixed_variance = jnp.maximum(box_sum(of_fixed * fixed, window) - fixed_sum * fixed_sum / count, 0.0)
    warped_squares = box_sum(of_warped * warped, window)
    warped_variance = jnp.maximum(warped_squares - warped_sum * warped_sum / count, ROUNDING * warped_squares)
    cross = box_sum(of_fixed * warped, window) - fixed_sum * warped_sum / count
    correlation = cross * cross / (fixed_variance * warped_variance + SMALLEST_PRODUCT)
    weights = valid * fixed_variance**2 / (fixed_variance**2 + epsilon)
    total = fixed.size if over_all else jnp.maximum(jnp.sum(weights), SMALLEST_COUNT)
    return jnp.sum(weights * correlation) / total
