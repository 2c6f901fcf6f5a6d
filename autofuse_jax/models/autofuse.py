"""AutoFuse: two single branches with shared weights and a fusion branch, joined by learned gates at seven levels."""

from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from autofuse_jax.errors import COUNT, Range, UserError, check_numbers
from autofuse_jax.models.conv_blocks import CUBE, Factor, downsample, upsample
from autofuse_jax.models.descent import DescentBranch
from autofuse_jax.models.fusion_gate import fuse_levels
from autofuse_jax.models.fusion_unet import FUSED_BLOCKS, LEVELS, conv_block, decode, encode, numbered, thin_blocks
from autofuse_jax.models.heads import RegistrationHead, SegmentationHead
from autofuse_jax.models.pair_network import SAME_GRID, Features, PairNetwork
from autofuse_jax.models.plane_branch import PlaneBranch

# Widths of blocks 1 .. 9 in multiples of the base width (paper, Table A1); the fusion branch is twice as wide and has
# no block 9.
SINGLE_WIDTHS = (1, 2, 2, 4, 4, 4, 2, 2, 1)
FUSION_FACTOR = 2
AT_LEAST_0 = Range(least=0, whole=True)


class SingleBranch(nn.Module):
    """U-Net on one image; it provides features for the gates and, with classes, a segmentation.

    Attributes:
        widths: Channels of blocks 1 .. 9; the ninth exists with classes only.
        num_classes: C, background included; 0 means no segmentation head and no block 9.
        remat: Blocks that are recomputed in the reverse pass, see `check_remat`.
        pooling: Voxels of the image averaged into one voxel of block 1; default 1 x 1 x 1. Otherwise block 0 works on
            the image before, and with classes block 10 after block 9, so that the segmentation is as fine as the image.
        fine_width: Channels of blocks 0 and 10.
        thin_levels: Number of levels, from the finest on, whose kernels are 3 x 3 x 1; default 0.
        compare_slices: Whether the first kernel of all is 3 x 3 x 3 even so; default False.
        background_in_padding: Whether slices along the third axis without any intensity are background; default False.
    """

    widths: tuple[int, ...]
    num_classes: int = 0
    remat: str = 'none'
    pooling: tuple[int, ...] = SAME_GRID
    fine_width: int = 0
    thin_levels: int = 0
    compare_slices: bool = False
    background_in_padding: bool = False

    @nn.compact
    def __call__(self, image: jax.Array) -> tuple[Features, jax.Array | None]:
        """Map an image (B, D, H, W, 1) to the features of blocks 2..8 and probabilities (B, D, H, W, C) or None."""
        width, fine = numbered(self.widths), self.pooling != SAME_GRID
        thin = thin_blocks(self.thin_levels, fine=fine)
        volume, first_kernel = image, CUBE if self.compare_slices else None
        if fine:
            finest = conv_block(0, self.fine_width, self.remat, thin, first_kernel=first_kernel)(image)
            volume, first_kernel = downsample(finest, self.pooling), None
        encoded = encode(volume, width, self.remat, thin=thin, first_kernel=first_kernel)
        features = decode(encoded, width, self.remat, thin=thin)
        segmentation = None
        if self.num_classes:
            features_and_skip = jnp.concatenate([upsample(features[8]), features[1]], axis=-1)
            segmented = conv_block(9, width[9], self.remat, thin)(features_and_skip)
            if fine:
                features_and_skip = jnp.concatenate([upsample(segmented, self.pooling), finest], axis=-1)
                segmented = conv_block(10, self.fine_width, self.remat, thin)(features_and_skip)
            segmentation = SegmentationHead(self.num_classes, name='segmentation_head')(segmented)
            if self.background_in_padding:
                background = jax.nn.one_hot(0, self.num_classes, dtype=segmentation.dtype)
                segmentation = jnp.where(jnp.any(image > 0, axis=(1, 2), keepdims=True), segmentation, background)
        return tuple(features[number] for number in FUSED_BLOCKS), segmentation


