"""Normalisation over groups of channels with a learned scale and shift."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from autofuse_jax.models.conv_blocks import NORM_EPSILON


class GroupNorm(nn.Module):
    """`scale (x - mean) / sqrt(var + 1e-5) + bias`, statistics of each sample over space and the channels of a group.

    Groups of one channel make an instance norm with learned scale and shift. Biased variance, statistics in at least
    float32, no running averages: training and inference are the same.

    Attributes:
        group_size: Channels of a group; must divide the channels.
        scale_init: Initialiser of the scale; default ones.
    """

    group_size: int = 1
    scale_init: nn.initializers.Initializer = nn.initializers.ones_init()

    @nn.compact
    def __call__(self, volume: jax.Array) -> jax.Array:
        """Map (B, D, H, W, C) to the same shape."""
        channels = volume.shape[-1]
        if channels % self.group_size:
            raise ValueError(f'{channels} channels cannot be grouped by {self.group_size}.')
        scale = self.param('scale', self.scale_init, (channels,))
        bias = self.param('bias', nn.initializers.zeros_init(), (channels,))
        wide = volume.astype(jnp.promote_types(volume.dtype, jnp.float32))
        groups = wide.reshape(*volume.shape[:-1], -1, self.group_size)
        axes = (1, 2, 3, 5)
        mean = jnp.mean(groups, axis=axes, keepdims=True)
        variance = jnp.mean(jnp.square(groups - mean), axis=axes, keepdims=True)
        normalised = ((groups - mean) * jax.lax.rsqrt(variance + NORM_EPSILON)).reshape(volume.shape)
        return (normalised * scale + bias).astype(volume.dtype)
