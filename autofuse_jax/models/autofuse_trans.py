"""AutoFuse-Trans: AutoFuse whose convolutional blocks are Swin transformer stages."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from autofuse_jax.errors import check_option
from autofuse_jax.models.autofuse import SingleBranch
from autofuse_jax.models.conv3d import Conv3d
from autofuse_jax.models.conv_blocks import ConvBlock
from autofuse_jax.models.fusion_gate import fuse_levels
from autofuse_jax.models.heads import RegistrationHead, SegmentationHead
from autofuse_jax.models.options import check_multiple
from autofuse_jax.models.pair_network import Features, PairNetwork
from autofuse_jax.models.patches import PatchExpanding, PatchMerging
from autofuse_jax.models.remat import FULL_RESOLUTION, is_recomputed, recomputing
from autofuse_jax.models.swin import SwinStage
from autofuse_jax.models.windows import RELATIVE_BIASES, Size

# Widths and heads of stages 1 .. 7 in multiples of those of the first (paper, Table A2).
STAGE_FACTORS = (1, 2, 4, 8, 4, 2, 1)
# The fusion branch is twice as wide as a Swin single branch, with as many heads.
FUSION_FACTOR = 2
CHANNELS_PER_HEAD = 8
ENCODER_STAGES = (2, 3, 4)
# Decoder stage: the encoder stage whose output it receives as a skip connection.
DECODER_SKIPS = {5: 3, 6: 2, 7: 1}
FINEST_STAGES = (1, 7)
# Widths of blocks 1 .. 9 of the convolutional single branch of the released network, in halves of the base width.
CONVOLUTIONAL_FACTORS = (1, 2, 4, 8, 16, 8, 4, 2, 1)
SINGLE_BRANCHES = ('swin', 'convolutional')


class SwinBranch(nn.Module):
    """A U of seven Swin stages, from half resolution to a sixteenth and back; base of both branches.

    Attributes:
        width: Channels of the first stage.
        num_heads: Attention heads of the first stage.
        depth: Swin blocks of a stage.
        window: (d, h, w) of a window.
        relative_bias: Relative bias of cut windows, see `SwinBlock`.
        remat: Stages that are recomputed in the reverse pass, see `check_remat`; 'full_resolution' are the two stages
            on the finest grid and the convolutional blocks.
    """

    width: int
    num_heads: int
    depth: int = 2
    window: Size = (5, 5, 5)
    relative_bias: str = 'geometric'
    remat: str = 'none'

    def run_stages(self, volume: jax.Array, after: Callable[[int, jax.Array], jax.Array]) -> Features:
        """Run all stages; to be called once, from a compact method.

        Args:
            volume: (B, D, H, W, I).
            after: (number, output of that stage) -> what goes on, downwards and into the skip connections.

        Returns:
            Outputs of stages 1 .. 7.
        """
        width = {number: factor * self.width for number, factor in enumerate(STAGE_FACTORS, 1)}

        def run(number: int, volume: jax.Array) -> jax.Array:
            remat = is_recomputed(self.remat, str(number), full_resolution=number in FINEST_STAGES)
            num_heads = self.num_heads * STAGE_FACTORS[number - 1]
            stage = SwinStage(self.depth, num_heads, self.window, self.relative_bias, remat, name=f'stage_{number}')
            return after(number, stage(volume))

        outputs = {1: run(1, PatchMerging(width[1], name='patch_embedding')(volume))}
        for number in ENCODER_STAGES:
            merged = PatchMerging(width[number], name=f'merging_{number}')(outputs[number - 1])
            outputs[number] = run(number, merged)
        for number, skip in DECODER_SKIPS.items():
            expanded = PatchExpanding(width[number], name=f'expanding_{number}')(outputs[number - 1])
            features_and_skip = jnp.concatenate([expanded, outputs[skip]], axis=-1)
            outputs[number] = run(
                number, Conv3d(width[number], (1, 1, 1), name=f'projection_{number}')(features_and_skip)
            )
        return tuple(outputs[number] for number in sorted(outputs))


class SwinSingleBranch(SwinBranch):
    """Swin U on one image; it provides features for the gates and, with classes, a segmentation.

    Swin stages begin at half resolution. For the segmentation one more patch expanding brings the last stage to full
    resolution, where it is joined with a convolutional block on the image; a second block and a 1 x 1 x 1 convolution
    follow. The paper does not say how its Swin branch segments; this is the form of an early release of its code.

    Attributes:
        num_classes: C, background included; 0 means no segmentation.
    """

    num_classes: int = 0

    @nn.compact
    def __call__(self, image: jax.Array) -> tuple[Features, jax.Array | None]:
        """Map an image (B, D, H, W, 1) to the outputs of stages 1..7 and probabilities (B, D, H, W, C) or None."""
        features = self.run_stages(image, lambda number, output: output)
        segmentation = None
        if self.num_classes:
            block = recomputing(ConvBlock, self.remat, FULL_RESOLUTION, full_resolution=True)
            skip = block(self.width // 2, name='conv_1')(image)
            expanded = PatchExpanding(self.width // 2, name='expanding_8')(features[-1])
            features_and_skip = block(self.width // 2, name='conv_8')(jnp.concatenate([expanded, skip], axis=-1))
            segmentation = SegmentationHead(self.num_classes, name='segmentation_head')(features_and_skip)
        return features, segmentation


class SwinFusionBranch(SwinBranch):
    """Swin U on both images whose every stage is fused with the single branches' features.

    Attributes:
        fusion: Way in which features join the fusion branch, see `fuse_levels`; default 'gate'.
        large_kernel: Whether each gate ends with an efficient large kernel block.
        random_gate_bias: Whether gates start at random biases, see `FusionGate.random_bias`.
        variance: Whether the head predicts a log-variance.
    """

    fusion: str = 'gate'
    large_kernel: bool = True
    random_gate_bias: bool = False
    variance: bool = True

    @nn.compact
    def __call__(
        self, images: jax.Array, fixed: Features, moving: Features
    ) -> tuple[jax.Array, jax.Array | None, dict[str, jax.Array]]:
        """Predict the field as `FusionBranch` does, from features of the seven stages."""
        of_fixed, of_moving = (dict(enumerate(features, 1)) for features in (fixed, moving))
        fuse, gate_weights = fuse_levels(self, of_fixed, of_moving)
        features = self.run_stages(images, fuse)
        head = RegistrationHead(self.variance, STAGE_FACTORS[-1] * self.width, name='registration_head')
        mean, log_variance = head(features[-1])
        return mean, log_variance, gate_weights


class AutoFuseTrans(PairNetwork):
    """AutoFuse-Trans, unsupervised or semi-supervised; attributes that are not listed see `PairNetwork`.

    Attributes:
        base_channels: Width c of a Swin single branch; default 32. The fusion branch has 2c channels, both have c / 8
            attention heads in the first stage.
        single_branch: 'swin' (default) as the paper describes; 'convolutional' is a U-Net of convolutions with c / 2
            channels at full resolution, as in the released semi-supervised network.
        depth: Swin blocks of a stage; default 2, the second with shifted windows.
        window: (d, h, w) of an attention window; default 5 x 5 x 5.
        relative_bias: Rows of the bias table that windows cut to a small volume read: 'geometric' (default)
            reads the row of each offset, 'truncated' the first rows of the whole window's index, as the official code.
        remat: Stages that are recomputed, as in `PairNetwork`; 'full_resolution' also recomputes the Swin stages on the
            finest grid, and 'activations' concerns convolutional blocks and gates only.

    Raises:
        UserError: An option is unknown or out of its range, or `base_channels` is no multiple of 8.
        ValueError: The images' sizes are not multiples of 16.

    Reference:
        Meng et al., AutoFuse, section 3.4 and Table A2.
    """

    base_channels: int = 32
    single_branch: str = 'swin'
    depth: int = 2
    window: Size = (5, 5, 5)
    relative_bias: str = 'geometric'

    def __post_init__(self):
        super().__post_init__()
        check_option('model.single_branch', self.single_branch, SINGLE_BRANCHES)
        check_option('model.relative_bias', self.relative_bias, RELATIVE_BIASES)
        check_multiple('base_channels', self.base_channels, CHANNELS_PER_HEAD, 'heads have that many channels')

    @nn.nowrap
    def branches(self) -> tuple[SwinSingleBranch | SingleBranch, SwinFusionBranch]:
        """Return the single branch, Swin or convolutional, and the Swin fusion branch."""
        common: dict[str, Any] = {
            'num_heads': self.base_channels // CHANNELS_PER_HEAD,
            'depth': self.depth,
            'window': tuple(self.window),
            'relative_bias': self.relative_bias,
            'remat': self.remat,
        }
        single: SwinSingleBranch | SingleBranch
        if self.single_branch == 'swin':
            single = SwinSingleBranch(self.base_channels, num_classes=self.num_classes, name='single_branch', **common)
        else:
            widths = tuple(factor * self.base_channels // 2 for factor in CONVOLUTIONAL_FACTORS)
            single = SingleBranch(widths, self.num_classes, self.remat, name='single_branch')
        fusion = SwinFusionBranch(
            FUSION_FACTOR * self.base_channels,
            fusion=self.fusion,
            large_kernel=self.large_kernel,
            random_gate_bias=self.random_gate_bias,
            variance=self.output == 'velocity',
            name='fusion_branch',
            **common,
        )
        return single, fusion
