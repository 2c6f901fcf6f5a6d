"""Changing resolution where convolutional networks do: pooling, interpolation, transposed convolution."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from autofuse_jax.models.conv3d import uniform_of_bound
from autofuse_jax.models.patches import expand_patches

FACTOR = 2


def max_pool(volume: jax.Array) -> jax.Array:
    """Take the largest of 2 x 2 x 2 voxels.

    Args:
        volume: (B, D, H, W, C) with even D, H, W.

    Returns:
        (B, D / 2, H / 2, W / 2, C).
    """
    batch, depth, height, width, channels = volume.shape
    blocks = volume.reshape(batch, depth // 2, 2, height // 2, 2, width // 2, 2, channels)
    return jnp.max(blocks, axis=(2, 4, 6))


def upsample_nearest(volume: jax.Array) -> jax.Array:
    """Repeat each voxel twice along each axis: (B, D, H, W, C) to (B, 2D, 2H, 2W, C)."""
    for axis in (1, 2, 3):
        volume = jnp.repeat(volume, FACTOR, axis=axis)
    return volume


def upsample_half_pixel(volume: jax.Array) -> jax.Array:
    """Double the size by trilinear interpolation that keeps the volume's outer faces in place.

    PyTorch's `align_corners=False`; `conv_blocks.upsample` keeps the centres of the corner voxels in place instead.

    Args:
        volume: (B, D, H, W, C).

    Returns:
        (B, 2D, 2H, 2W, C).
    """
    batch, *size, channels = volume.shape
    return jax.image.resize(volume, (batch, *(FACTOR * length for length in size), channels), 'linear')


class TransposedConv(nn.Module):
    """A transposed convolution whose kernel is as large as its stride, with bias: `y(k p + a) = x(p) w(a) + b`.

    Started like PyTorch's, which takes output channels times kernel for the fan-in.

    Attributes:
        features: Number of output channels.
        factor: Of the size along each axis; default 2.
    """

    features: int
    factor: int = FACTOR

    @nn.compact
    def __call__(self, volume: jax.Array) -> jax.Array:
        """Map (B, D, H, W, I) to (B, factor D, factor H, factor W, features)."""
        shape = (self.factor,) * 3 + (volume.shape[-1], self.features)
        init = uniform_of_bound((self.features * self.factor**3) ** -0.5)
        kernel, bias = self.param('kernel', init, shape), self.param('bias', init, (self.features,))
        return expand_patches(volume, kernel.astype(volume.dtype)) + bias.astype(volume.dtype)
