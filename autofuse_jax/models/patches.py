"""Changing resolution with learned layers whose kernel is as large as their stride: patches do not overlap.

Each is one matrix product and a reordering of voxels, which is fast everywhere; strided and transposed convolutions of
the same meaning are slow on some devices.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from autofuse_jax.models.conv3d import uniform_of_bound
from autofuse_jax.models.swin import layer_norm

FACTOR = 2


def merge_patches(volume: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolve with stride equal to the kernel's size: `y(p) = sum_a x(k p + a) w(a)`.

    Args:
        volume: (B, D, H, W, I), sizes multiples of the kernel's.
        kernel: (kD, kH, kW, I, O).

    Returns:
        (B, D / kD, H / kH, W / kW, O).

    Raises:
        ValueError: A size is not a multiple.
    """
    (d, h, w), (batch, *size, channels) = kernel.shape[:3], volume.shape
    if size[0] % d or size[1] % h or size[2] % w:
        raise ValueError(f'size {tuple(size)} is no multiple of the patch {d, h, w}.')
    patches = volume.reshape(batch, size[0] // d, d, size[1] // h, h, size[2] // w, w, channels)
    return jnp.einsum('bxdyhzwi,dhwio->bxyzo', patches, kernel)


def expand_patches(volume: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolve transposed with stride equal to the kernel's size: `y(k p + a) = x(p) w(a)`.

    Args:
        volume: (B, D, H, W, I).
        kernel: (kD, kH, kW, I, O).

    Returns:
        (B, kD D, kH H, kW W, O).
    """
    (d, h, w), (batch, *size, _) = kernel.shape[:3], volume.shape
    patches = jnp.einsum('bxyzi,dhwio->bxdyhzwo', volume, kernel)
    return patches.reshape(batch, size[0] * d, size[1] * h, size[2] * w, kernel.shape[-1])


class PatchMerging(nn.Module):
    """Join cubic patches of voxels by a learned layer, then layer norm. With the image as input: patch embedding.

    Attributes:
        features: Number of output channels.
        factor: Side of a patch in voxels; default 2.
        norm: Whether there is a layer norm; default True.
    """

    features: int
    factor: int = FACTOR
    norm: bool = True

    @nn.compact
    def __call__(self, volume: jax.Array) -> jax.Array:
        """Map (B, D, H, W, I) to (B, D / factor, H / factor, W / factor, features)."""
        shape = (self.factor,) * 3 + (volume.shape[-1], self.features)
        # PyTorch's default start: the fan-in of a convolution is input channels times kernel.
        init = uniform_of_bound((volume.shape[-1] * self.factor**3) ** -0.5)
        kernel, bias = self.param('kernel', init, shape), self.param('bias', init, (self.features,))
        merged = merge_patches(volume, kernel.astype(volume.dtype)) + bias.astype(volume.dtype)
        return layer_norm(volume.dtype, 'norm')(merged) if self.norm else merged


class PatchExpanding(nn.Module):
    """Expand each voxel to a patch of 2 x 2 x 2 voxels by a learned layer, then layer norm.

    Attributes:
        features: Number of output channels.
    """

    features: int

    @nn.compact
    def __call__(self, volume: jax.Array) -> jax.Array:
        """Map (B, D, H, W, I) to (B, 2D, 2H, 2W, features)."""
        shape = (FACTOR, FACTOR, FACTOR, volume.shape[-1], self.features)
        # PyTorch's default start: it takes output channels times kernel for the fan-in of a transposed convolution.
        init = uniform_of_bound((self.features * FACTOR**3) ** -0.5)
        kernel, bias = self.param('kernel', init, shape), self.param('bias', init, (self.features,))
        expanded = expand_patches(volume, kernel.astype(volume.dtype)) + bias.astype(volume.dtype)
        return layer_norm(volume.dtype, 'norm')(expanded)
