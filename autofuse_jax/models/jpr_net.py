"""JPR-Net: one encoder for both images, one decoder that segments each and one that registers the pair."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from autofuse_jax.fields import integrate_velocity, invert_velocity
from autofuse_jax.models.class_probabilities import check_num_classes
from autofuse_jax.models.conv3d import Conv3d, Initializer, uniform_fan_in
from autofuse_jax.models.conv_blocks import downsample
from autofuse_jax.models.field_outputs import of_displacement, widened
from autofuse_jax.models.heads import MEAN_KERNEL_STDDEV
from autofuse_jax.models.norm_block import NormBlock
from autofuse_jax.models.one_pass import OnePassNetwork
from autofuse_jax.models.pair_network import of_both
from autofuse_jax.models.resolution import TransposedConv
from autofuse_jax.outputs import RegistrationOutput

LEVELS = 5


class JPRNet(OnePassNetwork):
    """JPR-Net in 3-D: registration and parcellation by two decoders on a shared encoder.

    Both images go through the encoder and the parcellation decoder, which has the skips of its image. The registration
    decoder starts from both coarsest features and has the skips `[moving, fixed]` of both. The decoders exchange
    nothing else: what they learn from one another comes through the encoder and the losses.

    The topology is that of the authors' network class for cortical surfaces, with 3-D operators in place of spherical
    ones, as Meng et al. compare with it: 3 x 3 x 3 convolutions, average pooling, transposed convolutions of kernel and
    stride 2, and instance norm with scale and shift in place of their batch norm, which saw one sample at a time.
    Inferred: the width, a displacement without integration, and its start near zero. The authors' later code integrates
    a velocity by 6 squarings after division by 30, a unit of the sphere; `integrate` does so by 7 and in voxels.

    The parameters have the top-level keys 'encoder' (884,712), 'parcellation' (528,556 for 4 classes) and
    'registration' (740,963).

    Attributes:
        num_classes: C, background included, at least 2; default 4.
        base_channels: Width at full resolution, doubled at each of the four coarser levels; default 8.
        integrate: Whether a stationary velocity is predicted at full resolution and integrated; default False: a
            displacement.

    Raises:
        UserError: `num_classes` is less than 2, or another option out of its range.
        ValueError: The images' sizes are not multiples of 16.

    Reference:
        Zhao et al., A deep network for joint registration and parcellation of cortical surfaces, MICCAI 2021.
    """

    num_classes: int = 4
    base_channels: int = 8
    integrate: bool = False

    def __post_init__(self):
        check_num_classes(self.num_classes)
        super().__post_init__()

    def register_pair(self, fixed: jax.Array, moving: jax.Array) -> RegistrationOutput:
        """Return displacement, warped image and the class probabilities of both images.

        With `integrate` also the inverse displacement and the velocity at full resolution.
        """
        widths = tuple(self.base_channels * 2**level for level in range(LEVELS))
        encoder = Encoder(widths, name='encoder')
        parcellation = Decoder(widths[-2::-1], self.num_classes, name='parcellation')
        near_zero = nn.initializers.normal(MEAN_KERNEL_STDDEV)
        registration = Decoder(widths[-2::-1], 3, near_zero, nn.initializers.zeros_init(), name='registration')

        def branch(image: jax.Array) -> tuple[tuple[jax.Array, ...], jax.Array]:
            features = encoder(image)
            return features, jax.nn.softmax(parcellation(features), axis=-1)

        (fixed_features, fixed_classes), (moving_features, moving_classes) = of_both(branch, fixed, moving)
        pairs = zip(moving_features, fixed_features, strict=True)
        flow = registration(tuple(jnp.concatenate(pair, axis=-1) for pair in pairs))
        classes = {'fixed_segmentation': fixed_classes, 'moving_segmentation': moving_classes}
        if not self.integrate:
            return of_displacement(flow, moving, **classes)
        velocity = widened(flow)
        forward, backward = jax.vmap(integrate_velocity)(velocity), jax.vmap(invert_velocity)(velocity)
        return of_displacement(forward, moving, velocity_mean=velocity, inverse_displacement=backward, **classes)


class Encoder(nn.Module):
    """Blocks of two convolutions, between them average pooling.

    Attributes:
        widths: Channels of the blocks, from full resolution down.
    """

    widths: tuple[int, ...]

    @nn.compact
    def __call__(self, image: jax.Array) -> tuple[jax.Array, ...]:
        """Map (B, D, H, W, 1) to the features of all levels, the i-th of size 1 / 2^i."""
        levels, volume = [], image
        for level, width in enumerate(self.widths):
            volume = NormBlock(width, name=f'block_{level + 1}')(downsample(volume) if level else volume)
            levels.append(volume)
        return tuple(levels)


class Decoder(nn.Module):
    """Up-sampling by transposed convolutions with skips, and a 1 x 1 x 1 convolution at full resolution.

    Attributes:
        widths: Channels of the levels on the way up, the last at full resolution.
        outputs: Number of output channels.
        kernel_init: Initialiser of the last convolution's kernel; default PyTorch's.
        bias_init: Initialiser of its bias; default None is PyTorch's.
    """

    widths: tuple[int, ...]
    outputs: int
    kernel_init: Initializer = uniform_fan_in
    bias_init: Initializer | None = None

    @nn.compact
    def __call__(self, features: tuple[jax.Array, ...]) -> jax.Array:
        """Map the features of all levels, finest first, to (B, D, H, W, outputs)."""
        *skips, volume = features
        for number, width in enumerate(self.widths, 1):
            volume = TransposedConv(width, name=f'up_{number}')(volume)
            volume = NormBlock(width, name=f'block_{number}')(jnp.concatenate([volume, skips.pop()], axis=-1))
        output = Conv3d(self.outputs, (1, 1, 1), self.kernel_init, self.bias_init, name='output')
        return output(volume)
