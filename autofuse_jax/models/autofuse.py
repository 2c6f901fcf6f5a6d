"""AutoFuse: two single branches with shared weights and a fusion branch, joined by learned gates at seven levels."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from autofuse_jax.fields import integrate_velocity, invert_velocity, upsample_displacement, warp_linear
from autofuse_jax.models.conv_blocks import ConvBlock, downsample, upsample
from autofuse_jax.models.fusion_gate import FusionGate
from autofuse_jax.models.heads import RegistrationHead, SegmentationHead
from autofuse_jax.outputs import RegistrationOutput

# Width of each block in multiples of the base width (paper, Table A1); the fusion branch is twice as wide.
SINGLE_WIDTHS = {1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 2, 8: 2, 9: 1}
FUSION_FACTOR = 2
ENCODER_BLOCKS = (2, 3, 4, 5)
# Decoder block: the encoder block whose output it receives as a skip connection.
DECODER_SKIPS = {6: 4, 7: 3, 8: 2}
GATED_BLOCKS = (2, 3, 4, 5, 6, 7, 8)
SIZE_MULTIPLE = 16

OUTPUTS = ('velocity', 'displacement')
FEEDBACKS = ('softmax', 'argmax')
REMAT_CHOICES = ('none', 'full_resolution', 'all')


def _block(width: int, number: int, remat: str) -> ConvBlock:
    """Make block `number`; blocks 1 and 9 work at full resolution."""
    rematerialise = remat == 'all' or (remat == 'full_resolution' and number in (1, 9))
    block = nn.remat(ConvBlock) if rematerialise else ConvBlock
    return block(width, name=f'conv_{number}')


class SingleBranch(nn.Module):
    """U-Net on one image; it provides features for the gates and, with classes, a segmentation.

    Attributes:
        base_channels: Base width c; default 16.
        num_classes: C, background included; 0 means no segmentation head and no block 9.
        remat: Which blocks are recomputed in the reverse pass: 'none', 'full_resolution' or 'all'.
    """

    base_channels: int = 16
    num_classes: int = 0
    remat: str = 'none'

    @nn.compact
    def __call__(self, image: jax.Array) -> tuple[dict[int, jax.Array], jax.Array | None]:
        """Map an image (B, D, H, W, 1) to the features of blocks 2..8 and probabilities (B, D, H, W, C) or None."""
        width = {number: factor * self.base_channels for number, factor in SINGLE_WIDTHS.items()}
        features = {1: _block(width[1], 1, self.remat)(image)}
        for number in ENCODER_BLOCKS:
            features[number] = _block(width[number], number, self.remat)(downsample(features[number - 1]))
        for number, skip in DECODER_SKIPS.items():
            joined = jnp.concatenate([upsample(features[number - 1]), features[skip]], axis=-1)
            features[number] = _block(width[number], number, self.remat)(joined)
        segmentation = None
        if self.num_classes:
            joined = jnp.concatenate([upsample(features[8]), features[1]], axis=-1)
            features[9] = _block(width[9], 9, self.remat)(joined)
            segmentation = SegmentationHead(self.num_classes, name='segmentation_head')(features[9])
        return {number: features[number] for number in GATED_BLOCKS}, segmentation


class FusionBranch(nn.Module):
    """U-Net on both images whose every level below full resolution is gated with the single branches' features.

    The gated tensor is what goes on, downwards and into the skip connections.

    Attributes:
        base_channels: Base width c of the single branch; this branch is 2c wide.
        large_kernel: Whether each gate ends with an efficient large kernel block.
        random_gate_bias: See `FusionGate.random_bias`.
        variance: Whether the head predicts a log-variance.
        remat: As in `SingleBranch`.
    """

    base_channels: int = 16
    large_kernel: bool = True
    random_gate_bias: bool = False
    variance: bool = True
    remat: str = 'none'

    @nn.compact
    def __call__(
        self, images: jax.Array, fixed: dict[int, jax.Array], moving: dict[int, jax.Array]
    ) -> tuple[jax.Array, jax.Array | None, dict[str, jax.Array]]:
        """Predict the field's mean and log-variance at half resolution.

        Args:
            images: (B, D, H, W, I), the images and, in the semi-supervised network, their segmentations.
            fixed: Features of the fixed image by block number.
            moving: Features of the moving image by block number.

        Returns:
            Mean (B, d, h, w, 3), log-variance (B, d, h, w, 3) or None, and w_fuse of each gate by name.
        """
        width = {number: FUSION_FACTOR * factor * self.base_channels for number, factor in SINGLE_WIDTHS.items()}
        gate_weights = {}

        def gated(number: int, volume: jax.Array) -> jax.Array:
            block = _block(width[number], number, self.remat)(volume)
            gate_class = nn.remat(FusionGate) if self.remat == 'all' else FusionGate
            gate = gate_class(self.large_kernel, self.random_gate_bias, name=f'gate_{number}')
            fused, gate_weights[f'gate_{number}'] = gate(block, fixed[number], moving[number])
            return fused

        features = {1: _block(width[1], 1, self.remat)(images)}
        for number in ENCODER_BLOCKS:
            features[number] = gated(number, downsample(features[number - 1]))
        for number, skip in DECODER_SKIPS.items():
            features[number] = gated(number, jnp.concatenate([upsample(features[number - 1]), features[skip]], axis=-1))
        mean, log_variance = RegistrationHead(self.variance, name='registration_head')(features[8])
        return mean, log_variance, gate_weights


class AutoFuse(nn.Module):
    """AutoFuse with convolutional branches, unsupervised or semi-supervised.

    With classes, the single branch segments both images and the segmentations are fed back into the fusion branch.

    Attributes:
        base_channels: Base width c of the single branch; default 16 as in the paper.
        num_classes: C, background included; 0 (default) is the unsupervised network.
        large_kernel: Efficient large kernel blocks in the gates; default True.
        output: 'velocity' (default) predicts a stationary velocity field that is integrated; 'displacement' predicts a
            half-resolution displacement (AutoFuse-disp).
        segmentation_feedback: 'softmax' (default) feeds all C probabilities of each image, differentiable; 'argmax'
            feeds `argmax_k S_k / C` as one channel per image, without gradient, as the official code does.
        random_gate_bias: See `FusionGate.random_bias`; default False.
        remat: 'none' (default), 'full_resolution' or 'all': which blocks are recomputed in the reverse pass to save
            memory.

    Raises:
        ValueError: An option is unknown, or the images' sizes are not multiples of 16.

    Reference:
        Meng et al., AutoFuse: Automatic fusion networks for deformable medical image registration, Pattern
        Recognition 161, 2025, sections 3.1-3.3 and appendix A.
    """

    base_channels: int = 16
    num_classes: int = 0
    large_kernel: bool = True
    output: str = 'velocity'
    segmentation_feedback: str = 'softmax'
    random_gate_bias: bool = False
    remat: str = 'none'

    @nn.compact
    def __call__(self, fixed: jax.Array, moving: jax.Array, noise: jax.Array | None = None) -> RegistrationOutput:
        """Register pairs of images.

        Args:
            fixed: (B, D, H, W, 1), intensities in [0, 1]; D, H, W multiples of 16.
            moving: (B, D, H, W, 1), intensities in [0, 1].
            noise: (B, D / 2, H / 2, W / 2, 3) standard normal; the velocity is then `mean + exp(log_variance / 2) *
                noise`, as in training. None (default) takes the mean, so that inference is deterministic.

        Returns:
            The named output.
        """
        self._check(fixed, moving)
        # Interleaved along the batch, so that a pair stays on its device when the batch is sharded.
        batch = fixed.shape[0]
        images = jnp.stack([fixed, moving], axis=1).reshape(2 * batch, *fixed.shape[1:])
        single = SingleBranch(self.base_channels, self.num_classes, self.remat, name='single_branch')
        features, segmentation = single(images)
        fixed_features = {number: volume[0::2] for number, volume in features.items()}
        moving_features = {number: volume[1::2] for number, volume in features.items()}
        inputs = [fixed, moving]
        fixed_segmentation = moving_segmentation = None
        if segmentation is not None:
            fixed_segmentation, moving_segmentation = segmentation[0::2], segmentation[1::2]
            inputs += [self._feedback(fixed_segmentation), self._feedback(moving_segmentation)]
        fusion = FusionBranch(
            self.base_channels,
            self.large_kernel,
            self.random_gate_bias,
            self.output == 'velocity',
            self.remat,
            name='fusion_branch',
        )
        mean, log_variance, gate_weights = fusion(jnp.concatenate(inputs, axis=-1), fixed_features, moving_features)
        displacement, inverse_displacement = self._displacements(mean, log_variance, noise)
        return RegistrationOutput(
            displacement=displacement,
            warped=jax.vmap(warp_linear)(moving, displacement),
            velocity_mean=mean,
            inverse_displacement=inverse_displacement,
            log_variance=log_variance,
            fixed_segmentation=fixed_segmentation,
            moving_segmentation=moving_segmentation,
            gate_weights=gate_weights,
        )

    def _displacements(
        self, mean: jax.Array, log_variance: jax.Array | None, noise: jax.Array | None
    ) -> tuple[jax.Array, jax.Array | None]:
        # Fields are integrated in float32 or better whatever the network computes in: a half-precision voxel index is
        # off by half a voxel from 1024 on, and by far too much for a Jacobian before.
        wide = jnp.promote_types(mean.dtype, jnp.float32)
        field = mean.astype(wide)
        if noise is not None and log_variance is not None:
            field = field + jnp.exp(0.5 * log_variance.astype(wide)) * noise
        if self.output == 'displacement':
            return jax.vmap(upsample_displacement)(field), None
        forward, backward = jax.vmap(integrate_velocity)(field), jax.vmap(invert_velocity)(field)
        # What nobody uses of this is removed by the compiler.
        return jax.vmap(upsample_displacement)(forward), jax.vmap(upsample_displacement)(backward)

    def _feedback(self, segmentation: jax.Array) -> jax.Array:
        if self.segmentation_feedback == 'softmax':
            return segmentation
        index = jnp.argmax(segmentation, axis=-1, keepdims=True)
        return index.astype(segmentation.dtype) / self.num_classes

    def _check(self, fixed: jax.Array, moving: jax.Array) -> None:
        for name, value, known in (
            ('output', self.output, OUTPUTS),
            ('segmentation_feedback', self.segmentation_feedback, FEEDBACKS),
            ('remat', self.remat, REMAT_CHOICES),
        ):
            if value not in known:
                raise ValueError(f'{name} is {value!r}, expected one of {known}.')
        if fixed.shape != moving.shape or fixed.ndim != 5 or fixed.shape[-1] != 1:
            raise ValueError(f'fixed {fixed.shape} and moving {moving.shape} must both be (B, D, H, W, 1).')
        if any(size % SIZE_MULTIPLE for size in fixed.shape[1:4]):
            fitting = tuple(-(-size // SIZE_MULTIPLE) * SIZE_MULTIPLE for size in fixed.shape[1:4])
            raise ValueError(
                f'images have size {fixed.shape[1:4]}, expected multiples of {SIZE_MULTIPLE}; pad them to {fitting}.'
            )
