"""Cutting a volume into windows for attention, and what two tokens of a window are to each other.

Everything about positions is computed with NumPy from static sizes, so that a compiled network holds it as constants.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

Size = tuple[int, int, int]
# Added to the attention logit of two tokens that must not see each other.
MASKED_LOGIT = -100.0
# What is read of the relative bias table where a window is cut to a small volume.
RELATIVE_BIASES = ('geometric', 'truncated')


@dataclasses.dataclass(frozen=True)
class Windows:
    """How a volume of a given size is cut into windows.

    Attributes:
        size: (D, H, W) of the volume.
        window: (d, h, w) of a window.
        shift: Voxels along each axis by which the volume is rolled towards its origin before it is cut.
    """

    size: tuple[int, ...]
    window: tuple[int, ...]
    shift: tuple[int, ...]

    @property
    def padded(self) -> tuple[int, ...]:
        """Size after padding the far ends to multiples of the window."""
        return tuple(-(-size // window) * window for size, window in zip(self.size, self.window, strict=True))

    @property
    def count(self) -> tuple[int, ...]:
        """Number of windows along each axis."""
        return tuple(size // window for size, window in zip(self.padded, self.window, strict=True))


def fit_windows(size: tuple[int, ...], window: tuple[int, ...], shift: tuple[int, ...], *, shrink: bool) -> Windows:
    """Choose the windows for a volume.

    Args:
        size: (D, H, W) of the volume.
        window: Window for large volumes.
        shift: Shift for large volumes.
        shrink: Whether a window is cut to the volume along axes where it is not smaller, without shift there.
            Otherwise the volume is padded to one window and the shift stays.

    Returns:
        Windows for this volume.
    """
    if not shrink:
        return Windows(size, window, shift)
    covers = [s <= w for s, w in zip(size, window, strict=True)]
    return Windows(
        size,
        tuple(s if whole else w for s, w, whole in zip(size, window, covers, strict=True)),
        tuple(0 if whole else s for s, whole in zip(shift, covers, strict=True)),
    )


def partition(volume: jax.Array, windows: Windows) -> jax.Array:
    """Pad with zeros at the far ends, roll by minus the shift, and cut.

    Args:
        volume: (B, D, H, W, C).
        windows: Layout of the windows.

    Returns:
        (B * number of windows, tokens of a window, C).
    """
    extra = [(0, padded - size) for padded, size in zip(windows.padded, windows.size, strict=True)]
    volume = jnp.pad(volume, ((0, 0), *extra, (0, 0)))
    volume = jnp.roll(volume, tuple(-shift for shift in windows.shift), axis=(1, 2, 3))
    batch, channels = volume.shape[0], volume.shape[-1]
    (nd, nh, nw), (d, h, w) = windows.count, windows.window
    blocks = volume.reshape(batch, nd, d, nh, h, nw, w, channels).transpose(0, 1, 3, 5, 2, 4, 6, 7)
    return blocks.reshape(batch * nd * nh * nw, d * h * w, channels)


def unpartition(tokens: jax.Array, windows: Windows) -> jax.Array:
    """Undo `partition`: join, roll back, crop.

    Args:
        tokens: (B * number of windows, tokens of a window, C).
        windows: Layout of the windows.

    Returns:
        (B, D, H, W, C).
    """
    (nd, nh, nw), (d, h, w), channels = windows.count, windows.window, tokens.shape[-1]
    blocks = tokens.reshape(-1, nd, nh, nw, d, h, w, channels).transpose(0, 1, 4, 2, 5, 3, 6, 7)
    volume = blocks.reshape(-1, *windows.padded, channels)
    volume = jnp.roll(volume, windows.shift, axis=(1, 2, 3))
    size = windows.size
    return volume[:, : size[0], : size[1], : size[2]]


def shift_regions(windows: Windows) -> np.ndarray | None:
    """Return the region of each token of each window; tokens of different regions must not see each other.

    The roll brings together what was at opposite ends. Along each shifted axis the padded, rolled volume has three
    regions: up to the last window, up to the part that came round from the near end, and that part. Padded tokens are
    no region of their own, as in the published networks.

    Args:
        windows: Layout of the windows.

    Returns:
        (number of windows, tokens) int32; None where nothing is shifted.
    """
    if not any(windows.shift):
        return None
    region = np.zeros(windows.padded, np.int32)
    for axis, (size, window, shift) in enumerate(zip(windows.padded, windows.window, windows.shift, strict=True)):
        along = np.zeros(size, np.int32)
        if shift:
            along[-window:] = 1
            along[-shift:] = 2
        region = 3 * region + along.reshape([-1 if a == axis else 1 for a in range(3)])
    (nd, nh, nw), (d, h, w) = windows.count, windows.window
    return region.reshape(nd, d, nh, h, nw, w).transpose(0, 2, 4, 1, 3, 5).reshape(nd * nh * nw, d * h * w)


def shift_mask(regions: jax.Array, dtype: jnp.dtype) -> jax.Array:
    """Return what is added to attention logits: 0 within a region, -100 between two.

    Args:
        regions: (windows, tokens), from `shift_regions`.
        dtype: Type of the logits.

    Returns:
        (windows, tokens, tokens).
    """
    # The mask of a large volume is hundreds of megabytes: it is made where it is used and never a constant of the
    # compiled program, which is what the barrier is for.
    regions = jax.lax.optimization_barrier(jnp.asarray(regions))
    return jnp.where(regions[:, :, None] == regions[:, None, :], 0.0, MASKED_LOGIT).astype(dtype)


def relative_index(window: tuple[int, ...]) -> np.ndarray:
    """Return, for each two tokens of a window, the row of the relative bias table that belongs to their offset.

    `((a - a' + d - 1) (2h - 1) + (b - b' + h - 1)) (2w - 1) + (c - c' + w - 1)` for tokens (a, b, c) and (a', b', c').

    Args:
        window: (d, h, w).

    Returns:
        (tokens, tokens) int32, values below (2d - 1)(2h - 1)(2w - 1).
    """
    return _index_in_table(window, window)


def relative_index_in_part(part: tuple[int, ...], window: tuple[int, ...], relative_bias: str) -> np.ndarray:
    """Return the rows of a window's table for a smaller window.

    Args:
        part: Size of the smaller window; at most `window` along each axis.
        window: Size of the window that the table belongs to.
        relative_bias: 'geometric': the same offset reads the same row. 'truncated': the first rows and columns of the
            whole window's index, which pairs tokens with the offsets of other tokens; so the official code.

    Returns:
        (tokens, tokens) int32.

    Raises:
        ValueError: `relative_bias` is unknown.
    """
    if relative_bias not in RELATIVE_BIASES:
        raise ValueError(f'relative_bias is {relative_bias!r}, expected one of {RELATIVE_BIASES}.')
    if relative_bias == 'geometric':
        return _index_in_table(part, window)
    tokens = int(np.prod(part))
    return relative_index(window)[:tokens, :tokens]


def _index_in_table(part: tuple[int, ...], window: tuple[int, ...]) -> np.ndarray:
    positions = np.stack(np.meshgrid(*(np.arange(size) for size in part), indexing='ij'), axis=-1).reshape(-1, 3)
    offset = positions[:, None] - positions[None] + np.asarray(window) - 1
    _, rows_h, rows_w = (2 * size - 1 for size in window)
    return ((offset[..., 0] * rows_h + offset[..., 1]) * rows_w + offset[..., 2]).astype(np.int32)
