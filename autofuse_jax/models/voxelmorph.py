"""VoxelMorph and its diffeomorphic form: one U-Net on the concatenated pair."""

import dataclasses
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from autofuse_jax.fields.resize import resize_align_corners
from autofuse_jax.models.conv3d import uniform_fan_in
from autofuse_jax.models.field_outputs import check_pair, of_displacement, of_velocity, widened
from autofuse_jax.models.heads import log_variance_convolution, mean_convolution
from autofuse_jax.models.one_pass import OnePassNetwork
from autofuse_jax.models.options import check_network
from autofuse_jax.models.voxelmorph_unet import MAX_POOL, STRIDE, UNet, VoxelMorphUNet
from autofuse_jax.outputs import RegistrationOutput

CURRENT, TMI_2019 = 'current', '2019'
HALF, FULL = 'half_resolution', 'full_resolution'
# What the noise's grid is coarser by than the images'.
NOISE_FACTORS = {HALF: 2, FULL: 1}


@dataclasses.dataclass(frozen=True)
class Layout:
    """Widths of a `UNet` in multiples of the base width, and its way down; see `UNet`."""

    decoder: tuple[tuple[int, ...], ...]
    downsampling: str
    encoder: tuple[int, ...] = (1, 2, 2, 2)

    def options(self, base_channels: int) -> dict[str, Any]:
        """Return the options of `UNet` for a base width."""
        return {
            'encoder': tuple(factor * base_channels for factor in self.encoder),
            'decoder': tuple(tuple(factor * base_channels for factor in level) for level in self.decoder),
            'downsampling': self.downsampling,
        }


POOLED = Layout(((2,), (2,), (2,), (2,), (2, 1, 1)), MAX_POOL)
LAYOUTS = {CURRENT: POOLED, TMI_2019: Layout(((2,), (2,), (2,), (2, 2), (1, 1)), STRIDE)}
VELOCITY_LAYOUTS = {HALF: Layout(((2,), (2,), (2,), (2, 1)), STRIDE), FULL: POOLED}


class VoxelMorph(OnePassNetwork):
    """VoxelMorph: a U-Net predicts a displacement at full resolution, `u = flow(U([I_m, I_f]))`.

    The layers, the order of the input (moving first) and the initialisation of 'current' are those of the official
    PyTorch code, those of '2019' of the paper's VoxelMorph-2 in TensorFlow, with he-normal kernels. Inferred: strided
    convolutions of '2019' pad one voxel on both sides, as in the PyTorch code, where TensorFlow pads at the far end.
    Nothing was corrected, and no switch is needed to replay official weights of 'current'.

    Attributes:
        variant: 'current' (default): pooled encoder, three convolutions at full resolution, 327,331 parameters;
            '2019': strided encoder, the images themselves as the last skip, 300,547 parameters.
        base_channels: Width of the first convolution, half that of the inner ones; default 16.

    Raises:
        UserError: The variant is unknown or `base_channels` no whole number of 1 or more.
        ValueError: The images' sizes are not multiples of 16.

    Reference:
        Balakrishnan et al., VoxelMorph: A learning framework for deformable medical image registration, IEEE TMI 38,
        2019.
    """

    variant: str = CURRENT
    base_channels: int = 16

    domains: ClassVar = {'variant': LAYOUTS}

    def register_pair(self, fixed: jax.Array, moving: jax.Array) -> RegistrationOutput:
        """Return displacement and warped image."""
        options = LAYOUTS[self.variant].options(self.base_channels)
        initial = _he_normal() if self.variant == TMI_2019 else _pytorch()
        network = VoxelMorphUNet(**options, **initial, name='field')
        return of_displacement(network(jnp.concatenate([moving, fixed], axis=-1)), moving)


class DiffeomorphicVoxelMorph(nn.Module):
    """Diffeomorphic VoxelMorph: a U-Net predicts a velocity's distribution, the map is the velocity's integral.

    `v = mean + exp(log_variance / 2) noise`, integrated by 7 squarings at half resolution, then doubled in values and
    size.

    Layers, heads and their initialisation are those of the official TensorFlow code: the network of the MICCAI 2018
    paper, or the current one with `use_probs`. Inferred: which of them published comparisons used; the text of the
    AutoFuse paper describes 'half_resolution'. Strided convolutions pad one voxel on both sides. Changed: prediction
    takes the mean velocity, where the official code samples there too.

    Attributes:
        variant: 'half_resolution' (default): strided encoder, velocity predicted at half resolution, 266,374
            parameters; 'full_resolution': VoxelMorph's current network with a second head; the sampled velocity is
            halved in values and size before it is integrated, 328,630 parameters.
        base_channels: Width of the first convolution, half that of the inner ones; default 16.

    Raises:
        UserError: The variant is unknown or `base_channels` no whole number of 1 or more.
        ValueError: The images' sizes are not multiples of 16.

    Reference:
        Dalca et al., Unsupervised learning of probabilistic diffeomorphic registration for images and surfaces,
        Medical Image Analysis 57, 2019.
    """

    variant: str = HALF
    base_channels: int = 16

    def __post_init__(self):
        check_network(self, variant=VELOCITY_LAYOUTS)
        super().__post_init__()

    @property
    def noise_factor(self) -> int:
        """What the grid of the noise is coarser by than that of the images."""
        return NOISE_FACTORS[self.variant]

    @nn.compact
    def __call__(self, fixed: jax.Array, moving: jax.Array, noise: jax.Array | None = None) -> RegistrationOutput:
        """Register pairs of images.

        Args:
            fixed: (B, D, H, W, 1), intensities in [0, 1]; D, H, W multiples of 16.
            moving: (B, D, H, W, 1), intensities in [0, 1].
            noise: Standard normal, (B, D / s, H / s, W / s, 3) with s = `noise_factor`; None (default): the velocity is
                the mean.

        Returns:
            Both maps, the warped image, and mean and log-variance of the velocity on the grid they are predicted on.
        """
        check_pair(fixed, moving)
        options = VELOCITY_LAYOUTS[self.variant].options(self.base_channels)
        features = UNet(**options, **_he_normal(), name='unet')(jnp.concatenate([moving, fixed], axis=-1))
        mean, log_variance = mean_convolution('mean')(features), log_variance_convolution('log_variance')(features)
        if self.variant == HALF:
            return of_velocity(mean, moving, log_variance, noise)
        velocity = widened(mean)
        if noise is not None:
            velocity = velocity + jnp.exp(0.5 * widened(log_variance)) * noise
        halved = resize_align_corners(0.5 * velocity, tuple(size // 2 for size in velocity.shape[1:4]))
        return dataclasses.replace(of_velocity(halved, moving), velocity_mean=mean, log_variance=log_variance)


def _he_normal() -> dict[str, Any]:
    return {'kernel_init': nn.initializers.he_normal(), 'bias_init': nn.initializers.zeros_init()}


def _pytorch() -> dict[str, Any]:
    return {'kernel_init': uniform_fan_in, 'bias_init': None}
