"""The block of networks that normalise before the activation, with learned scale and shift."""

import flax.linen as nn
import jax

from autofuse_jax.models.conv3d import Conv3d
from autofuse_jax.models.conv_blocks import activate
from autofuse_jax.models.group_norm import GroupNorm


class NormBlock(nn.Module):
    """Twice: 3 x 3 x 3 convolution with bias, `GroupNorm`, LeakyReLU 0.2.

    Attributes:
        features: Number of output channels of both convolutions.
        group_size: Channels of a group of the norm; default 1, an instance norm.
    """

    features: int
    group_size: int = 1

    @nn.compact
    def __call__(self, volume: jax.Array) -> jax.Array:
        """Map (B, D, H, W, I) to (B, D, H, W, features)."""
        for number in (1, 2):
            volume = Conv3d(self.features, name=f'conv_{number}')(volume)
            volume = activate(GroupNorm(self.group_size, name=f'norm_{number}')(volume))
        return volume
