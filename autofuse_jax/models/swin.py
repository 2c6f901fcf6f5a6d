"""The Swin transformer block for volumes, written once for every network that uses it.

Reference:
    Liu et al., Swin transformer: hierarchical vision transformer using shifted windows, ICCV 2021.
"""

from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from autofuse_jax.models.attention import check_heads, softmax_attention
from autofuse_jax.models.conv3d import uniform_fan_in, uniform_of_bound
from autofuse_jax.models.windows import (
    Windows,
    fit_windows,
    partition,
    relative_index_in_part,
    shift_regions,
    unpartition,
)

LAYER_NORM_EPSILON = 1e-5
# Published networks truncate this start at +-2, a hundred deviations away: it is a plain normal.
RELATIVE_BIAS_STDDEV = 0.02
NO_SHIFT = (0, 0, 0)
# A network is trained, and drops branches, exactly where it is given this random stream.
DROPOUT_STREAM = 'dropout'


def layer_norm(dtype: jnp.dtype, name: str) -> nn.LayerNorm:
    """Make a layer norm over channels with eps 1e-5, learned scale and bias, statistics in at least float32."""
    return nn.LayerNorm(epsilon=LAYER_NORM_EPSILON, use_fast_variance=False, dtype=dtype, name=name)


def linear(volume: jax.Array, features: int, name: str, *, use_bias: bool = True) -> jax.Array:
    """Apply a linear layer to channels, started like PyTorch's: weights and biases from U(+-1 / sqrt(fan_in))."""
    return _linear_like(volume, features, name, use_bias=use_bias)(volume)


def _linear_like(volume: jax.Array, features: int, name: str, *, use_bias: bool) -> nn.Dense:
    return nn.Dense(
        features,
        use_bias=use_bias,
        kernel_init=uniform_fan_in,
        bias_init=uniform_of_bound(volume.shape[-1] ** -0.5),
        dtype=volume.dtype,
        name=name,
    )


def drop_path_rates(highest: float, depths: Sequence[int]) -> tuple[tuple[float, ...], ...]:
    """Return the probabilities of stochastic depth of each block, stage by stage: linear from 0 to the highest.

    Args:
        highest: Rate of the last block, in [0, 1).
        depths: Blocks of each stage.
    """
    rates = np.linspace(0, highest, sum(depths)).tolist()
    ends = np.cumsum(depths)
    return tuple(tuple(rates[end - depth : end]) for end, depth in zip(ends, depths, strict=True))


class DropPath(nn.Module):
    """Stochastic depth: a branch is left out of a sample with probability p, else divided by 1 - p.

    It does so only where the random stream 'dropout' is given; elsewhere it is the identity.

    Attributes:
        rate: p in [0, 1).
    """

    rate: float

    @nn.compact
    def __call__(self, branch: jax.Array) -> jax.Array:
        """Map (B, ...) to the same shape."""
        if not self.rate or not self.has_rng(DROPOUT_STREAM):
            return branch
        shape = (len(branch),) + (1,) * (branch.ndim - 1)
        keep = jax.random.bernoulli(self.make_rng(DROPOUT_STREAM), 1 - self.rate, shape)
        return jnp.where(keep, branch / (1 - self.rate), 0)


class WindowAttention(nn.Module):
    """Multi-head attention within windows, with a learned bias for each relative position.

    `softmax(q k^T / sqrt(C / heads) + bias + mask) v`, then a linear projection. Cross-attention takes q from another
    volume; the same linear layer makes queries, keys and values of both.

    Attributes:
        num_heads: Number of heads; must divide the channels.
        window: (d, h, w) that the bias table belongs to: (2d - 1)(2h - 1)(2w - 1) rows.
        qkv_bias: Whether queries, keys and values have a bias; default True.
        relative_bias: Rows of the table that small windows read, see `relative_index_in_part`.
        join_windows: (tokens, windows) -> volume, the inverse of `partition`; default `unpartition`.
    """

    num_heads: int
    window: tuple[int, ...]
    qkv_bias: bool = True
    relative_bias: str = 'geometric'
    join_windows: Callable[[jax.Array, Windows], jax.Array] = unpartition

    @nn.compact
    def __call__(self, volume: jax.Array, windows: Windows, asking: jax.Array | None = None) -> jax.Array:
        """Let the tokens of each window see each other.

        Args:
            volume: (B, D, H, W, C).
            windows: Layout of the windows.
            asking: Volume of the same shape, the source of the queries; default `volume`.

        Returns:
            The same shape.
        """
        channels = volume.shape[-1]
        check_heads(channels, self.num_heads)
        rows = 1
        for size in self.window:
            rows *= 2 * size - 1
        table = self.param('relative_bias', nn.initializers.normal(RELATIVE_BIAS_STDDEV), (rows, self.num_heads))
        tokens = partition(volume, windows)
        layer = _linear_like(tokens, 3 * channels, 'qkv', use_bias=self.qkv_bias)
        # The last axis holds queries, keys and values, each head by head.
        qkv = layer(tokens)
        if asking is not None:
            queries = layer(partition(asking, windows))[..., :channels]
            qkv = jnp.concatenate([queries, qkv[..., channels:]], axis=-1)
        mixed = self._attend(qkv, table, windows)
        return self.join_windows(linear(mixed, channels, 'projection'), windows)

    def _attend(self, qkv: jax.Array, table: jax.Array, windows: Windows) -> jax.Array:
        count, tokens, _ = qkv.shape
        qkv = qkv.reshape(count, tokens, 3, self.num_heads, -1)
        query, key, value = (qkv[:, :, part].transpose(0, 2, 1, 3) for part in range(3))
        index = relative_index_in_part(windows.window, self.window, self.relative_bias)
        bias = table[index.reshape(-1)].reshape(tokens, tokens, -1).transpose(2, 0, 1)
        mixed = softmax_attention(query, key, value, bias, shift_regions(windows))
        return mixed.transpose(0, 2, 1, 3).reshape(count, tokens, -1)


