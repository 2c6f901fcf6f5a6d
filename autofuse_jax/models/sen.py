"""SEN: three encoders, one for each image and one for the pair, and a field in each direction."""

from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from autofuse_jax.errors import POSITIVE
from autofuse_jax.fields import compose
from autofuse_jax.models.conv3d import Conv3d
from autofuse_jax.models.field_outputs import of_displacement, widened
from autofuse_jax.models.one_pass import OnePassNetwork
from autofuse_jax.models.resolution import TransposedConv
from autofuse_jax.outputs import RegistrationOutput

# Widths of levels 1 (full resolution) .. 5 in multiples of `base_channels`: of an image's encoder, of the pair's and of
# what joins the three.
IMAGE_WIDTHS = (1, 2, 4, 8, 16)
PAIR_WIDTHS = (2, 4, 8, 16, 32)
JOINED_WIDTHS = (4, 8, 16, 32, 32)
# Widths of the two convolutions of each step of the decoder, from 1/8 to full resolution.
DECODER_WIDTHS = ((32, 16), (16, 8), (16, 8), (8, 4))


class SEN(OnePassNetwork):
    """SEN: symmetric estimation of a field in each direction, each corrected by the other.

    With `a = r softsign(f_12)` and `b = r softsign(f_21)` of the two heads,
    `u(x) = a(x) - b(x + a(x))` and the inverse map's `u'(x) = b(x) - a(x + b(x))`.

    The layers, with an encoder of its own for each image, the range r, PyTorch's default initialisation (initial fields
    of one or two voxels, not of zero) and the composition are those of the first official code; whether a later version
    differs is not known. Inferred: published comparisons used SEN without its separate folding correction network.
    Corrected: the official code has component 0 along the last axis and normalises positions by n - 1/2 where its
    sampling counts voxel faces, which shrinks or stretches the field by up to half a voxel at the border; here
    components follow the axes and warps are exact. Ported official weights get the channels of both heads reversed, so
    no switch is needed for them; their maps differ by that stretch only.

    Attributes:
        base_channels: Width of an image's encoder at full resolution; default 4, 3,995,256 parameters.
        displacement_range: r, bound of a and b in voxels; default 100.

    Raises:
        UserError: `base_channels` is no whole number of 1 or more, or the range not above 0.
        ValueError: The images' sizes are not multiples of 16.

    Reference:
        Ma et al., Symmetric estimation network with folding correction block for diffeomorphic registration, 2023
        (SEN-FCB).
    """

    base_channels: int = 4
    displacement_range: float = 100.0

    domains: ClassVar = {'displacement_range': POSITIVE}

    def register_pair(self, fixed: jax.Array, moving: jax.Array) -> RegistrationOutput:
        """Return displacement, warped image, and the displacement of the inverse map."""
        skips = self._encode(fixed, moving)
        volume = skips.pop()
        for step, widths in enumerate(DECODER_WIDTHS, 1):
            up = nn.relu(TransposedConv(volume.shape[-1], name=f'up_{step}')(volume))
            volume = jnp.concatenate([up, skips.pop()], axis=-1)
            for number, width in enumerate(widths, 1):
                volume = self._block(volume, width, f'decoder_{step}_{number}')
        forward, backward = (
            self.displacement_range * jax.nn.soft_sign(widened(Conv3d(3, use_bias=False, name=name)(volume)))
            for name in ('flow', 'inverse_flow')
        )
        return of_displacement(
            jax.vmap(compose)(-backward, forward),
            moving,
            inverse_displacement=jax.vmap(compose)(-forward, backward),
        )

    def _encode(self, fixed: jax.Array, moving: jax.Array) -> list[jax.Array]:
        """Return what joins the three encoders at levels 1 .. 5."""
        levels = []
        pair = jnp.concatenate([moving, fixed], axis=-1)
        for level, widths in enumerate(zip(IMAGE_WIDTHS, PAIR_WIDTHS, JOINED_WIDTHS, strict=True), 1):
            image_width, pair_width, joined_width = widths
            stride = 1 if level == 1 else 2
            moving = self._block(moving, image_width, f'moving_{level}', stride)
            fixed = self._block(fixed, image_width, f'fixed_{level}', stride)
            pair = self._block(pair, pair_width, f'pair_{level}', stride)
            pair = self._block(jnp.concatenate([pair, moving, fixed], axis=-1), joined_width, f'joined_{level}')
            levels.append(pair)
        return levels

    def _block(self, volume: jax.Array, factor: int, name: str, stride: int = 1) -> jax.Array:
        """Convolve 3 x 3 x 3 to `factor` times the base width and rectify."""
        return nn.relu(Conv3d(factor * self.base_channels, stride=stride, name=name)(volume))
