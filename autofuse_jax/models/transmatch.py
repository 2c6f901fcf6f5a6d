"""TransMatch: one Swin encoder for both images, cross-attention between them at each scale, a convolutional decoder."""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from autofuse_jax.models.field_outputs import of_displacement, widened
from autofuse_jax.models.legacy_grid import mixed_grid_displacement
from autofuse_jax.models.options import check_multiple
from autofuse_jax.models.pair_network import exchanged, of_both
from autofuse_jax.models.resolution import upsample_half_pixel
from autofuse_jax.models.swin import layer_norm
from autofuse_jax.models.transmorph_blocks import (
    ConvNormBlock,
    DecoderLevel,
    DisplacementHead,
    SwinPairNetwork,
    average_pool,
    crop_to_size,
    pad_to_multiple,
    swin_stage,
)
from autofuse_jax.models.windows import Size, Windows, unpartition
from autofuse_jax.outputs import RegistrationOutput

CROSS_DEPTH = 2


def unpartition_scrambled(tokens: jax.Array, windows: Windows) -> jax.Array:
    """Put windows back as the published code of TransMatch does: in the order of the partition, not of its inverse.

    All tokens stay in their volume, few at their place, even where there is one window. See `unpartition`.
    """
    (nd, nh, nw), (d, h, w), channels = windows.count, windows.window, tokens.shape[-1]
    blocks = tokens.reshape(-1, nd, nh, nw, d, h, w, channels).transpose(0, 1, 3, 5, 2, 4, 6, 7)
    volume = blocks.reshape(-1, *windows.padded, channels)
    volume = jnp.roll(volume, windows.shift, axis=(1, 2, 3))
    size = windows.size
    return volume[:, : size[0], : size[1], : size[2]]


class CrossAttention(nn.Module):
    """Two Swin blocks whose queries come from another volume, the same in both, then layer norm.

    Attributes:
        num_heads: Number of attention heads.
        window: (d, h, w) of a window.
        drop_paths: Rates of each block, see `DropPath`.
        join_windows: Function that makes tokens a volume again, see `WindowAttention`.
    """

    num_heads: int
    window: Size
    drop_paths: tuple[float, ...]
    join_windows: Callable[[jax.Array, Windows], jax.Array]

    @nn.compact
    def __call__(self, volume: jax.Array, asking: jax.Array) -> jax.Array:
        """Map features (B, D, H, W, C) and those of the other image to the same shape."""
        stage = swin_stage(CROSS_DEPTH, self.num_heads, self.window, self.drop_paths, self.join_windows, 'stage')
        return layer_norm(volume.dtype, 'norm')(stage(volume, asking))


def _across(cross: CrossAttention, both: jax.Array) -> jax.Array:
    """Let the images of each pair, side by side along the batch, look at each other."""
    return cross(both, exchanged(both))


class TransMatch(SwinPairNetwork):
    """TransMatch; attributes that are not listed see `SwinPairNetwork`.

    The features of each image ask those of the other at 1/4, 1/8, 1/16 and 1/32 of the resolution, with the same
    weights in both directions. The decoder receives both at each scale (at 1/32 the moving image's), and a convolution
    of the images at 1/2; there it ends, and its output is doubled before the last convolution. No integration.

    The layers, their start and stochastic depth are those of the published code; what it builds and never uses (a
    second encoder among others, 41.6 million weights) is left out. Inferred: images whose size is a multiple of 16 only
    are padded with zeros, as much before as behind, and the displacement is cropped. Corrected: windows are put back
    where they came from; maps are padded to whole windows along the axis that needs it, where the code exchanges the
    first and the last; the moving image is sampled with aligned corners.

    Attributes:
        cross_heads: Attention heads of the cross-attention at every scale; default 4. Its blocks have the stochastic
            depth of the encoder's first two.
        legacy_window_reverse: Put windows back in the wrong order of the published code, with which its weights were
            trained; default False. Weights trained without it and exported do not compute the same there.
        legacy_grid: Sample where the published code samples, see `mixed_grid_displacement`; default False.

    Raises:
        UserError: An option is impossible, or the window larger than a quarter of the images.
        ValueError: Sizes are no multiples of 16.

    Reference:
        Chen, Zheng, Gee, TransMatch: a transformer-based multilevel dual-stream feature matching network for
        unsupervised deformable image registration, IEEE TMI 43, 2024.
    """

    cross_heads: int = 4
    legacy_window_reverse: bool = False
    legacy_grid: bool = False

    def __post_init__(self):
        super().__post_init__()
        check_multiple('embed_dim', self.embed_dim, self.cross_heads, 'that many heads share it in the cross-attention')

    def register_pair(self, fixed: jax.Array, moving: jax.Array) -> RegistrationOutput:
        """Return displacement and warped image."""
        self.check_window(fixed.shape[1:4])
        join = unpartition_scrambled if self.legacy_window_reverse else unpartition
        padded_fixed, padded_moving = pad_to_multiple(fixed), pad_to_multiple(moving)
        of_fixed, of_moving = of_both(self.make_encoder(join), padded_fixed, padded_moving)
        first = tuple(rate for stage in self.drop_paths for rate in stage)[:CROSS_DEPTH]
        skips: list[tuple[jax.Array, ...]] = []
        for scale, pair in enumerate(zip(of_fixed, of_moving, strict=True), 1):
            cross = CrossAttention(self.cross_heads, self.window, first, join, name=f'cross_attention_{scale}')
            if scale == len(of_fixed):
                # Nobody uses that of the fixed image.
                volume = cross(pair[1], pair[0])
                continue
            cross_fixed, cross_moving = of_both(functools.partial(_across, cross), *pair)
            skips.append((cross_moving, cross_fixed))
        images = jnp.concatenate([padded_moving, padded_fixed], axis=-1)
        skips.insert(0, (ConvNormBlock(self.embed_dim // 2, name='half_resolution')(average_pool(images)),))
        for number, level in enumerate(reversed(skips), 1):
            volume = DecoderLevel(level[0].shape[-1], name=f'decoder_{number}')(volume, *level)
        displacement = DisplacementHead(name='head')(upsample_half_pixel(volume))
        if self.legacy_grid:
            displacement = mixed_grid_displacement(widened(displacement))
        return of_displacement(crop_to_size(displacement, fixed.shape[1:4]), moving)
