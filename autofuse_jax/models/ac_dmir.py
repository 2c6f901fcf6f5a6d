"""AC-DMiR: segmentation of the image warped by a first map guides a second one, through attention between tasks."""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from autofuse_jax.fields import warp_linear
from autofuse_jax.models.ac_dmir_blocks import Bottleneck, ConvUnit, CrossNonLocal, Decoder, ResidualBlock
from autofuse_jax.models.class_probabilities import check_num_classes
from autofuse_jax.models.conv3d import Conv3d
from autofuse_jax.models.field_outputs import check_pair, of_displacement, widened
from autofuse_jax.models.heads import MEAN_KERNEL_STDDEV
from autofuse_jax.models.options import check_network
from autofuse_jax.models.pair_network import of_both
from autofuse_jax.models.resolution import max_pool
from autofuse_jax.outputs import RegistrationOutput

# Three poolings.
MULTIPLE = 8
Levels = tuple[jax.Array, ...]


class TwoPasses(NamedTuple):
    """What AC-DMiR registers with.

    Attributes:
        initial_displacement: phi_0 of the registration network alone, (B, D, H, W, 3), voxels, pull direction.
        initial_warped: The moving image warped by it, (B, D, H, W, 1).
        initial_segmentation: Class probabilities of that, (B, D, H, W, C).
        displacement: phi_1, (B, D, H, W, 3); it warps the original moving image.
    """

    initial_displacement: jax.Array
    initial_warped: jax.Array
    initial_segmentation: jax.Array
    displacement: jax.Array


class ACDMiR(nn.Module):
    """AC-DMiR: two maps, the second from features of registration and segmentation fused by attention.

    1. The registration network finds phi_0 and features R_B of the pair.
    2. The segmentation network segments the initial warped image `I_m o phi_0` and gives features S_B of it.
    3. The cross-task attention block fuses them, with one shared `CrossNonLocal` X:
       `Q = X(P, P)`, `P = X(R_B, S_B) * X(S_B, R_B)`.
    4. The final decoder makes phi_1 of Q.

    No official code was published. Stated by the paper are this data flow, the supervision of the segmentation of the
    initial warped image, and that registration needs no labels at test time. Inferred are all layers and widths, after
    a convolutional third-party reading whose author notes that the paper has a transformer backbone: this is a
    reference configuration, not the authors' network. Also inferred: skips of the registration network into the final
    decoder, which that reading does not have, displacements without integration, and their start near zero. There are
    no official weights, so that no switch replays any.

    The parameters have the top-level keys 'registration' (465,779), 'segmentation' (501,476 for 4 classes),
    'cross_task_attention' (2,192) and 'final_decoder' (277,395).

    Attributes:
        num_classes: C, background included, at least 2; default 4.
        final_skips: Whether the final decoder has the skips of the registration network; default True.
        base_channels: Width at full resolution, half that of all other levels; default 16.

    Raises:
        UserError: `num_classes` is less than 2, or another option out of its range.
        ValueError: The images' sizes are not multiples of 8.

    Reference:
        Khor et al., Anatomically constrained and attention-guided deep feature fusion for joint segmentation and
        deformable medical image registration, Medical Image Analysis 88, 102811, 2023.
    """

    num_classes: int = 4
    final_skips: bool = True
    base_channels: int = 16

    def __post_init__(self):
        check_num_classes(self.num_classes)
        check_network(self)
        super().__post_init__()

    def setup(self):
        """Make the networks."""
        widths = (self.base_channels, 2 * self.base_channels, 2 * self.base_channels)
        self.registration = RegistrationNet(widths)
        self.segmentation = SegmentationNet(widths, self.num_classes)
        self.cross_task_attention = CrossNonLocal()
        self.final_decoder = Decoder(widths, 3, **_near_zero())

    def segment(self, image: jax.Array) -> jax.Array:
        """Map (B, D, H, W, 1) to class probabilities (B, D, H, W, C) with the segmentation network alone."""
        return self.segmentation(image)[0]

    def register(self, fixed: jax.Array, moving: jax.Array) -> TwoPasses:
        """Map two images (B, D, H, W, 1) to both displacements and what lies between them."""
        initial, registration_features, skips = self.registration(fixed, moving)
        warped = jax.vmap(warp_linear)(moving, initial)
        classes, segmentation_features = self.segmentation(warped)
        attention = self.cross_task_attention
        product = attention(registration_features, segmentation_features) * attention(
            segmentation_features, registration_features
        )
        final = self.final_decoder(attention(product, product), skips if self.final_skips else None)
        return TwoPasses(initial, warped, classes, widened(final))

    def __call__(self, fixed: jax.Array, moving: jax.Array) -> RegistrationOutput:
        """Register and segment pairs of images.

        Args:
            fixed: (B, D, H, W, 1), intensities in [0, 1]; D, H, W multiples of 8.
            moving: (B, D, H, W, 1), intensities in [0, 1].

        Returns:
            The displacement phi_1, the image warped by it, and the class probabilities of both images.
        """
        check_pair(fixed, moving, MULTIPLE)
        of_fixed, of_moving = of_both(self.segment, fixed, moving)
        displacement = self.register(fixed, moving).displacement
        return of_displacement(displacement, moving, fixed_segmentation=of_fixed, moving_segmentation=of_moving)


