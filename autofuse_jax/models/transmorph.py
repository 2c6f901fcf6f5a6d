"""TransMorph: a Swin transformer encoder on the pair, a convolutional decoder, a displacement at full resolution."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from autofuse_jax.models.field_outputs import check_pair, of_displacement
from autofuse_jax.models.swin import drop_path_rates
from autofuse_jax.models.transmorph_blocks import (
    ConvNormBlock,
    DecoderLevel,
    DisplacementHead,
    SwinEncoder,
    average_pool,
    check_options,
    crop_to_size,
    pad_to_multiple,
)
from autofuse_jax.models.windows import Size
from autofuse_jax.outputs import RegistrationOutput


class TransMorph(nn.Module):
    """TransMorph, the base network.

    The encoder sees (moving, fixed) as two channels. Its maps at 1/32 .. 1/4 go up through a decoder of convolutions,
    which at 1/2 and at full resolution also receives convolutions of the images. No integration: the map may fold.

    The layers, their start, stochastic depth and the window (a 32nd of the size) are those of the published code.
    Inferred: images whose size is a multiple of 16 only are padded with zeros, as much before as behind, and the
    displacement is cropped; the published code stops with an error. Weights that were trained with the code from before
    March 2022, which put windows back in a wrong order, do not fit this network.

    Attributes:
        embed_dim: Channels C of the first stage; default 96. The decoder has 4C, 2C, C and C / 2.
        depths: Swin blocks of the four stages; default (2, 2, 4, 2).
        num_heads: Their attention heads; default (4, 4, 8, 8).
        window: (d, h, w) of an attention window; default (5, 6, 5), for images of 160 x 192 x 160. `fitting_window`
            gives that of other sizes. It is part of the weights.
        head_channels: Channels at full resolution; default 16.
        drop_path: Stochastic depth of the last block, linear from 0 in the first; default 0.3. Only where a random
            stream 'dropout' is given, as in training.

    Raises:
        ValueError: Sizes are no multiples of 16, the window is larger than a quarter of them, or an option impossible.

    Reference:
        Chen et al., TransMorph: transformer for unsupervised medical image registration, Medical Image Analysis 82,
        2022.
    """

    embed_dim: int = 96
    depths: tuple[int, ...] = (2, 2, 4, 2)
    num_heads: tuple[int, ...] = (4, 4, 8, 8)
    window: Size = (5, 6, 5)
    head_channels: int = 16
    drop_path: float = 0.3

    @nn.compact
    def __call__(self, fixed: jax.Array, moving: jax.Array, noise: jax.Array | None = None) -> RegistrationOutput:
        """Register pairs of images.

        Args:
            fixed: (B, D, H, W, 1); D, H, W multiples of 16.
            moving: (B, D, H, W, 1).
            noise: Not used; this network does not sample.

        Returns:
            Displacement in voxels and warped image.
        """
        del noise
        check_pair(fixed, moving)
        # Parameters can be made for images of any size, because they do not depend on it.
        check_options(self, None if self.is_initializing() else fixed.shape[1:4])
        images = pad_to_multiple(jnp.concatenate([moving, fixed], axis=-1))
        rates = drop_path_rates(self.drop_path, self.depths)
        encoder = SwinEncoder(self.embed_dim, self.depths, self.num_heads, self.window, rates, name='encoder')
        *skips, volume = encoder(images)
        skips.insert(0, ConvNormBlock(self.embed_dim // 2, name='half_resolution')(average_pool(images)))
        skips.insert(0, ConvNormBlock(self.head_channels, name='full_resolution')(images))
        for number, skip in enumerate(reversed(skips), 1):
            volume = DecoderLevel(skip.shape[-1], name=f'decoder_{number}')(volume, skip)
        displacement = DisplacementHead(name='head')(volume)
        return of_displacement(crop_to_size(displacement, fixed.shape[1:4]), moving)