class Mlp(nn.Module):
    """Two linear layers with an exact GELU between them.

    Attributes:
        ratio: Width of the hidden layer in multiples of the channels.
    """

    ratio: int = 4

    @nn.compact
    def __call__(self, volume: jax.Array) -> jax.Array:
        """Map (..., C) to the same shape."""
        channels = volume.shape[-1]
        hidden = jax.nn.gelu(linear(volume, self.ratio * channels, 'linear_1'), approximate=False)
        return linear(hidden, channels, 'linear_2')


class SwinBlock(nn.Module):
    """`x + Attention(LN(x))`, then `x + MLP(LN(x))`; with another volume y, `x + Attention(LN(x), queries of LN(y))`.

    The volume is padded with zeros to whole windows after the first layer norm, so any size works.

    Attributes:
        num_heads: Number of attention heads.
        window: (d, h, w) of a window.
        shift: Shift of the windows, voxels along each axis; default none.
        mlp_ratio: Width of the hidden layer of the MLP in multiples of the channels; default 4.
        qkv_bias: Whether queries, keys and values have a bias; default True.
        shrink_window: Whether windows are cut to a volume that is not larger, see `fit_windows`; default True.
        relative_bias: Rows of the bias table that cut windows read, see `relative_index_in_part`; default 'geometric'.
        drop_path: Probability that a branch is left out of a sample in training, see `DropPath`; default 0.
        join_windows: Function that makes tokens a volume again, see `WindowAttention`.
    """

    num_heads: int
    window: tuple[int, ...]
    shift: tuple[int, ...] = NO_SHIFT
    mlp_ratio: int = 4
    qkv_bias: bool = True
    shrink_window: bool = True
    relative_bias: str = 'geometric'
    drop_path: float = 0.0
    join_windows: Callable[[jax.Array, Windows], jax.Array] = unpartition

    @nn.compact
    def __call__(self, volume: jax.Array, asking: jax.Array | None = None) -> jax.Array:
        """Map x, (B, D, H, W, C), and for cross-attention y of the same shape, to that shape."""
        windows = fit_windows(volume.shape[1:4], self.window, self.shift, shrink=self.shrink_window)
        attention = WindowAttention(
            self.num_heads, self.window, self.qkv_bias, self.relative_bias, self.join_windows, name='attention'
        )
        norm = layer_norm(volume.dtype, 'norm_1')
        mixed = attention(norm(volume), windows, None if asking is None else norm(asking))
        volume = volume + DropPath(self.drop_path, name='drop_path_1')(mixed)
        hidden = Mlp(self.mlp_ratio, name='mlp')(layer_norm(volume.dtype, 'norm_2')(volume))
        return volume + DropPath(self.drop_path, name='drop_path_2')(hidden)


class SwinStage(nn.Module):
    """Swin blocks one after the other, every second one with shifted windows.

    Attributes:
        depth: Number of blocks.
        num_heads: Number of attention heads.
        window: (d, h, w) of a window; shifted blocks shift by half of it, rounded down.
        relative_bias: Relative bias of cut windows, see `SwinBlock`.
        remat: Whether blocks are recomputed in the reverse pass.
        qkv_bias: Whether queries, keys and values have a bias, see `SwinBlock`.
        shrink_window: Whether windows shrink to small volumes, see `SwinBlock`.
        shift_all_or_none: Whether nothing is shifted where half of the window is 0 along some axis; default False:
            the other axes are.
        drop_paths: Rates of each block, see `DropPath`; default none.
        join_windows: Function that makes tokens a volume again, see `WindowAttention`.
    """

    depth: int
    num_heads: int
    window: tuple[int, ...]
    relative_bias: str = 'geometric'
    remat: bool = False
    qkv_bias: bool = True
    shrink_window: bool = True
    shift_all_or_none: bool = False
    drop_paths: tuple[float, ...] = ()
    join_windows: Callable[[jax.Array, Windows], jax.Array] = unpartition

    @nn.compact
    def __call__(self, volume: jax.Array, asking: jax.Array | None = None) -> jax.Array:
        """Map (B, D, H, W, C) to the same shape; every block takes its queries from `asking`, if it is given."""
        block = nn.remat(SwinBlock) if self.remat else SwinBlock
        half = tuple(size // 2 for size in self.window)
        if self.shift_all_or_none and not all(half):
            half = NO_SHIFT
        for number in range(self.depth):
            volume = block(
                self.num_heads,
                self.window,
                half if number % 2 else NO_SHIFT,
                qkv_bias=self.qkv_bias,
                shrink_window=self.shrink_window,
                relative_bias=self.relative_bias,
                drop_path=self.drop_paths[number] if self.drop_paths else 0.0,
                join_windows=self.join_windows,
                name=f'block_{number + 1}',
            )(volume, asking)
        return volume
