"""The U-Net of PC-Reg, with which it segments and registers; GL-Net segments with it too."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from autofuse_jax.models.conv3d import Conv3d, Initializer, uniform_fan_in
from autofuse_jax.models.conv_blocks import upsample
from autofuse_jax.models.norm_block import NormBlock
from autofuse_jax.models.options import check_multiple
from autofuse_jax.models.resolution import max_pool

LEVELS = 5
CHANNELS_PER_GROUP = 4


class PCRegUNet(nn.Module):
    """A U-Net of four poolings with a 1 x 1 x 1 convolution at its end.

    Each level is two 3 x 3 x 3 convolutions, each with group norm of 4 channels a group and LeakyReLU 0.2. Down: max
    pooling, widths doubled. Up: trilinear with aligned corners, `[skip, up-sampled]`, widths halved. The levels are
    'encoder_1' .. 'encoder_5' and 'decoder_1' .. 'decoder_4', in the order in which they are applied.

    Attributes:
        outputs: Number of output channels.
        base_channels: Width at full resolution, see `check_base_channels`; default 16.
        output_kernel_init: Initialiser of the last convolution's kernel; default PyTorch's.
        output_bias_init: Initialiser of its bias; default None is PyTorch's.

    Reference:
        He et al., PC-Reg-RT, IEEE JBHI 26, 2022.
    """

    outputs: int
    base_channels: int = 16
    output_kernel_init: Initializer = uniform_fan_in
    output_bias_init: Initializer | None = None

    @nn.compact
    def __call__(self, volume: jax.Array) -> jax.Array:
        """Map (B, D, H, W, I), D, H, W multiples of 16, to (B, D, H, W, outputs)."""
        skips = []
        for level in range(LEVELS):
            if level:
                skips.append(volume)
                volume = max_pool(volume)
            volume = self._block(level, f'encoder_{level + 1}')(volume)
        for number, level in enumerate(reversed(range(LEVELS - 1)), 1):
            volume = jnp.concatenate([skips.pop(), upsample(volume)], axis=-1)
            volume = self._block(level, f'decoder_{number}')(volume)
        last = Conv3d(self.outputs, (1, 1, 1), self.output_kernel_init, self.output_bias_init, name='output')
        return last(volume)

    def _block(self, level: int, name: str) -> NormBlock:
        return NormBlock(self.base_channels * 2**level, CHANNELS_PER_GROUP, name=name)


def check_base_channels(base_channels: int) -> None:
    """Check the width of a `PCRegUNet`.

    Raises:
        UserError: It cannot be divided into groups of 4 channels.
    """
    reason = 'the norms work on groups of that many channels'
    check_multiple('base_channels', base_channels, CHANNELS_PER_GROUP, reason)
