"""Changing resolution where convolutional networks do: pooling, interpolation, transposed convolution."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from autofuse_jax.models.conv3d import conv3d, uniform_of_bound
from autofuse_jax.models.patches import expand_patches

FACTOR = 2
# Of the transposed convolution whose patches overlap by half: two voxels of the kernel reach into each neighbour.
OVERLAPPING_KERNEL = 4
# Tap of that kernel by which a voxel at offset -1, 0, 1 reaches the even and the odd output; 4: by none.
OVERLAPPING_TAPS = ((3, 4), (1, 2), (4, 0))


def max_pool(volume: jax.Array) -> jax.Array:
    """Take the largest of 2 x 2 x 2 voxels.

    Args:
        volume: (B, D, H, W, C) with even D, H, W.

    Returns:
        (B, D / 2, H / 2, W / 2, C).
    """
    # A choice between neighbours, not `jnp.max`: its derivative looks again for the voxels that equal the maximum, and
    # is NaN where the compiler computes them anew with another rounding and finds none.
    for axis in (1, 2, 3):
        pairs = volume.reshape(*volume.shape[:axis], -1, FACTOR, *volume.shape[axis + 1 :])
        first, second = (jax.lax.index_in_dim(pairs, which, axis + 1, keepdims=False) for which in range(FACTOR))
        volume = jnp.where(first >= second, first, second)
    return volume


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
        factor: Factor of the size along each axis; default 2.
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


def transposed_conv(volume: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolve transposed with kernel 4, stride 2 and padding 1, which doubles the size: `y(2 p - 1 + a) += x(p) w(a)`.

    The adjoint of a strided convolution, as PyTorch's `ConvTranspose3d(4, stride=2, padding=1)`: the kernel is not
    flipped. On CPU, where `conv3d` is fast and this is not, each of the 2 x 2 x 2 outputs of a voxel is a channel of a
    3 x 3 x 3 convolution whose unused taps are zero.

    Args:
        volume: (B, D, H, W, I).
        kernel: (4, 4, 4, I, O).

    Returns:
        (B, 2D, 2H, 2W, O).

    Raises:
        ValueError: The kernel has another size, or another number of input channels than the volume.
    """
    if kernel.shape[:3] != (OVERLAPPING_KERNEL,) * 3 or kernel.shape[3:4] != volume.shape[4:]:
        raise ValueError(
            f'volume {volume.shape} and kernel {kernel.shape} do not fit (B, D, H, W, I), (4, 4, 4, I, O).'
        )
    return jax.lax.platform_dependent(volume, kernel, cpu=_transposed_by_parity, default=_transposed_whole)


def _transposed_whole(volume: jax.Array, kernel: jax.Array) -> jax.Array:
    return jax.lax.conv_general_dilated(
        volume,
        kernel[::-1, ::-1, ::-1],
        (1, 1, 1),
        [(FACTOR, FACTOR)] * 3,
        lhs_dilation=(FACTOR,) * 3,
        dimension_numbers=('NDHWC', 'DHWIO', 'NDHWC'),
    )


def _transposed_by_parity(volume: jax.Array, kernel: jax.Array) -> jax.Array:
    taps = jnp.asarray(OVERLAPPING_TAPS)
    kernel = jnp.pad(kernel, ((0, 1), (0, 1), (0, 1), (0, 0), (0, 0)))
    for axis in (0, 2, 4):
        # One axis of taps becomes two: the offset of the input voxel and the parity of the output.
        kernel = jnp.take(kernel, taps, axis=axis)
    kernel = kernel.transpose(0, 2, 4, 6, 1, 3, 5, 7)
    (batch, depth, height, width, _), features = volume.shape, kernel.shape[-1]
    parities = conv3d(volume, kernel.reshape(*kernel.shape[:4], -1))
    parities = parities.reshape(batch, depth, height, width, FACTOR, FACTOR, FACTOR, features)
    ordered = parities.transpose(0, 1, 4, 2, 5, 3, 6, 7)
    return ordered.reshape(batch, FACTOR * depth, FACTOR * height, FACTOR * width, features)


class OverlappingTransposedConv(nn.Module):
    """A transposed convolution of kernel 4, stride 2 and padding 1, with bias, see `transposed_conv`.

    Started like PyTorch's, as `TransposedConv`.

    Attributes:
        features: Number of output channels.
    """

    features: int

    @nn.compact
    def __call__(self, volume: jax.Array) -> jax.Array:
        """Map (B, D, H, W, I) to (B, 2D, 2H, 2W, features)."""
        shape = (OVERLAPPING_KERNEL,) * 3 + (volume.shape[-1], self.features)
        init = uniform_of_bound((self.features * OVERLAPPING_KERNEL**3) ** -0.5)
        kernel, bias = self.param('kernel', init, shape), self.param('bias', init, (self.features,))
        return transposed_conv(volume, kernel.astype(volume.dtype)) + bias.astype(volume.dtype)