class RegistrationNet(nn.Module):
    """The registration network: one encoder for both images, attention between them at 1/8, a decoder.

    Attributes:
        widths: Channels of the levels from full resolution down, three.
    """

    widths: tuple[int, int, int]

    @nn.compact
    def __call__(self, fixed: jax.Array, moving: jax.Array) -> tuple[jax.Array, jax.Array, Levels]:
        """Map two images to the displacement phi_0, features at 1/8, and skips, finest first."""
        units = [ConvUnit(width, name=f'encoder_{level}') for level, width in enumerate(self.widths)]

        def encode(image: jax.Array) -> tuple[jax.Array, Levels]:
            volume, levels = image, []
            for unit in units:
                levels.append(unit(volume))
                volume = max_pool(levels[-1])
            return volume, tuple(levels)

        (fixed_features, fixed_levels), (moving_features, moving_levels) = of_both(encode, fixed, moving)
        skips = tuple(
            Conv3d(width, (1, 1, 1), use_bias=False, name=f'skip_{level}')(jnp.concatenate(pair, axis=-1))
            for level, (width, *pair) in enumerate(zip(self.widths, fixed_levels, moving_levels, strict=True))
        )
        cross = CrossNonLocal(name='attention')
        both = [cross(fixed_features, moving_features), cross(moving_features, fixed_features)]
        fusion = ConvUnit(self.widths[-1], name='join')(jnp.concatenate(both, axis=-1))
        features = Bottleneck(name='bottleneck')(fusion)
        return widened(Decoder(self.widths, 3, **_near_zero(), name='decoder')(features, skips)), features, skips


class SegmentationNet(nn.Module):
    """The segmentation network, a residual U-Net.

    Attributes:
        widths: Channels of the levels from full resolution down, three.
        num_classes: C, background included.
    """

    widths: tuple[int, int, int]
    num_classes: int

    @nn.compact
    def __call__(self, image: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Map (B, D, H, W, 1) to class probabilities (B, D, H, W, C) and features at 1/8."""
        volume = Conv3d(self.widths[0], use_bias=False, name='first')(image)
        skips = []
        for level, width in enumerate(self.widths):
            # Where the width does not change there is no convolution between pooling and residual block.
            if volume.shape[-1] != width:
                volume = ConvUnit(width, name=f'widen_{level}')(volume)
            skips.append(ResidualBlock(name=f'block_{level}')(volume))
            volume = max_pool(skips[-1])
        features = Bottleneck(name='bottleneck')(volume)
        classes = Decoder(self.widths, self.num_classes, name='decoder')(features, tuple(skips))
        return jax.nn.softmax(classes, axis=-1), features


def _near_zero() -> dict[str, Any]:
    return {'kernel_init': nn.initializers.normal(MEAN_KERNEL_STDDEV), 'bias_init': nn.initializers.zeros_init()}
