"""Blocks of AC-DMiR: normed convolutions, residual blocks, a decoder, and attention of one image to another."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from autofuse_jax.models.conv3d import Conv3d, Initializer, uniform_fan_in
from autofuse_jax.models.group_norm import GroupNorm
from autofuse_jax.models.resolution import OverlappingTransposedConv

# Queries of one piece of the attention: at 144 x 192 x 160 its weights take 35 MB, all together 300 MB.
QUERY_CHUNK = 1024


class ConvUnit(nn.Module):
    """3 x 3 x 3 convolution without bias, instance norm with scale and shift, ReLU.

    Attributes:
        features: Number of output channels.
    """

    features: int

    @nn.compact
    def __call__(self, volume: jax.Array) -> jax.Array:
        """Map (B, D, H, W, I) to (B, D, H, W, features)."""
        return jax.nn.relu(GroupNorm(name='norm')(Conv3d(self.features, use_bias=False, name='conv')(volume)))


class ResidualBlock(nn.Module):
    """`ReLU(x' + norm(conv(ReLU(norm(conv(x))))))`, convolutions 3 x 3 x 3 without bias, as many channels as come in.

    Attributes:
        projection: Whether x' is a normed 1 x 1 x 1 convolution of x; default False: x itself.
    """

    projection: bool = False

    @nn.compact
    def __call__(self, volume: jax.Array) -> jax.Array:
        """Map (B, D, H, W, C) to the same shape."""
        channels = volume.shape[-1]
        inner = ConvUnit(channels, name='unit_1')(volume)
        inner = GroupNorm(name='norm_2')(Conv3d(channels, use_bias=False, name='conv_2')(inner))
        if self.projection:
            volume = Conv3d(channels, (1, 1, 1), use_bias=False, name='projection')(volume)
            volume = GroupNorm(name='projection_norm')(volume)
        return jax.nn.relu(volume + inner)


class Bottleneck(nn.Module):
    """A `ResidualBlock` with projection and a 3 x 3 x 3 convolution without bias."""

    @nn.compact
    def __call__(self, volume: jax.Array) -> jax.Array:
        """Map (B, D, H, W, C) to the same shape."""
        return Conv3d(volume.shape[-1], use_bias=False, name='conv')(ResidualBlock(True, name='block')(volume))


class Decoder(nn.Module):
    """Three times: up by a transposed convolution, join the skip, convolve; the last convolution gives the output.

    Attributes:
        widths: Channels of the up-sampled features from full resolution down, three.
        outputs: Number of output channels.
        kernel_init: Initialiser of the last convolution's kernel; default PyTorch's.
        bias_init: Initialiser of its bias; default None is PyTorch's.
    """

    widths: tuple[int, int, int]
    outputs: int
    kernel_init: Initializer = uniform_fan_in
    bias_init: Initializer | None = None

    @nn.compact
    def __call__(self, volume: jax.Array, skips: tuple[jax.Array, ...] | None) -> jax.Array:
        """Map features at 1/8 and skips, finest first, or None, to (B, D, H, W, outputs)."""
        for level in reversed(range(len(self.widths))):
            volume = OverlappingTransposedConv(self.widths[level], name=f'up_{level}')(volume)
            volume = jax.nn.relu(GroupNorm(name=f'norm_{level}')(volume))
            if skips is not None:
                volume = jnp.concatenate([volume, skips[level]], axis=-1)
            if level:
                volume = ConvUnit(self.widths[level], name=f'unit_{level}')(volume)
        return Conv3d(self.outputs, kernel_init=self.kernel_init, bias_init=self.bias_init, name='output')(volume)


class CrossNonLocal(nn.Module):
    """What a gains from the places in it that resemble those of b: `X(a, b) = a + norm(W y)`.

    `y_i = sum_j softmax_j(phi(b)_i . theta(a)_j) g(a)_j` over all voxels j; g, theta and phi are 1 x 1 x 1 convolutions
    to half as many channels and W one back. The norm's scale starts at 0, so that X(a, b) is a at first.

    Reference:
        Song et al., Cross-modal attention for MRI and ultrasound volume registration, MICCAI 2021.
    """

    @nn.compact
    def __call__(self, a: jax.Array, b: jax.Array) -> jax.Array:
        """Map a and b, (B, D, H, W, C), to the same shape."""
        batch, *size, channels = a.shape
        half = channels // 2

        def tokens(volume: jax.Array, name: str) -> jax.Array:
            return Conv3d(half, (1, 1, 1), name=name)(volume).reshape(batch, -1, half)

        gathered = jax.vmap(attend_in_chunks)(tokens(b, 'query'), tokens(a, 'key'), tokens(a, 'value'))
        gained = Conv3d(channels, (1, 1, 1), name='output')(gathered.reshape(batch, *size, half))
        return a + GroupNorm(scale_init=nn.initializers.zeros_init(), name='norm')(gained)


def attend_in_chunks(query: jax.Array, key: jax.Array, value: jax.Array) -> jax.Array:
    """Return `softmax(q k^T) v`, not scaled by the number of channels.

    The weights are made for `QUERY_CHUNK` queries at a time, in at least float32, and made again in the reverse pass.

    Args:
        query: (Q, C).
        key: (K, C).
        value: (K, C').

    Returns:
        (Q, C').
    """

    @jax.checkpoint
    def attend(one: jax.Array) -> jax.Array:
        logits = key @ one
        weights = jax.nn.softmax(logits.astype(jnp.promote_types(logits.dtype, jnp.float32)))
        return weights.astype(value.dtype) @ value

    return jax.lax.map(attend, query, batch_size=QUERY_CHUNK)
