"""What TransMorph and TransMatch share: Swin encoder, convolutions of the decoder, sizes and windows that fit."""

from collections.abc import Callable, Sequence
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from autofuse_jax.errors import COUNT, UserError, check_numbers
from autofuse_jax.models.conv3d import Conv3d
from autofuse_jax.models.conv_blocks import instance_norm
from autofuse_jax.models.heads import MEAN_KERNEL_STDDEV
from autofuse_jax.models.one_pass import OnePassNetwork
from autofuse_jax.models.options import DROP_RATE, SECTION, check_stage_heads
from autofuse_jax.models.patches import PatchMerging
from autofuse_jax.models.resolution import upsample_half_pixel
from autofuse_jax.models.swin import SwinStage, drop_path_rates, layer_norm, linear
from autofuse_jax.models.windows import Size, Windows, unpartition

# Side of an embedded patch: attention begins on a quarter of the resolution.
PATCH = 4
# Four stages, each but the first on half the resolution of the one before: sizes must be multiples of 4 * 2^3.
STAGES = 4
PADDED_MULTIPLE = PATCH * 2 ** (STAGES - 1)
LEAKY_SLOPE = 0.01
POOL_SIDE = 3
# Which voxels of 2 x 2 x 2 are the 1st .. 8th part of the channels that a merging layer joins, as published.
SUB_LATTICES = ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (0, 1, 1), (1, 0, 1), (1, 1, 1))


