"""Cross attention between the two images of a pair: windows of one look at the neighbouring windows of the other.

Both images run through the same layers as one batch in which a pair lies side by side (see `pair_network.of_both`), so
that both directions are computed from the same inputs.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from autofuse_jax.models.attention import attend
from autofuse_jax.models.pair_network import exchanged
from autofuse_jax.models.swin import NO_SHIFT, DropPath, Mlp, layer_norm, linear
from autofuse_jax.models.windows import Windows, fit_windows, partition, unpartition

# A window sees itself and one window to each side along each axis.
NEIGHBOURS = 3
# Place among the neighbours, (D, H, W) from 0, of the window that the published code leaves at zero by a wrong index.
LEGACY_MISSING = (2, 0, 2)


def join_neighbours(windows: jax.Array, *, legacy: bool = False) -> jax.Array:
    """Gather for each window the tokens of the 3 x 3 x 3 windows around it.

    Args:
        windows: (B, nD + 2, nH + 2, nW + 2, T, C), a margin of one window around the volume's nD x nH x nW windows.
        legacy: Whether the neighbour at offset (+1, -1, +1) is replaced by a window of the margin.

    Returns:
        (B, nD, nH, nW, 27 T, C), neighbours in order of their offsets.
    """
    *_, tokens, channels = windows.shape
    neighbourhoods = windows[..., None, :, :]
    for axis in (1, 2, 3):
        count = neighbourhoods.shape[axis] - NEIGHBOURS + 1
        shifted = [jax.lax.slice_in_dim(neighbourhoods, place, place + count, axis=axis) for place in range(NEIGHBOURS)]
        # The offset along this axis runs faster than those along the axes before.
        neighbourhoods = jnp.stack(shifted, axis=5)
        neighbourhoods = neighbourhoods.reshape(*neighbourhoods.shape[:4], -1, tokens, channels)
    if legacy:
        place = (LEGACY_MISSING[0] * NEIGHBOURS + LEGACY_MISSING[1]) * NEIGHBOURS + LEGACY_MISSING[2]
        neighbourhoods = neighbourhoods.at[:, :, :, :, place].set(windows[:, :1, :1, :1])
    return neighbourhoods.reshape(*neighbourhoods.shape[:4], -1, channels)


class CrossWindowAttention(nn.Module):
    """Queries from the windows of one volume, keys and values from the 27 windows around each in another volume.

    Zeros fill the far ends up to whole windows and a margin of one window all around. Their keys and values are the
    biases of the linear layer and are not masked, as in the published network.

    Attributes:
        num_heads: Number of heads; must divide the channels.
        window: (d, h, w) of a window, cut to the volume along axes where the volume is smaller.
        legacy: Whether the published code's neighbours are taken, see `join_neighbours`.
    """

    num_heads: int
    window: tuple[int, ...]
    legacy: bool = False

    @nn.compact
    def __call__(self, volume: jax.Array, other: jax.Array) -> jax.Array:
        """Map (B, D, H, W, C) and another volume of that shape to the same shape."""
        channels = volume.shape[-1]
        windows = fit_windows(volume.shape[1:4], self.window, NO_SHIFT, shrink=True)
        query = linear(partition(volume, windows), channels, 'query')
        # One linear layer on each token, before its window is copied to 27 places.
        key_value = linear(_with_margin(other, windows), 2 * channels, 'key_value')
        neighbours = join_neighbours(key_value, legacy=self.legacy).reshape(len(query), -1, 2 * channels)
        key, value = jnp.split(neighbours, 2, axis=-1)
        mixed = attend(query, key, value, self.num_heads)
        return unpartition(linear(mixed, channels, 'projection'), windows)


def _with_margin(volume: jax.Array, windows: Windows) -> jax.Array:
    """Pad with zeros to whole windows and by one more to each side, and cut."""
    ends = zip(windows.padded, windows.size, windows.window, strict=True)
    volume = jnp.pad(volume, ((0, 0), *((length, padded - size + length) for padded, size, length in ends), (0, 0)))
    wider = Windows(volume.shape[1:4], windows.window, NO_SHIFT)
    tokens = partition(volume, wider)
    return tokens.reshape(len(volume), *wider.count, *tokens.shape[1:])


class CrossBlock(nn.Module):
    """`x + Attention(LN(x), y)`, then `x + MLP(LN(x))`, for both images of a pair with the same weights.

    y is the other image's x before the block. It is not normalised, as in the published network.

    Attributes:
        num_heads: Number of attention heads.
        window: (d, h, w) of a window.
        drop_path: Probability that a branch is left out of a sample in training, see `DropPath`; default 0.
        legacy: Whether the published code's neighbours are taken, see `join_neighbours`.
    """

    num_heads: int
    window: tuple[int, ...]
    drop_path: float = 0.0
    legacy: bool = False

    @nn.compact
    def __call__(self, streams: jax.Array) -> jax.Array:
        """Map (2 B, D, H, W, C), pairs side by side, to the same shape."""
        attention = CrossWindowAttention(self.num_heads, self.window, self.legacy, name='attention')
        mixed = attention(layer_norm(streams.dtype, 'norm_1')(streams), exchanged(streams))
        streams = streams + DropPath(self.drop_path, name='drop_path_1')(mixed)
        hidden = Mlp(name='mlp')(layer_norm(streams.dtype, 'norm_2')(streams))
        return streams + DropPath(self.drop_path, name='drop_path_2')(hidden)


class CrossStage(nn.Module):
    """Cross-attention blocks one after the other.

    Attributes:
        num_heads: Number of attention heads.
        window: (d, h, w) of a window.
        drop_paths: Rates of each block, see `DropPath`; there are as many blocks.
        legacy: Whether the published code's neighbours are taken, see `join_neighbours`.
        remat: Whether blocks are recomputed in the reverse pass.
    """

    num_heads: int
    window: tuple[int, ...]
    drop_paths: tuple[float, ...]
    legacy: bool = False
    remat: bool = False

    @nn.compact
    def __call__(self, streams: jax.Array) -> jax.Array:
        """Map (2 B, D, H, W, C), pairs side by side, to the same shape."""
        block = nn.remat(CrossBlock) if self.remat else CrossBlock
        for number, rate in enumerate(self.drop_paths, 1):
            streams = block(self.num_heads, self.window, rate, self.legacy, name=f'block_{number}')(streams)
        return streams
