"""DTN, the dual transformer network, re-implemented from what is said about it; there is no published code."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from autofuse_jax.errors import COUNT, UserError, check_numbers
from autofuse_jax.models.attention import attend
from autofuse_jax.models.conv3d import Conv3d
from autofuse_jax.models.conv_blocks import activate, upsample
from autofuse_jax.models.field_outputs import of_velocity
from autofuse_jax.models.heads import mean_convolution
from autofuse_jax.models.one_pass import OnePassNetwork
from autofuse_jax.models.options import check_multiple
from autofuse_jax.models.pair_network import Features, of_both
from autofuse_jax.models.swin import Mlp, layer_norm, linear
from autofuse_jax.models.windows import Size
from autofuse_jax.outputs import RegistrationOutput

# Embeddings of position and image start normal with this deviation, cut off at two of them.
EMBEDDING_INIT = nn.initializers.truncated_normal(0.02)


class ConvEncoder(nn.Module):
    """A convolution at full resolution, then for each further width one of stride 2 and one that keeps the size.

    All are 3 x 3 x 3 with bias and LeakyReLU 0.2, without norm.

    Attributes:
        widths: Channels at 1/1, 1/2, ..
    """

    widths: tuple[int, ...]

    @nn.compact
    def __call__(self, volume: jax.Array) -> Features:
        """Map (B, D, H, W, I) to the maps of all levels, the finest first."""
        levels = [activate(Conv3d(self.widths[0], name='conv_0')(volume))]
        for number, width in enumerate(self.widths[1:], 1):
            coarser = activate(Conv3d(width, stride=2, name=f'stride_{number}')(levels[-1]))
            levels.append(activate(Conv3d(width, name=f'conv_{number}')(coarser)))
        return tuple(levels)


class SelfAttention(nn.Module):
    """Global multi-head self-attention of tokens, with a bias in all linear layers.

    Attributes:
        num_heads: Number of heads; must divide the channels.
    """

    num_heads: int

    @nn.compact
    def __call__(self, tokens: jax.Array) -> jax.Array:
        """Map (B, N, C) to the same shape."""
        channels = tokens.shape[-1]
        query, key, value = jnp.split(linear(tokens, 3 * channels, 'qkv'), 3, axis=-1)
        return linear(attend(query, key, value, self.num_heads), channels, 'projection')


class Transformer(nn.Module):
    """Layers `x + Attention(LN(x))`, then `x + MLP(LN(x))`, and a layer norm at the end. No dropout.

    Attributes:
        depth: Number of layers.
        num_heads: Number of attention heads.
    """

    depth: int
    num_heads: int

    @nn.compact
    def __call__(self, tokens: jax.Array) -> jax.Array:
        """Map (B, N, C) to the same shape."""
        for number in range(1, self.depth + 1):
            normed = layer_norm(tokens.dtype, f'attention_norm_{number}')(tokens)
            tokens = tokens + SelfAttention(self.num_heads, name=f'attention_{number}')(normed)
            tokens = tokens + Mlp(name=f'mlp_{number}')(layer_norm(tokens.dtype, f'mlp_norm_{number}')(tokens))
        return layer_norm(tokens.dtype, 'norm')(tokens)


class DTN(OnePassNetwork):
    """DTN (re-implementation): embeddings of each image and of both, enhanced by transformers, give one velocity.

    Two convolutional encoders, one with the same weights for each image and one for the concatenated images, end at
    1/16 of the resolution, where each voxel becomes a token. One transformer sees the tokens of both images at once and
    so relates voxels within and between images; another sees those of the concatenation. A convolutional decoder with
    skips from all three embeddings predicts a stationary velocity at half resolution, which is integrated.

    Stated in the paper: the three parts (volumetric embedding, dual relevance learning by self-attention on separate
    and on concatenated embeddings, inference of the field), and that the map is diffeomorphic. Everything else is
    inferred: numbers of layers and channels, the kinds of layers, skips, positions, half resolution. No code and no
    number of parameters are published; results need not be those of the authors' network.

    Attributes:
        size: (D, H, W) of the images, multiples of 16; default 144 x 192 x 160. Positions are learned for each token,
            so a network works on this size only.
        widths: Channels of the encoders at 1/1 .. 1/16; default (16, 32, 64, 64, 128).
        token_width: Channels of a token; default 256.
        depth: Layers of each transformer; default 4.
        num_heads: Attention heads; default 8.
        decoder_widths: Channels of the convolutions at 1/16, 1/8, 1/4 and 1/2; default ((128,), (128,), (64,),
            (64, 32)).

    Raises:
        UserError: An option is out of its range, the size no multiple of 16, heads do not divide the token's channels,
            or there are not as many levels up as down.
        ValueError: Images have another size.

    Reference:
        Zhang, Pei, Zha, Learning dual transformer network for diffeomorphic registration, MICCAI 2021.
    """

    size: Size = (144, 192, 160)
    widths: tuple[int, ...] = (16, 32, 64, 64, 128)
    token_width: int = 256
    depth: int = 4
    num_heads: int = 8
    decoder_widths: tuple[tuple[int, ...], ...] = ((128,), (128,), (64,), (64, 32))

    def __post_init__(self):
        super().__post_init__()
        if len(self.decoder_widths) != len(self.widths) - 1:
            raise UserError(
                f'model.widths is {self.widths} and model.decoder_widths {self.decoder_widths}',
                expected='one entry less in decoder_widths, which ends at half resolution',
                fix='add or remove levels',
            )
        for widths in self.decoder_widths:
            check_numbers('an entry of model.decoder_widths', widths, COUNT)
        if any(length % self.multiple for length in self.size):
            raise UserError(
                f'model.size is {tuple(self.size)}',
                expected=f'multiples of {self.multiple}, because the encoders halve it {len(self.widths) - 1} times',
                fix='correct model.size',
            )
        check_multiple('token_width', self.token_width, self.num_heads, 'that many heads share it')

    @property
    def multiple(self) -> int:
        """What the sizes of the images are multiples of."""
        return 2 ** (len(self.widths) - 1)

    def register_pair(self, fixed: jax.Array, moving: jax.Array) -> RegistrationOutput:
        """Return the velocity, its integral both ways in voxels, and the warped image."""
        if fixed.shape[1:4] != tuple(self.size):
            raise ValueError(f'images have size {fixed.shape[1:4]}, the network is made for size {tuple(self.size)}.')
        separate = ConvEncoder(tuple(self.widths), name='separate_encoder')
        of_moving, of_fixed = of_both(separate, moving, fixed)
        of_pair = ConvEncoder(tuple(self.widths), name='joint_encoder')(jnp.concatenate([moving, fixed], axis=-1))
        levels = list(zip(of_moving, of_fixed, of_pair, strict=True))
        volume = jnp.concatenate(self._enhance(*levels.pop()), axis=-1)
        volume = activate(Conv3d(self.token_width, (1, 1, 1), name='fuse')(volume))
        number = 0
        for place, widths in enumerate(self.decoder_widths):
            if place:
                volume = jnp.concatenate([upsample(volume), *levels.pop()], axis=-1)
            for width in widths:
                number += 1
                volume = activate(Conv3d(width, name=f'decoder_{number}')(volume))
        return of_velocity(mean_convolution('flow')(volume), moving)

    def _enhance(self, of_moving: jax.Array, of_fixed: jax.Array, of_pair: jax.Array) -> tuple[jax.Array, ...]:
        """Run the transformers on the coarsest maps (B, d, h, w, C); returns three of (B, d, h, w, token width)."""
        batch, *size, _ = of_pair.shape
        tokens, width, dtype = math.prod(size), self.token_width, of_pair.dtype
        to_token = Conv3d(width, (1, 1, 1), name='separate_tokens')
        positions = self.param('separate_positions', EMBEDDING_INIT, (tokens, width)).astype(dtype)
        types = self.param('image_types', EMBEDDING_INIT, (2, width)).astype(dtype)
        images = of_both(lambda maps: to_token(maps).reshape(-1, tokens, width) + positions, of_moving, of_fixed)
        both = jnp.concatenate([image + kind for image, kind in zip(images, types, strict=True)], axis=1)
        both = Transformer(self.depth, self.num_heads, name='separate_transformer')(both)
        joint = Conv3d(width, (1, 1, 1), name='joint_tokens')(of_pair).reshape(batch, tokens, width)
        joint = joint + self.param('joint_positions', EMBEDDING_INIT, (tokens, width)).astype(dtype)
        joint = Transformer(self.depth, self.num_heads, name='joint_transformer')(joint)
        return tuple(one.reshape(batch, *size, width) for one in (*jnp.split(both, 2, axis=1), joint))
