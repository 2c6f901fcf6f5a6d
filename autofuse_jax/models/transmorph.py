"""TransMorph: a Swin transformer encoder on the pair, a convolutional decoder, a displacement at full resolution."""

import jax
import jax.numpy as jnp

from autofuse_jax.models.field_outputs import of_displacement
from autofuse_jax.models.transmorph_blocks import (
    ConvNormBlock,
    DecoderLevel,
    DisplacementHead,
    SwinPairNetwork,
    average_pool,
    crop_to_size,
    pad_to_multiple,
)
from autofuse_jax.outputs import RegistrationOutput


class TransMorph(SwinPairNetwork):
    """TransMorph, the base network; attributes that are not listed see `SwinPairNetwork`.

    The encoder sees (moving, fixed) as two channels. Its maps at 1/32 .. 1/4 go up through a decoder of convolutions,
    which at 1/2 and at full resolution also receives convolutions of the images. No integration: the map may fold.

    The layers, their start, stochastic depth and the window (a 32nd of the size) are those of the published code.
    Inferred: images whose size is a multiple of 16 only are padded with zeros, as much before as behind, and the
    displacement is cropped; the published code stops with an error. Weights that were trained with the code from before
    March 2022, which put windows back in a wrong order, do not fit this network.

    Attributes:
        head_channels: Channels at full resolution; default 16.

    Raises:
        UserError: An option is impossible, or the window larger than a quarter of the images.
        ValueError: Sizes are no multiples of 16.

    Reference:
        Chen et al., TransMorph: transformer for unsupervised medical image registration, Medical Image Analysis 82,
        2022.
    """

    head_channels: int = 16

    def register_pair(self, fixed: jax.Array, moving: jax.Array) -> RegistrationOutput:
        """Return displacement and warped image."""
        self.check_window(fixed.shape[1:4])
        images = pad_to_multiple(jnp.concatenate([moving, fixed], axis=-1))
        *skips, volume = self.make_encoder()(images)
        skips.insert(0, ConvNormBlock(self.embed_dim // 2, name='half_resolution')(average_pool(images)))
        skips.insert(0, ConvNormBlock(self.head_channels, name='full_resolution')(images))
        for number, skip in enumerate(reversed(skips), 1):
            volume = DecoderLevel(skip.shape[-1], name=f'decoder_{number}')(volume, skip)
        displacement = DisplacementHead(name='head')(volume)
        return of_displacement(crop_to_size(displacement, fixed.shape[1:4]), moving)
