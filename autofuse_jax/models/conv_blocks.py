"""Blocks that convolutional networks share: activation, normalisation, pooling, up-sampling, two-layer block."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from autofuse_jax.fields.resize import resize_align_corners
from autofuse_jax.models.conv3d import Conv3d

LEAKY_SLOPE = 0.2
NORM_EPSILON = 1e-5

# Voxels along each axis that become one, or the other way round.
Factor = tuple[int, int, int]
HALVING: Factor = (2, 2, 2)
CUBE: Factor = (3, 3, 3)


def activate(volume: jax.Array) -> jax.Array:
    """Apply LeakyReLU with slope 0.2."""
    return jax.nn.leaky_relu(volume, LEAKY_SLOPE)


def instance_norm(volume: jax.Array) -> jax.Array:
    """Normalise each sample and channel over space: `(x - mean) / sqrt(var + 1e-5)`.

    No learned scale, no running statistics, biased variance; the statistics are at least float32.

    Args:
        volume: (B, D, H, W, C).

    Returns:
        The same shape and type.
    """
    wide = volume.astype(jnp.promote_types(volume.dtype, jnp.float32))
    mean = jnp.mean(wide, axis=(1, 2, 3), keepdims=True)
    variance = jnp.mean(jnp.square(wide - mean), axis=(1, 2, 3), keepdims=True)
    return ((wide - mean) * jax.lax.rsqrt(variance + NORM_EPSILON)).astype(volume.dtype)


@jax.custom_vjp
def activated_norm(volume: jax.Array) -> jax.Array:
    """Apply LeakyReLU with slope 0.2, then normalise each sample and channel over space.

    `instance_norm(activate(volume))`, with a derivative written by hand for reverse mode. It needs nothing but the
    result, which the next layer keeps anyway, and two numbers for each channel: for a network of such blocks a third of
    the memory that JAX would keep.

    Args:
        volume: (B, D, H, W, C).

    Returns:
        The same shape and type; the statistics are at least float32.
    """
    return _activated_norm(volume)[0]


def _activated_norm(volume: jax.Array) -> tuple[jax.Array, tuple]:
    wide = activate(volume).astype(jnp.promote_types(volume.dtype, jnp.float32))
    mean = jnp.mean(wide, axis=(1, 2, 3), keepdims=True)
    factor = jax.lax.rsqrt(jnp.mean(jnp.square(wide - mean), axis=(1, 2, 3), keepdims=True) + NORM_EPSILON)
    normed = ((wide - mean) * factor).astype(volume.dtype)
    # What was positive is seen in the result, unless that is rounded to few bits.
    positive = None if volume.dtype == wide.dtype else volume >= 0
    return normed, (normed, factor, mean, positive)


def _activated_norm_reverse(residuals: tuple, cotangent: jax.Array) -> tuple[jax.Array]:
    """Return `LReLU'(x) f (g - mean(g) - y mean(g y))` with y the result and f the factor of the norm."""
    normed, factor, mean, positive = residuals
    gradient, wide = cotangent.astype(factor.dtype), normed.astype(factor.dtype)
    common, along = (jnp.mean(part, axis=(1, 2, 3), keepdims=True) for part in (gradient, gradient * wide))
    through_norm = factor * (gradient - common - wide * along)
    positive = wide >= -mean * factor if positive is None else positive
    return (jnp.where(positive, through_norm, LEAKY_SLOPE * through_norm).astype(cotangent.dtype),)


activated_norm.defvjp(_activated_norm, _activated_norm_reverse)


def downsample(volume: jax.Array, factor: tuple[int, ...] = HALVING) -> jax.Array:
    """Average blocks of voxels.

    Args:
        volume: (B, D, H, W, C) with D, H, W multiples of the factor.
        factor: Voxels of a block along each axis; default 2 x 2 x 2.

    Returns:
        (B, D / factor, H / factor, W / factor, C).
    """
    batch, *size, channels = volume.shape
    blocks = [part for length, step in zip(size, factor, strict=True) for part in (length // step, step)]
    return jnp.mean(volume.reshape(batch, *blocks, channels), axis=(2, 4, 6))


def upsample(volume: jax.Array, factor: tuple[int, ...] = HALVING) -> jax.Array:
    """Enlarge by trilinear interpolation with aligned corners.

    Args:
        volume: (B, D, H, W, C).
        factor: Factor of the size along each axis; default 2 x 2 x 2.

    Returns:
        (B, factor D, factor H, factor W, C).
    """
    return resize_align_corners(
        volume, tuple(step * size for step, size in zip(factor, volume.shape[1:4], strict=True))
    )


class ConvBlock(nn.Module):
    """Twice: 3 x 3 x 3 convolution, LeakyReLU, instance norm.

    The norm comes after the activation, as in the published networks.

    Attributes:
        features: Number of output channels of both convolutions.
        kernel_size: Size of both kernels, odd; default 3 x 3 x 3.
        first_kernel_size: Size of the first kernel alone; default None: that of both.
    """

    features: int
    kernel_size: Factor = CUBE
    first_kernel_size: Factor | None = None

    @nn.compact
    def __call__(self, volume: jax.Array) -> jax.Array:
        """Map (B, D, H, W, I) to (B, D, H, W, features)."""
        first = self.first_kernel_size or self.kernel_size
        volume = activated_norm(Conv3d(self.features, first, name='conv_1')(volume))
        return activated_norm(Conv3d(self.features, self.kernel_size, name='conv_2')(volume))
