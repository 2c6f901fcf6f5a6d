"""The U-Net of convolutional blocks that AutoFuse and its fusion baselines share: blocks 1 .. 8 and their skips."""

from collections.abc import Callable, Collection, Mapping, Sequence

import jax
import jax.numpy as jnp

from autofuse_jax.models.conv_blocks import ConvBlock, Factor, downsample, upsample
from autofuse_jax.models.remat import recomputing

ENCODER_BLOCKS = (2, 3, 4, 5)
# Decoder block: the encoder block whose output it receives as a skip connection.
DECODER_SKIPS = {6: 4, 7: 3, 8: 2}
# Blocks below full resolution, the levels at which features of several images can meet.
FUSED_BLOCKS = (*ENCODER_BLOCKS, *DECODER_SKIPS)
FULL_RESOLUTION_BLOCKS = (1, 9)
# Blocks of a single branch on a finer grid than the fusion branch's: before block 1 and after block 9.
FINE_BLOCKS = (0, 10)
# Blocks of each level, from fine to coarse.
LEVELS = (FINE_BLOCKS, FULL_RESOLUTION_BLOCKS, (2, 8), (3, 7), (4, 6), (5,))
THIN: Factor = (3, 3, 1)

Volumes = dict[int, jax.Array]
# (number of the block, its output) -> what goes on, to the next block and into the skip connections.
AfterBlock = Callable[[int, jax.Array], jax.Array]


def numbered(widths: Sequence[int]) -> dict[int, int]:
    """Return the channels of the blocks by number, from 1 on."""
    return dict(enumerate(widths, 1))


def conv_block(
    number: int, width: int, remat: str, thin: Collection[int] = (), *, first_kernel: Factor | None = None
) -> ConvBlock:
    """Return block `number`, to be called within a compact method.

    Args:
        number: 0 .. 10; blocks 1 and 9 work at the fusion branch's full resolution, blocks 0 and 10 on a finer grid.
        width: Its channels.
        remat: Blocks that are recomputed in the reverse pass, see `check_remat`.
        thin: Blocks with kernels of 3 x 3 x 1; default none.
        first_kernel: Size of its first kernel alone; default None: as the second one.
    """
    full_resolution = number in (*FULL_RESOLUTION_BLOCKS, *FINE_BLOCKS)
    block = recomputing(ConvBlock, remat, str(number), full_resolution=full_resolution)
    kernel = {'kernel_size': THIN} if number in thin else {}
    return block(width, name=f'conv_{number}', first_kernel_size=first_kernel, **kernel)


def thin_blocks(levels: int, *, fine: bool) -> frozenset[int]:
    """Return the blocks of the finest levels.

    Args:
        levels: Number of levels.
        fine: Whether the finest level is that of `FINE_BLOCKS`; else that of `FULL_RESOLUTION_BLOCKS`.
    """
    first = 0 if fine else 1
    return frozenset(number for level in LEVELS[first : first + levels] for number in level)


def encode(
    volume: jax.Array,
    width: Mapping[int, int],
    remat: str,
    after: AfterBlock | None = None,
    thin: Collection[int] = (),
    first_kernel: Factor | None = None,
) -> Volumes:
    """Run blocks 1 .. 5, from full resolution to a sixteenth; to be called within a compact method.

    Args:
        volume: (B, D, H, W, I).
        width: Channels by block.
        remat: Stages that are recomputed, see `conv_block`.
        after: Function of the outputs of blocks 2 .. 5; default none.
        thin: Option of `conv_block`.
        first_kernel: The same, of block 1.

    Returns:
        Output of each block.
    """
    outputs = {1: conv_block(1, width[1], remat, thin, first_kernel=first_kernel)(volume)}
    for number in ENCODER_BLOCKS:
        output = conv_block(number, width[number], remat, thin)(downsample(outputs[number - 1]))
        outputs[number] = after(number, output) if after else output
    return outputs


def decode(
    outputs: Volumes,
    width: Mapping[int, int],
    remat: str,
    after: AfterBlock | None = None,
    thin: Collection[int] = (),
) -> Volumes:
    """Run blocks 6 .. 8, from a sixteenth to half resolution; to be called within a compact method.

    Args:
        outputs: Outputs of blocks 2 .. 5.
        width: Channels by block.
        remat: Stages that are recomputed, see `conv_block`.
        after: Function of the outputs of blocks 6 .. 8; default none.
        thin: Option of `conv_block`.

    Returns:
        `outputs` with what goes on after blocks 6, 7 and 8.
    """
    outputs = dict(outputs)
    for number, skip in DECODER_SKIPS.items():
        features_and_skip = jnp.concatenate([upsample(outputs[number - 1]), outputs[skip]], axis=-1)
        output = conv_block(number, width[number], remat, thin)(features_and_skip)
        outputs[number] = after(number, output) if after else output
    return outputs