class FusionBranch(nn.Module):
    """U-Net on both images whose every level below full resolution is fused with the single branches' features.

    The fused tensor is what goes on, downwards and into the skip connections.

    Attributes:
        widths: Channels of blocks 1 .. 8; twice those of the single branch at the fused blocks.
        fusion: Way in which features join the fusion branch, see `fuse_levels`; default 'gate'.
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
    """AutoFuse with convolutional branches, unsupervised or semi-supervised; other attributes see `PairNetwork`.

    The attributes here are not in the paper. They make a branch that segments thick slices at their in-plane
    resolution affordable, where the motion, which is smooth, is predicted on a coarser grid.

    Attributes:
        fusion_channels: Base width of the fusion branch; default 0: twice that of the single branch, as in the paper.
        refining_channels: Base width of a second fusion branch, which sees the moving image where the first one puts it
            and corrects the velocity, see `refinement`; default 0: there is none.
        descent_channels: Base width of a branch that corrects the velocity several times, told by the forces that are
            left, see `descent`; default 0: there is none.
        descent_steps: How many times; default 3.
        plane_channels: Base width of a branch that segments plane by plane, see `plane_branch`; the segmentation is
            then the mean of its own and the single branch's. Default 0: there is none.
        fine_channels: Width of the single branch's blocks on the images' grid where `fusion_pooling` makes the fusion
            branch's coarser; default 0: `base_channels`.
        thin_levels: Number of levels of the single branch, from the finest on, whose kernels are 3 x 3 x 1, which do
            not join slices; default 0.
        compare_slices: Whether the first kernel of the single branch joins each slice with its neighbours even where
            `thin_levels` makes it thin; default False. Where thick slices were interpolated, a slice alone does not
            show which of the two around it it is more like, and the label is that one's. With one channel to look at,
            this costs hardly anything.
        background_in_padding: Whether slices along the third axis without any intensity, which padding left, are
            segmented as background; default False. Phases that train the segmentation alone do not look at them, so
            that anything might be there.
        fusion_pooling: Voxels of the images averaged into one voxel of the fusion branch; default 1 x 1 x 1. The
            velocity is then this many times coarser than half resolution.
        fine_pooling: Voxels of the images averaged into one voxel of the single branch's block 1, divisors of
            `fusion_pooling`, so that a branch may see finer slices than the other; default zeros: `fusion_pooling`.

    Raises:
        UserError: `thin_levels` is more than the branch has, `fine_pooling` does not divide `fusion_pooling`, a
            displacement is to be corrected, or planes are to be segmented without classes.

    Reference:
        Meng et al., AutoFuse: Automatic fusion networks for deformable medical image registration, Pattern
        Recognition 161, 2025, sections 3.1-3.3 and appendix A.
    """

    fusion_channels: int = 0
    refining_channels: int = 0
    descent_channels: int = 0
    descent_steps: int = 3
    plane_channels: int = 0
    fine_channels: int = 0
    thin_levels: int = 0
    compare_slices: bool = False
    background_in_padding: bool = False
    fusion_pooling: Factor = SAME_GRID
    # No count along each axis, as zeros stand for another option.
    fine_pooling: tuple = (0, 0, 0)

    RANGES: ClassVar[dict[str, Range]] = {
        'fusion_channels': AT_LEAST_0,
        'refining_channels': AT_LEAST_0,
        'descent_channels': AT_LEAST_0,
        'descent_steps': COUNT,
        'plane_channels': AT_LEAST_0,
        'fine_channels': AT_LEAST_0,
        'thin_levels': Range(least=0, below=len(LEVELS), whole=True),
    }

    def __post_init__(self):
        super().__post_init__()
        check_numbers('model.fusion_pooling', self.fusion_pooling, COUNT, count=3)
        check_numbers('model.fine_pooling', self.fine_pooling, AT_LEAST_0, count=3)
        for option in ('refining_channels', 'descent_channels'):
            if getattr(self, option) and self.output != 'velocity':
                raise UserError(
                    f'model.{option} is {getattr(self, option)} and model.output {self.output!r}',
                    expected="model.output='velocity', because velocities are added",
                    fix=f'set model.{option}=0',
                )
        if self.plane_channels and not self.num_classes:
            raise UserError(
                f'model.plane_channels is {self.plane_channels} and model.num_classes 0',
                expected='a network with classes, because planes are segmented',
                fix='set model.plane_channels=0',
            )
        fine = self._fine_pooling()
        if any(step < 1 or whole % step for whole, step in zip(self.pooling, fine, strict=True)):
            raise UserError(
                f'model.fine_pooling is {fine}',
                expected=f'divisors of model.fusion_pooling {self.pooling}, or zeros',
                fix='correct model.fine_pooling',
            )

    @property
    def pooling(self) -> tuple[int, ...]:
        """Voxels of the images that are averaged into one of the fusion branch."""
        return tuple(self.fusion_pooling)

    @property
    def feature_pooling(self) -> tuple[int, ...]:
        """Voxels of the single branch's features that are averaged into one of the fusion branch."""
        return tuple(whole // fine for whole, fine in zip(self.pooling, self._fine_pooling(), strict=True))

    @nn.nowrap
    def _fine_pooling(self) -> tuple[int, ...]:
        return tuple(self.fine_pooling) if any(self.fine_pooling) else self.pooling

    @nn.nowrap
    def branches(self) -> tuple[SingleBranch, FusionBranch]:
        """Return both branches, U-Nets of convolutions."""
        width = self.base_channels
        single = SingleBranch(
            tuple(factor * width for factor in SINGLE_WIDTHS),
            self.num_classes,
            self.remat,
            self._fine_pooling(),
            self.fine_channels or width,
            self.thin_levels,
            self.compare_slices,
            self.background_in_padding,
            name='single_branch',
        )
        return single, self._fusion_branch(self.fusion_channels or FUSION_FACTOR * width, 'fusion_branch')

    @nn.nowrap
    def refining_branch(self) -> FusionBranch | None:
        """Return the branch that corrects the velocity of the first, or None."""
        return self._fusion_branch(self.refining_channels, 'refining_branch') if self.refining_channels else None

    @nn.nowrap
    def descent_branch(self) -> DescentBranch | None:
        """Return the branch that corrects the velocity step by step, or None, see `PairNetwork.descent_branch`."""
        return DescentBranch(self.descent_channels, name='descent_branch') if self.descent_channels else None

    @nn.nowrap
    def plane_branch(self) -> PlaneBranch | None:
        """Return the branch that segments plane by plane, or None, see `PairNetwork.plane_branch`."""
        channels = self.plane_channels
        return PlaneBranch(channels, self.num_classes, name='plane_branch') if channels else None

    @nn.nowrap
    def _fusion_branch(self, width: int, name: str) -> FusionBranch:
        return FusionBranch(
            tuple(factor * width for factor in SINGLE_WIDTHS[:-1]),
            self.fusion,
            self.large_kernel,
            self.random_gate_bias,
            self.output == 'velocity',
            self.remat,
            name=name,
        )
