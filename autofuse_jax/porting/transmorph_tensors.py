"""The tensors of the official TransMorph and TransMatch."""

from collections.abc import Iterator
from typing import Any

from autofuse_jax.choices import TRANSMATCH, TRANSMORPH
from autofuse_jax.models.transmatch import CROSS_DEPTH, TransMatch
from autofuse_jax.models.transmorph import TransMorph
from autofuse_jax.porting.architecture import Architecture, Buffers, Shapes
from autofuse_jax.porting.names import CONVOLUTION, LINEAR, Tensor, layer, norm, swin_block
from autofuse_jax.porting.window_tables import BIAS_TABLE_SUFFIX, INDEX_SUFFIX, window_of_table

MLP_LAYERS = ('fc1', 'fc2')
# Theirs inside a module that holds only an encoder.
ENCODER = 'transformer'
MATCH_ENCODER = f'moving_lwsa.{ENCODER}'
SCALES = range(1, 5)
# Which of their convolutions a level of the decoder uses: the first takes one skip connection, the third two.
ONE_SKIP, TWO_SKIPS = ('conv1', 'conv2'), ('conv3', 'conv2')
MATCH_LEVELS = (TWO_SKIPS, TWO_SKIPS, TWO_SKIPS, ONE_SKIP)
# TransMatch: what its forward pass never uses.
MATCH_UNUSED = (
    'c2.',
    'fixed_lwsa.',
    'moving_lwsa.c1.',
    'moving_lwsa.c2.',
    *(f'lwca{scale}.{ENCODER}.norm{number}.' for scale in SCALES for number in (1, 2, 3)),
    'up0.conv1.',
    'up1.conv1.',
    'up2.conv1.',
    'up3.conv3.',
    'up4.',
)


def _blocks(official: str, ours: str, depth: int) -> Iterator[Tensor]:
    for block in range(depth):
        yield from swin_block(
            f'{official}.blocks.{block}', f'{ours}/block_{block + 1}', qkv_bias=False, mlp_layers=MLP_LAYERS
        )


def _encoder(official: str, depths: tuple[int, ...]) -> Iterator[Tensor]:
    yield from layer(f'{official}.patch_embed.proj', 'encoder/patch_embedding', CONVOLUTION)
    yield from norm(f'{official}.patch_embed.norm', 'encoder/patch_embedding/norm')
    for stage, depth in enumerate(depths):
        yield from _blocks(f'{official}.layers.{stage}', f'encoder/stage_{stage + 1}', depth)
        if stage + 1 < len(depths):
            # Theirs closes a stage, ours opens the next.
            theirs, merging = f'{official}.layers.{stage}.downsample', f'encoder/merging_{stage + 2}'
            yield Tensor(f'{theirs}.reduction.weight', f'{merging}/reduction/kernel', LINEAR)
            yield from norm(f'{theirs}.norm', f'{merging}/norm')
    for stage in range(len(depths)):
        yield from norm(f'{official}.norm{stage}', f'encoder/norm_{stage + 1}')


def _cross_attention() -> Iterator[Tensor]:
    for scale in SCALES:
        official, ours = f'lwca{scale}.{ENCODER}', f'cross_attention_{scale}'
        yield from _blocks(f'{official}.layers.0', f'{ours}/stage', CROSS_DEPTH)
        yield from norm(f'{official}.norm0', f'{ours}/norm')


def _decoder(levels: tuple[tuple[str, str], ...]) -> Iterator[Tensor]:
    for level, convolutions in enumerate(levels):
        # Theirs in the order of their names, ours in that of their use.
        for theirs in sorted(convolutions):
            number = convolutions.index(theirs) + 1
            yield _convolution(f'up{level}.{theirs}', f'decoder_{level + 1}/conv_{number}')


def _convolution(official: str, ours: str) -> Tensor:
    return Tensor(f'{official}.0.weight', f'{ours}/conv/kernel', CONVOLUTION)


def _transmorph() -> Iterator[Tensor]:
    yield from _encoder(ENCODER, TransMorph.depths)
    yield from _decoder((ONE_SKIP,) * 5)
    yield _convolution('c1', 'half_resolution')
    yield _convolution('c2', 'full_resolution')
    yield from layer('reg_head.0', 'head/conv', CONVOLUTION)


def _transmatch() -> Iterator[Tensor]:
    yield _convolution('c1', 'half_resolution')
    yield from _encoder(MATCH_ENCODER, TransMatch.depths)
    yield from _cross_attention()
    yield from _decoder(MATCH_LEVELS)
    yield from layer('reg_head.0', 'head/conv', CONVOLUTION)


def _heads(shapes: Shapes, stage: str) -> int:
    return shapes[f'{stage}.blocks.0.attn{BIAS_TABLE_SUFFIX}'][1]


def _encoder_options(shapes: Shapes, encoder: str, stages: int) -> dict[str, Any]:
    return {
        'embed_dim': shapes[f'{encoder}.patch_embed.proj.weight'][0],
        'num_heads': tuple(_heads(shapes, f'{encoder}.layers.{stage}') for stage in range(stages)),
    }


def _transmorph_options(shapes: Shapes) -> dict[str, Any]:
    options = _encoder_options(shapes, ENCODER, len(TransMorph.depths))
    return options | {'head_channels': shapes['reg_head.0.weight'][1]}


def _transmatch_options(shapes: Shapes) -> dict[str, Any]:
    options = _encoder_options(shapes, MATCH_ENCODER, len(TransMatch.depths))
    cross_heads = _heads(shapes, f'lwca1.{ENCODER}.layers.0')
    # Official weights are those of the published forward pass.
    return options | {'cross_heads': cross_heads, 'legacy_window_reverse': True, 'legacy_grid': True}


def _window(shapes: Shapes, buffers: Buffers, encoder: str) -> dict[str, Any]:
    attention = f'{encoder}.layers.0.blocks.0.attn'
    rows = shapes[f'{attention}{BIAS_TABLE_SUFFIX}'][0]
    return {'window': window_of_table(rows, buffers.get(f'{attention}{INDEX_SUFFIX}'))}


ARCHITECTURES = (
    Architecture(
        TRANSMORPH,
        'transmorph',
        tuple(_transmorph()),
        _transmorph_options,
        lambda shapes, buffers: _window(shapes, buffers, ENCODER),
    ),
    Architecture(
        TRANSMATCH,
        'transmatch',
        tuple(_transmatch()),
        _transmatch_options,
        lambda shapes, buffers: _window(shapes, buffers, MATCH_ENCODER),
        MATCH_UNUSED,
    ),
)
