"""RSegNet: one network registers, another segments, and losses through the map and its inverse join them."""

from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from autofuse_jax.models.class_probabilities import check_num_classes, with_background
from autofuse_jax.models.conv3d import Conv3d
from autofuse_jax.models.field_outputs import check_pair, of_velocity
from autofuse_jax.models.heads import log_variance_convolution, mean_convolution
from autofuse_jax.models.options import check_network
from autofuse_jax.models.pair_network import of_both
from autofuse_jax.models.voxelmorph import Layout
from autofuse_jax.models.voxelmorph_unet import STRIDE, UNet
from autofuse_jax.outputs import RegistrationOutput

ENCODER = (1, 2, 2, 4)
# From a sixteenth to half of the size. The segmentation goes on to full size, where it joins the image.
REGISTRATION = Layout(((4, 4), (2,), (2,), (2, 1)), STRIDE, ENCODER)
SEGMENTATION = Layout(((4, 4), (2,), (2,), (2,), (1,)), STRIDE, ENCODER)


class RSegNet(nn.Module):
    """RSegNet: a diffeomorphic registration subnet and a segmentation subnet without common weights.

    `v = mean + exp(log_variance / 2) noise` from `[I_m, I_f]`, `phi = exp(v)`, `phi^-1 = exp(-v)` by 7 squarings at
    half resolution, doubled in values and size; `S = sigmoid(segmentation(I))` of each image, one channel a structure.

    No code was published. Layers, widths and the losses are the paper's; its figure prints two input channels for the
    segmentation, its text says the image alone, which is taken. Inferred: LeakyReLU 0.2, nearest up-sampling, the 3 x 3
    x 3 kernel of the segmentation's output, 7 squarings, and the start of the velocity (near zero, log-variance -10).
    Structures are independent sigmoids as in the paper; background is put before them, see `with_background`.

    The parameters have the top-level keys 'registration' (515,334) and 'segmentation' (514,035 for 4 classes, 520,963
    for 20).

    Attributes:
        num_classes: C, background included, at least 2; default 4.
        base_channels: Width of the first convolution; default 16.

    Raises:
        UserError: `num_classes` is less than 2, or another option out of its range.
        ValueError: The images' sizes are not multiples of 16.

    Reference:
        Qiu and Ren, RSegNet: A joint learning framework for deformable registration and segmentation, IEEE
        Transactions on Automation Science and Engineering 19(3), 2022.
    """

    num_classes: int = 4
    base_channels: int = 16

    # What the grid of the noise, which is that of the velocity, is coarser by than the images'.
    noise_factor: ClassVar[int] = 2

    def __post_init__(self):
        check_num_classes(self.num_classes)
        check_network(self)
        super().__post_init__()

    @nn.compact
    def __call__(self, fixed: jax.Array, moving: jax.Array, noise: jax.Array | None = None) -> RegistrationOutput:
        """Register and segment pairs of images.

        Args:
            fixed: (B, D, H, W, 1), intensities in [0, 1]; D, H, W multiples of 16.
            moving: (B, D, H, W, 1), intensities in [0, 1].
            noise: (B, D / 2, H / 2, W / 2, 3) standard normal; None (default): the velocity is the mean.

        Returns:
            Both maps, the warped image, mean and log-variance of the velocity, and both segmentations: background
            `1 - max_k p_k`, then the structures' own probabilities p_k. They sum to 1 after `normalised` only.
        """
        check_pair(fixed, moving)
        registration = RegistrationSubnet(self.base_channels, name='registration')
        segmentation = SegmentationSubnet(self.num_classes - 1, self.base_channels, name='segmentation')
        mean, log_variance = registration(jnp.concatenate([moving, fixed], axis=-1))
        of_fixed, of_moving = of_both(segmentation, fixed, moving)
        segmentations = {
            'fixed_segmentation': with_background(of_fixed),
            'moving_segmentation': with_background(of_moving),
        }
        return of_velocity(mean, moving, log_variance, noise, **segmentations)


class RegistrationSubnet(nn.Module):
    """The subnet that predicts a velocity's distribution.

    Attributes:
        base_channels: Width of the first convolution; default 16.
    """

    base_channels: int = 16

    @nn.compact
    def __call__(self, pair: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Map the pair (B, D, H, W, 2) to mean and log-variance, (B, D / 2, H / 2, W / 2, 3) each."""
        features = UNet(**REGISTRATION.options(self.base_channels), name='unet')(pair)
        return mean_convolution('mean')(features), log_variance_convolution('log_variance')(features)


class SegmentationSubnet(nn.Module):
    """The subnet that segments one image.

    Attributes:
        structures: Number of structures, background not included.
        base_channels: Width of the first convolution; default 16.
    """

    structures: int
    base_channels: int = 16

    @nn.compact
    def __call__(self, image: jax.Array) -> jax.Array:
        """Map (B, D, H, W, 1) to the structures' independent probabilities (B, D, H, W, structures)."""
        features = UNet(**SEGMENTATION.options(self.base_channels), name='unet')(image)
        return jax.nn.sigmoid(Conv3d(self.structures, name='structures')(features))
