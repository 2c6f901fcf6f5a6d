"""A second segmentation for `AutoFuse`: a 2-D U-Net that looks at each slice and at a few around it."""

from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from autofuse_jax.models.conv_blocks import ConvBlock, Factor, downsample, upsample
from autofuse_jax.models.heads import SegmentationHead

# Slices that one is seen with. Those beside it tell which of two thick slices an interpolated one is more like, those
# further off where in the heart it lies.
OFFSETS = (-3, -1, 0, 1, 3)
# Channels of the levels, from full resolution to a sixteenth of it, in multiples of the base width.
WIDTHS = (1, 2, 4, 6, 8)
# Planes are volumes of one slice: their axes are (slice, D, H).
FLAT: Factor = (1, 3, 3)
FLAT_HALVING: Factor = (1, 2, 2)
PLANE_MULTIPLE = 2 ** (len(WIDTHS) - 1)


class PlaneBranch(nn.Module):
    """U-Net of planes; each is normalised on its own, so that a slice is segmented the same in any volume.

    Attributes:
        channels: Base width.
        num_classes: C, background included.
    """

    channels: int
    num_classes: int

    @nn.compact
    def __call__(self, planes: jax.Array) -> jax.Array:
        """Map planes (N, D, H, slices), as `planes_of` returns them, to class probabilities (N, D, H, C)."""
        widths = [factor * self.channels for factor in WIDTHS]
        volume, skips = planes[:, None], []
        for level, width in enumerate(widths):
            if level:
                skips.append(volume)
                volume = downsample(volume, FLAT_HALVING)
            volume = ConvBlock(width, FLAT, name=f'down_{level}')(volume)
        for level in reversed(range(len(skips))):
            volume = jnp.concatenate([upsample(volume, FLAT_HALVING), skips[level]], axis=-1)
            volume = ConvBlock(widths[level], FLAT, name=f'up_{level}')(volume)
        return SegmentationHead(self.num_classes, name='segmentation_head')(volume)[:, 0]


def planes_of(image: jax.Array, offsets: Sequence[int] = OFFSETS) -> jax.Array:
    """Return each slice along the third axis with those around it.

    Args:
        image: (B, D, H, W, 1).
        offsets: Slices that each is seen with; beyond the ends the last one is taken again.

    Returns:
        (B W, D, H, len(offsets)).
    """
    batch, depth, height, width, _ = image.shape
    places = jnp.clip(jnp.arange(width)[:, None] + jnp.asarray(offsets), 0, width - 1)
    planes = jnp.moveaxis(image[..., 0][..., places], 3, 1)
    return planes.reshape(batch * width, depth, height, len(offsets))


def volume_of(planes: jax.Array, batch: int) -> jax.Array:
    """Return what `planes_of` took apart: (B W, D, H, C) as (B, D, H, W, C)."""
    return jnp.moveaxis(planes.reshape(batch, -1, *planes.shape[1:]), 1, 3)


def segment_planes(branch: Callable[[jax.Array], jax.Array], image: jax.Array) -> jax.Array:
    """Segment volumes plane by plane.

    Args:
        branch: Maps planes to class probabilities, as `PlaneBranch` does.
        image: (B, D, H, W, 1); D and H multiples of 16.

    Returns:
        (B, D, H, W, C). Planes that show nothing, which padding left and no training looks at, are background.
    """
    segmentation = volume_of(branch(planes_of(image)), image.shape[0])
    background = jax.nn.one_hot(0, segmentation.shape[-1], dtype=segmentation.dtype)
    return jnp.where(jnp.any(image > 0, axis=(1, 2), keepdims=True), segmentation, background)
