"""XMorpher: two U-shaped streams, one for each image, that look at each other at every scale by cross attention."""

from typing import ClassVar

import jax
import jax.numpy as jnp

from autofuse_jax.errors import UserError
from autofuse_jax.fields.resize import resize_align_corners
from autofuse_jax.models.conv3d import Conv3d
from autofuse_jax.models.field_outputs import of_displacement, widened
from autofuse_jax.models.legacy_grid import mixed_grid_displacement
from autofuse_jax.models.one_pass import OnePassNetwork
from autofuse_jax.models.options import DROP_RATE, check_stage_heads
from autofuse_jax.models.pair_network import of_both
from autofuse_jax.models.patches import FACTOR, PatchExpanding, PatchMerging
from autofuse_jax.models.remat import check_remat, is_recomputed
from autofuse_jax.models.resolution import TransposedConv
from autofuse_jax.models.swin import drop_path_rates, layer_norm, linear
from autofuse_jax.models.windows import Size
from autofuse_jax.models.xmorpher_blocks import CrossStage
from autofuse_jax.outputs import RegistrationOutput

# Side in voxels of the patch that becomes a token of the finest scale.
PATCH = 4


class XMorpher(OnePassNetwork):
    """XMorpher.

    Both images run through the same layers. At 1/4, 1/8, 1/16 and 1/32 of the resolution, down and up again, the tokens
    of each 2 x 2 x 2 window of one image collect from the 3 x 3 x 3 windows around it in the other. The two finest maps
    together are expanded to full resolution, where a convolution predicts the displacement. No integration: the map may
    fold.

    The layers, their start and stochastic depth are those of the published code; a linear layer that it builds and
    never uses (295,296 weights) is left out. As there, the other image's tokens are not normalised before the
    attention, windows beyond the border count as zeros, and maps of odd size are padded with zeros on the way down and
    resized to the skip on the way up, so that any multiple of 4 works. The published file does not run as it stands;
    inferred: both directions of a block are computed from the same inputs, where its first version updated one image
    first. Corrected: one of the 27 windows is left at zero there by a wrong index; the moving image is sampled half
    a voxel off at the border; a batch may be larger than 1.

    Attributes:
        embed_dim: Channels C of the finest scale; default 48. The scales have C, 2C, 4C and 8C.
        depths: Blocks of a scale, on the way down and again on the way up; default (2, 2, 6, 2).
        num_heads: Attention heads of a scale; default (3, 6, 12, 24).
        window: (d, h, w) of a window; default (2, 2, 2).
        drop_path: Stochastic depth of the last block on the way down, linear from 0 in the first; default 0.2. A scale
            has the same on the way up. Only where a random stream 'dropout' is given, as in training.
        legacy: Whether the missing window and the sampling of the published code are replayed; default False. The
            displacement is then the one by which the image is in effect sampled.
        remat: Blocks that are recomputed in the reverse pass, for less memory: scales '1' .. '4', 'full_resolution'
            (the finest) or 'all', see `check_remat`; default 'none'.

    Raises:
        UserError: `depths` and `num_heads` differ in length, heads do not divide the channels, or another option is
            unknown or out of its range.
        ValueError: Sizes are no multiples of 4.

    Reference:
        Shi et al., XMorpher: full transformer for deformable medical image registration via cross attention, MICCAI
        2022.
    """

    embed_dim: int = 48
    depths: tuple[int, ...] = (2, 2, 6, 2)
    num_heads: tuple[int, ...] = (3, 6, 12, 24)
    window: Size = (2, 2, 2)
    drop_path: float = 0.2
    legacy: bool = False
    remat: str = 'none'

    multiple: ClassVar[int] = PATCH
    domains: ClassVar = {'drop_path': DROP_RATE}

    def __post_init__(self):
        super().__post_init__()
        check_remat(self.remat)
        if len(self.depths) != len(self.num_heads):
            raise UserError(
                f'model.depths is {self.depths} and model.num_heads is {self.num_heads}',
                expected='one number for each scale in both',
                fix='make them equally long',
            )
        check_stage_heads(self.embed_dim, self.num_heads)

    def register_pair(self, fixed: jax.Array, moving: jax.Array) -> RegistrationOutput:
        """Return displacement and warped image."""
        features = jnp.concatenate(of_both(self.streams, fixed, moving), axis=-1)
        features = layer_norm(features.dtype, 'joined_norm')(features)
        expanded = TransposedConv(self.embed_dim // 2, PATCH, name='reverse_embedding')(features)
        displacement = widened(Conv3d(3, name='flow')(expanded))
        return of_displacement(mixed_grid_displacement(displacement) if self.legacy else displacement, moving)

    def streams(self, images: jax.Array) -> jax.Array:
        """Run the streams; to be called once, from `__call__`.

        Args:
            images: (2 B, D, H, W, 1), pairs side by side.

        Returns:
            The finest maps, (2 B, D / 4, H / 4, W / 4, C).
        """
        widths = [self.embed_dim * FACTOR**scale for scale in range(len(self.depths))]
        rates = drop_path_rates(self.drop_path, self.depths)

        def stage(name: str, scale: int) -> CrossStage:
            remat = is_recomputed(self.remat, str(scale + 1), full_resolution=scale == 0)
            options = tuple(self.window), rates[scale], self.legacy, remat
            return CrossStage(self.num_heads[scale], *options, name=f'{name}_{scale + 1}')

        volume = PatchMerging(widths[0], PATCH, norm=False, name='patch_embedding')(images)
        skips = []
        for scale, width in enumerate(widths):
            if scale:
                volume = PatchMerging(width, name=f'merging_{scale + 1}')(pad_to_even(volume))
            volume = stage('down', scale)(volume)
            skips.append(volume)
        volume = stage('up', len(widths) - 1)(layer_norm(volume.dtype, 'norm')(volume))
        for scale in reversed(range(len(widths) - 1)):
            volume = PatchExpanding(widths[scale], name=f'expanding_{scale + 1}')(volume)
            # An odd map was padded on the way down and has come back one voxel larger.
            volume = resize_align_corners(volume, skips[scale].shape[1:4])
            volume = jnp.concatenate([volume, skips[scale]], axis=-1)
            volume = stage('up', scale)(linear(volume, widths[scale], f'projection_{scale + 1}'))
        return volume


def pad_to_even(volume: jax.Array) -> jax.Array:
    """Pad the far ends of (B, D, H, W, C) with zeros to even sizes."""
    return jnp.pad(volume, ((0, 0), *((0, size % 2) for size in volume.shape[1:4]), (0, 0)))
