"""The U-Net of the VoxelMorph family, with its widths and its way down as parameters."""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from autofuse_jax.models.conv3d import Conv3d, Initializer, uniform_fan_in
from autofuse_jax.models.conv_blocks import activate
from autofuse_jax.models.heads import mean_convolution
from autofuse_jax.models.resolution import max_pool, upsample_nearest

MAX_POOL, STRIDE = 'max_pool', 'stride'
DOWNSAMPLINGS = (MAX_POOL, STRIDE)
# The current official network: pooled, three convolutions at full resolution.
ENCODER_WIDTHS = (16, 32, 32, 32)
DECODER_WIDTHS = ((32,), (32,), (32,), (32,), (32, 16, 16))


class UNet(nn.Module):
    """A U-Net of plain blocks: 3 x 3 x 3 convolution with bias, LeakyReLU 0.2, no norm; nearest up-sampling.

    With n encoder widths the coarsest level is 1 / 2^n. Going up, a level joins `[up-sampled, skip]`. The skips of a
    pooled encoder are the outputs of all its convolutions, the first at full resolution; those of a strided one are the
    input itself and the outputs of all its convolutions but the last, which is the coarsest level.

    Convolutions are named 'encoder_1' .. and 'decoder_1' .., in the order in which they are applied.

    Attributes:
        encoder: Widths of the convolutions on the way down.
        decoder: Widths of the convolutions of each level on the way up: the first entry at 1 / 2^n, the next at
            1 / 2^(n - 1), and so on; n + 1 entries end at full resolution, n at half. An entry may have any number of
            widths, one at least.
        downsampling: 'max_pool' (default): 2 x 2 x 2 pooling behind each encoder convolution; 'stride': encoder
            convolutions of stride 2.
        kernel_init: Initialiser of kernels; default PyTorch's.
        bias_init: Initialiser of biases; default None is PyTorch's.

    Raises:
        ValueError: `downsampling` is unknown, there are more levels up than down, or a size is no multiple of 2^n.
    """

    encoder: Sequence[int] = ENCODER_WIDTHS
    decoder: Sequence[Sequence[int]] = DECODER_WIDTHS
    downsampling: str = MAX_POOL
    kernel_init: Initializer = uniform_fan_in
    bias_init: Initializer | None = None

    @nn.compact
    def __call__(self, volume: jax.Array) -> jax.Array:
        """Map (B, D, H, W, I) to the features of the last level, (B, D / s, H / s, W / s, C), s = 1 or 2 by default."""
        self._check(volume)
        skips = [] if self.downsampling == MAX_POOL else [volume]
        for number, width in enumerate(self.encoder, 1):
            volume = self._block(volume, width, f'encoder_{number}', 1 if self.downsampling == MAX_POOL else 2)
            skips.append(volume)
            if self.downsampling == MAX_POOL:
                volume = max_pool(volume)
        if self.downsampling == STRIDE:
            skips.pop()
        number = 0
        for level, widths in enumerate(self.decoder):
            if level:
                volume = jnp.concatenate([upsample_nearest(volume), skips.pop()], axis=-1)
            for width in widths:
                number += 1
                volume = self._block(volume, width, f'decoder_{number}', 1)
        return volume

    def _block(self, volume: jax.Array, width: int, name: str, stride: int) -> jax.Array:
        convolution = Conv3d(width, kernel_init=self.kernel_init, bias_init=self.bias_init, stride=stride, name=name)
        return activate(convolution(volume))

    def _check(self, volume: jax.Array) -> None:
        if self.downsampling not in DOWNSAMPLINGS:
            raise ValueError(f'downsampling is {self.downsampling!r}, expected one of {DOWNSAMPLINGS}.')
        if len(self.decoder) > len(self.encoder) + 1:
            raise ValueError(f'{len(self.decoder)} levels up, expected at most {len(self.encoder) + 1}.')
        multiple = 2 ** len(self.encoder)
        if any(size % multiple for size in volume.shape[1:4]):
            raise ValueError(f'volume has size {volume.shape[1:4]}, expected multiples of {multiple}.')


class VoxelMorphUNet(UNet):
    """A `UNet` and one convolution 'flow' for a displacement on its last level; by default the current VoxelMorph's.

    Attributes: those of `UNet`.
    """

    @nn.compact
    def __call__(self, volume: jax.Array) -> jax.Array:
        """Map (B, D, H, W, I) to a field of the last level's size, by default (B, D, H, W, 3), in its voxels."""
        unet = UNet(self.encoder, self.decoder, self.downsampling, self.kernel_init, self.bias_init, name='unet')
        return mean_convolution('flow')(unet(volume))