def fitting_window(size: Sequence[int]) -> Size:
    """Return the window that the published networks have for images of a size: the padded size / 32.

    Args:
        size: (D, H, W) of the images.

    Returns:
        (d, h, w): one window covers the coarsest map, 8 x 8 x 8 of them the finest.
    """
    return tuple(-(-length // PADDED_MULTIPLE) for length in size)


def pad_to_multiple(volume: jax.Array) -> jax.Array:
    """Pad with zeros, as much before as behind, to multiples of 32.

    Args:
        volume: (B, D, H, W, C) with even sizes.
    """
    return jnp.pad(volume, ((0, 0), *((extra, extra) for extra in _padding(volume.shape[1:4])), (0, 0)))


def crop_to_size(volume: jax.Array, size: Sequence[int]) -> jax.Array:
    """Undo `pad_to_multiple`.

    Args:
        volume: (B, D', H', W', C).
        size: (D, H, W) before padding.

    Returns:
        (B, D, H, W, C).
    """
    return volume[
        (slice(None), *(slice(extra, extra + n) for extra, n in zip(_padding(size), size, strict=True)), slice(None))
    ]


def _padding(size: Sequence[int]) -> list[int]:
    return [-length % PADDED_MULTIPLE // 2 for length in size]


def average_pool(volume: jax.Array) -> jax.Array:
    """Average 3 x 3 x 3 voxels around every second one; zeros beyond the border count.

    Args:
        volume: (B, D, H, W, C) with even sizes.

    Returns:
        (B, D / 2, H / 2, W / 2, C).
    """
    sides, strides = (1, POOL_SIDE, POOL_SIDE, POOL_SIDE, 1), (1, 2, 2, 2, 1)
    padding = [(side // 2, side // 2) for side in sides]
    # Only of a sum that starts from a constant 0 does JAX know the gradient.
    zero = np.zeros((), volume.dtype)
    return jax.lax.reduce_window(volume, zero, jax.lax.add, sides, strides, padding) / POOL_SIDE**3


class ConvNormBlock(nn.Module):
    """3 x 3 x 3 convolution without bias, instance norm, LeakyReLU 0.01.

    Attributes:
        features: Number of output channels.
    """

    features: int

    @nn.compact
    def __call__(self, volume: jax.Array) -> jax.Array:
        """Map (B, D, H, W, I) to (B, D, H, W, features)."""
        normalised = instance_norm(Conv3d(self.features, use_bias=False, name='conv')(volume))
        return jax.nn.leaky_relu(normalised, LEAKY_SLOPE)


class DecoderLevel(nn.Module):
    """Double the size (half-pixel trilinear), append skip connections, two `ConvNormBlock`s.

    Attributes:
        features: Number of output channels.
    """

    features: int

    @nn.compact
    def __call__(self, volume: jax.Array, *skips: jax.Array) -> jax.Array:
        """Map (B, D, H, W, I) and skips of twice the size to (B, 2D, 2H, 2W, features)."""
        features_and_skips = jnp.concatenate([upsample_half_pixel(volume), *skips], axis=-1)
        return ConvNormBlock(self.features, name='conv_2')(
            ConvNormBlock(self.features, name='conv_1')(features_and_skips)
        )


class DisplacementHead(nn.Module):
    """One 3 x 3 x 3 convolution that starts near zero."""

    @nn.compact
    def __call__(self, volume: jax.Array) -> jax.Array:
        """Map (B, D, H, W, I) to a displacement (B, D, H, W, 3) in voxels."""
        init, zeros = nn.initializers.normal(MEAN_KERNEL_STDDEV), nn.initializers.zeros_init()
        return Conv3d(3, kernel_init=init, bias_init=zeros, name='conv')(volume)


class LatticeMerging(nn.Module):
    """Halve the size: the 8 voxels of 2 x 2 x 2 become channels, layer norm, linear layer without bias.

    Attributes:
        features: Number of output channels.
    """

    features: int

    @nn.compact
    def __call__(self, volume: jax.Array) -> jax.Array:
        """Map (B, D, H, W, I) with even sizes to (B, D / 2, H / 2, W / 2, features)."""
        neighbours = jnp.concatenate([volume[:, d::2, h::2, w::2] for d, h, w in SUB_LATTICES], axis=-1)
        return linear(layer_norm(volume.dtype, 'norm')(neighbours), self.features, 'reduction', use_bias=False)


class SwinEncoder(nn.Module):
    """Swin stages at 1/4, 1/8, 1/16 and 1/32 of the resolution; a layer norm on what each gives out.

    Attributes:
        width: Channels of the first stage, doubled from stage to stage.
        depths: Blocks of each stage.
        num_heads: Attention heads of each stage.
        window: (d, h, w) of a window, the same in all stages; maps are padded to whole windows.
        drop_paths: Rates of each block, from `drop_path_rates`.
        join_windows: Function that makes tokens a volume again, see `WindowAttention`.
    """

    width: int
    depths: tuple[int, ...]
    num_heads: tuple[int, ...]
    window: Size
    drop_paths: tuple[tuple[float, ...], ...]
    join_windows: Callable[[jax.Array, Windows], jax.Array] = unpartition

    @nn.compact
    def __call__(self, images: jax.Array) -> tuple[jax.Array, ...]:
        """Map (B, D, H, W, I), multiples of 32, to four maps of `width`, 2, 4 and 8 times as many channels."""
        volume, outputs = PatchMerging(self.width, PATCH, name='patch_embedding')(images), []
        stages = zip(self.depths, self.num_heads, self.drop_paths, strict=True)
        for number, (depth, heads, drop_paths) in enumerate(stages, 1):
            if number > 1:
                volume = LatticeMerging(2 * volume.shape[-1], name=f'merging_{number}')(volume)
            volume = swin_stage(depth, heads, self.window, drop_paths, self.join_windows, f'stage_{number}')(volume)
            outputs.append(layer_norm(volume.dtype, f'norm_{number}')(volume))
        return tuple(outputs)


def swin_stage(
    depth: int,
    num_heads: int,
    window: Size,
    drop_paths: tuple[float, ...],
    join_windows: Callable[[jax.Array, Windows], jax.Array],
    name: str,
) -> SwinStage:
    """Return a stage as both networks have it: no bias of queries, keys and values, windows never cut to the map."""
    return SwinStage(
        depth,
        num_heads,
        window,
        qkv_bias=False,
        shrink_window=False,
        shift_all_or_none=True,
        drop_paths=drop_paths,
        join_windows=join_windows,
        name=name,
    )


class SwinPairNetwork(OnePassNetwork):
    """A network whose encoder has four Swin stages with one window, on images padded with zeros to multiples of 32.

    Attributes:
        embed_dim: Channels C of the first stage; default 96. The decoder has 4C, 2C, C and C / 2.
        depths: Swin blocks of the four stages of the encoder; default (2, 2, 4, 2).
        num_heads: Attention heads of the four stages; default (4, 4, 8, 8).
        window: (d, h, w) of an attention window; default (5, 6, 5), for images of 160 x 192 x 160. `fitting_window`
            gives that of other sizes. It is part of the weights.
        drop_path: Stochastic depth of the encoder's last block, linear from 0 in the first; default 0.3. Only where a
            random stream 'dropout' is given, as in training.

    Raises:
        UserError: There are not four stages, heads do not divide the channels, or another option is out of its range.
    """

    embed_dim: int = 96
    depths: tuple[int, ...] = (2, 2, 4, 2)
    num_heads: tuple[int, ...] = (4, 4, 8, 8)
    window: Size = (5, 6, 5)
    drop_path: float = 0.3

    domains: ClassVar = {'drop_path': DROP_RATE}

    def __post_init__(self):
        super().__post_init__()
        for name in ('depths', 'num_heads'):
            check_numbers(SECTION + name, getattr(self, name), COUNT, count=STAGES)
        check_stage_heads(self.embed_dim, self.num_heads)

    @property
    def drop_paths(self) -> tuple[tuple[float, ...], ...]:
        """Stochastic depth of each block of the encoder, stage by stage."""
        return drop_path_rates(self.drop_path, self.depths)

    def make_encoder(self, join_windows: Callable[[jax.Array, Windows], jax.Array] = unpartition) -> SwinEncoder:
        """Return the module named 'encoder'."""
        options = self.embed_dim, self.depths, self.num_heads, self.window, self.drop_paths, join_windows
        return SwinEncoder(*options, name='encoder')

    def check_window(self, size: Sequence[int]) -> None:
        """Check the window against the images, but not while parameters are made: they do not depend on the size.

        Args:
            size: (D, H, W) of the images, multiples of 16.

        Raises:
            UserError: The window is larger than the finest map on which there is attention, a quarter of the padded
                images, along some axis; says what fits.
        """
        window = tuple(self.window)
        finest = tuple(length * PADDED_MULTIPLE // PATCH for length in fitting_window(size))
        if not self.is_initializing() and any(length > most for length, most in zip(window, finest, strict=True)):
            raise UserError(
                f'model.window is {window}, too large for images of size {tuple(size)}',
                expected=f'at most {finest}, a quarter of the padded images',
                fix=f'set model.window={fitting_window(size)}, the padded size / {PADDED_MULTIPLE}',
            )
