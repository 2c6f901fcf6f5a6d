"""LKU-Net: a U-Net whose encoder looks far with 5 x 5 x 5 kernels beside 3 x 3 x 3 and 1 x 1 x 1 ones."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from autofuse_jax.models.conv3d import Conv3d
from autofuse_jax.models.field_outputs import of_displacement, widened
from autofuse_jax.models.one_pass import OnePassNetwork
from autofuse_jax.models.resolution import TransposedConv
from autofuse_jax.outputs import RegistrationOutput

PRELU_SLOPE = 0.25
# Widths of levels 0 (full resolution) .. 4 on the way down, in multiples of `channels`.
ENCODER_WIDTHS = (1, 2, 4, 8, 8)
# Level on the way up: widths of its two convolutions.
DECODER_WIDTHS = {3: (8, 4), 2: (4, 2), 1: (4, 2), 0: (2, 2)}
PARALLEL_KERNELS = (3, 5, 1)


class PReLU(nn.Module):
    """`x` where it is positive, else `slope * x` with one learned slope, 0.25 at first."""

    @nn.compact
    def __call__(self, volume: jax.Array) -> jax.Array:
        """Apply to an array of any shape."""
        slope = self.param('slope', nn.initializers.constant(PRELU_SLOPE), (1,))
        return jnp.where(volume >= 0, volume, slope.astype(volume.dtype) * volume)


class ConvPReLU(nn.Module):
    """A 3 x 3 x 3 convolution and a PReLU.

    Attributes:
        features: Number of output channels.
        stride: Stride of the convolution; default 1.
    """

    features: int
    stride: int = 1

    @nn.compact
    def __call__(self, volume: jax.Array) -> jax.Array:
        """Map (B, D, H, W, I) to (B, D / stride, H / stride, W / stride, features)."""
        return PReLU(name='prelu')(Conv3d(self.features, stride=self.stride, name='conv')(volume))


class UpPReLU(nn.Module):
    """A transposed convolution of kernel and stride 2 that keeps the number of channels, and a PReLU."""

    @nn.compact
    def __call__(self, volume: jax.Array) -> jax.Array:
        """Map (B, D, H, W, C) to (B, 2D, 2H, 2W, C)."""
        return PReLU(name='prelu')(TransposedConv(volume.shape[-1], name='conv')(volume))


class LargeKernelBlock(nn.Module):
    """`PReLU(conv3(x) + conv5(x) + conv1(x) + x)`: parallel convolutions with kernels 3, 5 and 1."""

    @nn.compact
    def __call__(self, volume: jax.Array) -> jax.Array:
        """Map (B, D, H, W, C) to the same shape."""
        convolved = [Conv3d(volume.shape[-1], (k, k, k), name=f'conv_{k}')(volume) for k in PARALLEL_KERNELS]
        return PReLU(name='prelu')(sum(convolved, volume))


class LKUNet(OnePassNetwork):
    """LKU-Net: a U-Net with large kernels predicts a displacement at full resolution.

    `u_a = softsign(f_a) (n_a - 1) / 2`: the last convolution f predicts fractions of half the volume's extent, n_a
    voxels along axis a.

    The layers, the order of the input (moving first), PyTorch's default initialisation, also of the last convolution
    (so that training does not start at the identity), and the units are those of the official code. Inferred: which
    width published comparisons used, 8 (the code's headline model) or 16, and that the network is the plain one that is
    not integrated. Left out: a second last convolution in one version of the code, which gets no gradient. Nothing was
    corrected, and no switch is needed to replay official weights.

    Attributes:
        channels: c, width at full resolution; default 8 (2,086,342 parameters), as published also 4 (522,302) and 16
            (8,339,702).

    Raises:
        UserError: `channels` is no whole number of 1 or more.
        ValueError: The images' sizes are not multiples of 16.

    Reference:
        Jia et al., U-Net vs Transformer: Is U-Net outdated in medical image registration?, MLMI 2022.
    """

    channels: int = 8

    def register_pair(self, fixed: jax.Array, moving: jax.Array) -> RegistrationOutput:
        """Return displacement and warped image."""
        width = [factor * self.channels for factor in ENCODER_WIDTHS]
        volume = ConvPReLU(width[0], name='encoder_0_1')(jnp.concatenate([moving, fixed], axis=-1))
        skips = [ConvPReLU(width[0], name='encoder_0_2')(volume)]
        for level in range(1, len(width)):
            down = ConvPReLU(width[level], stride=2, name=f'down_{level}')(skips[-1])
            skips.append(LargeKernelBlock(name=f'large_kernel_{level}')(down))
        volume = skips.pop()
        for level, factors in DECODER_WIDTHS.items():
            volume = jnp.concatenate([UpPReLU(name=f'up_{level}')(volume), skips.pop()], axis=-1)
            for number, factor in enumerate(factors, 1):
                volume = ConvPReLU(factor * self.channels, name=f'decoder_{level}_{number}')(volume)
        fractions = jax.nn.soft_sign(widened(Conv3d(3, use_bias=False, name='flow')(volume)))
        half_extent = jnp.asarray([(size - 1) / 2 for size in fixed.shape[1:4]], fractions.dtype)
        return of_displacement(fractions * half_extent, moving)
