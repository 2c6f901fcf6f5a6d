"""AutoFuse: two single branches with shared weights and a fusion branch, joined by learned gates at seven levels."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from autofuse_jax.models.conv_blocks import upsample
from autofuse_jax.models.fusion_gate import fuse_levels
from autofuse_jax.models.fusion_unet import FUSED_BLOCKS, conv_block, decode, encode, numbered
from autofuse_jax.models.heads import RegistrationHead, SegmentationHead
from autofuse_jax.models.pair_network import Features, PairNetwork

# Widths of blocks 1 .. 9 in multiples of the base width (paper, Table A1); the fusion branch is twice as wide and has
# no block 9.
SINGLE_WIDTHS = (1, 2, 2, 4, 4, 4, 2, 2, 1)
FUSION_FACTOR = 2


class SingleBranch(nn.Module):
    """U-Net on one image; it provides features for the gates and, with classes, a segmentation.

    Attributes:
        widths: Channels of blocks 1 .. 9; the ninth exists with classes only.
        num_classes: C, background included; 0 means no segmentation head and no block 9.
        remat: Which blocks are recomputed in the reverse pass, see `check_remat`.
    """

    widths: tuple[int, ...]
    num_classes: int = 0
    remat: str = 'none'

    @nn.compact
    def __call__(self, image: jax.Array) -> tuple[Features, jax.Array | None]:
        """Map an image (B, D, H, W, 1) to the features of blocks 2..8 and probabilities (B, D, H, W, C) or None."""
        width = numbered(self.widths)
        features = decode(encode(image, width, self.remat), width, self.remat)
        segmentation = None
        if self.num_classes:
            joined = jnp.concatenate([upsample(features[8]), features[1]], axis=-1)
            segmented = conv_block(9, width[9], self.remat)(joined)
            segmentation = SegmentationHead(self.num_classes, name='segmentation_head')(segmented)
        return tuple(features[number] for number in FUSED_BLOCKS), segmentation


class FusionBranch(nn.Module):
    """U-Net on both images whose every level below full resolution is fused with the single branches' features.

    The fused tensor is what goes on, downwards and into the skip connections.

    Attributes:
        widths: Channels of blocks 1 .. 8; twice those of the single branch at the fused blocks.
        fusion: How features join the fusion branch, see `fuse_levels`; default 'gate'.
        large_kernel: Whether each gate ends with an efficient large kernel block.
        random_gate_bias: Whether gates start at random biases, see `FusionGate.random_bias`.
        variance: Whether the head predicts a log-variance.
        remat: Stages that are recomputed, as in `SingleBranch`.
    """

    widths: tuple[int, ...]
    fusion: str = 'gate'
    large_kernel: bool = True
    random_gate_bias: bool = False
    variance: bool = True
    remat: str = 'none'

    @nn.compact
    def __call__(
        self, images: jax.Array, fixed: Features, moving: Features
    ) -> tuple[jax.Array, jax.Array | None, dict[str, jax.Array]]:
        """Predict the field's mean and log-variance at half resolution.

        Args:
            images: (B, D, H, W, I), the images and, in the semi-supervised network, their segmentations.
            fixed: Features of the fixed image at the seven levels.
            moving: Features of the moving image at the seven levels.

        Returns:
            Mean (B, d, h, w, 3), log-variance (B, d, h, w, 3) or None, and w_fuse of each gate by name.
        """
        width = numbered(self.widths)
        of_fixed, of_moving = (dict(zip(FUSED_BLOCKS, features, strict=True)) for features in (fixed, moving))
        fuse, gate_weights = fuse_levels(self, of_fixed, of_moving)
        features = decode(encode(images, width, self.remat, fuse), width, self.remat, fuse)
        head = RegistrationHead(self.variance, width[8], name='registration_head')
        mean, log_variance = head(features[8])
        return mean, log_variance, gate_weights


class AutoFuse(PairNetwork):
    """AutoFuse with convolutional branches, unsupervised or semi-supervised; attributes see `PairNetwork`.

    Reference:
        Meng et al., AutoFuse: Automatic fusion networks for deformable medical image registration, Pattern
        Recognition 161, 2025, sections 3.1-3.3 and appendix A.
    """

    def branches(self) -> tuple[SingleBranch, FusionBranch]:
        """Return both branches, U-Nets of convolutions."""
        width = self.base_channels
        single = SingleBranch(
            tuple(factor * width for factor in SINGLE_WIDTHS), self.num_classes, self.remat, name='single_branch'
        )
        fusion = FusionBranch(
            tuple(FUSION_FACTOR * factor * width for factor in SINGLE_WIDTHS[:-1]),
            self.fusion,
            self.large_kernel,
            self.random_gate_bias,
            self.output == 'velocity',
            self.remat,
            name='fusion_branch',
        )
        return single, fusion
