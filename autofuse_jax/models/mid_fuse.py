"""MidFuse: each image has an encoder, with shared weights, and one decoder takes the features of both."""

from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from autofuse_jax.models.fusion_baseline import FusionBaseline, Velocity
from autofuse_jax.models.fusion_unet import Volumes, conv_block, decode, encode, numbered
from autofuse_jax.models.heads import RegistrationHead
from autofuse_jax.models.pair_network import of_both

DEEPEST = 5


class Encoder(nn.Module):
    """Blocks 1 .. 5 of the U-Net.

    Attributes:
        widths: Channels of the blocks, from the first on.
        remat: Stages that are recomputed, as in `PairNetwork`.
    """

    widths: tuple[int, ...]
    remat: str = 'none'

    @nn.compact
    def __call__(self, image: jax.Array) -> Volumes:
        """Map an image (B, D, H, W, 1) to the outputs of the blocks by number."""
        return encode(image, numbered(self.widths), self.remat)


class Decoder(nn.Module):
    """A block at a sixteenth of the resolution, blocks 6 .. 8 and the head.

    Attributes:
        widths: Channels of blocks 1 .. 8.
        remat: Stages that are recomputed, as in `PairNetwork`.
    """

    widths: tuple[int, ...]
    remat: str = 'none'

    @nn.compact
    def __call__(self, features: Volumes) -> Velocity:
        """Map the joined features of blocks 2 .. 5 to mean and log-variance (B, d, h, w, 3)."""
        width = numbered(self.widths)
        deepest = conv_block(DEEPEST, width[DEEPEST], self.remat)(features[DEEPEST])
        features = decode(features | {DEEPEST: deepest}, width, self.remat)
        return RegistrationHead(name='registration_head')(features[8])


class MidFuse(FusionBaseline):
    """A shared encoder and one decoder; for attributes, what is official and what is inferred see `FusionBaseline`.

    The features of both images are concatenated at a sixteenth of the resolution, where one more block follows, and in
    the skip connections. 8,169,318 parameters, as many as LateFuse, as in the paper. That the decoder begins with a
    block of its own at a sixteenth, and that skips are concatenated, is inferred.

    Reference:
        Meng et al., AutoFuse, Pattern Recognition 161, 2025, Table 3.
    """

    WIDTHS: ClassVar[tuple[int, ...]] = (1, 2, 4, 4, 4, 4, 4, 2)

    def velocity(self, fixed: jax.Array, moving: jax.Array) -> Velocity:
        """Run the encoder on both images and the decoder on the features of both."""
        of_fixed, of_moving = of_both(Encoder(self.widths, self.remat, name='encoder'), fixed, moving)
        pair = {number: jnp.concatenate([of_fixed[number], of_moving[number]], axis=-1) for number in of_fixed}
        return Decoder(self.widths, self.remat, name='decoder')(pair)
