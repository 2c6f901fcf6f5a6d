"""The tensors of the official XMorpher."""

from collections.abc import Iterator
from typing import Any

from autofuse_jax.choices import XMORPHER
from autofuse_jax.porting.architecture import Architecture, Shapes
from autofuse_jax.porting.names import CONVOLUTION, LINEAR, TRANSPOSED, Tensor, layer, norm

# Blocks of the scales, the finest first.
DEPTHS = (2, 2, 6, 2)
SCALES = range(1, len(DEPTHS) + 1)
PREFIX = 'swin'
# The linear layer for a skip that the coarsest scale does not have.
UNUSED = (f'{PREFIX}.concat_back_dim.0.',)
ATTENTION_LAYERS = {'q': 'query', 'kv': 'key_value', 'proj': 'projection'}


def _tensors() -> Iterator[Tensor]:
    yield from layer(f'{PREFIX}.patch_embed.proj', 'patch_embedding', CONVOLUTION)
    # Theirs are numbered from 0 in the order in which they are applied, ours from 1 at the finest scale. What changes
    # the resolution belongs to the scale before there, to the scale behind here.
    for place, scale in enumerate(SCALES):
        yield from _blocks(f'{PREFIX}.layers.{place}', f'down_{scale}', DEPTHS[scale - 1])
        if scale != SCALES[-1]:
            theirs, ours = f'{PREFIX}.layers.{place}.downsample', f'merging_{scale + 1}'
            yield from layer(f'{theirs}.down_conv', ours, CONVOLUTION)
            yield from norm(f'{theirs}.norm', f'{ours}/norm')
    for place, scale in enumerate(reversed(SCALES)):
        yield from _blocks(f'{PREFIX}.up_layers.{place}', f'up_{scale}', DEPTHS[scale - 1])
        if scale != SCALES[0]:
            theirs, ours = f'{PREFIX}.up_layers.{place}.downsample', f'expanding_{scale - 1}'
            yield from layer(f'{theirs}.up_conv', ours, TRANSPOSED)
            yield from norm(f'{theirs}.norm', f'{ours}/norm')
    for place, scale in enumerate(reversed(SCALES)):
        if place:
            yield from layer(f'{PREFIX}.concat_back_dim.{place}', f'projection_{scale}', LINEAR)
    yield from norm(f'{PREFIX}.norm', 'norm')
    yield from norm(f'{PREFIX}.norm2', 'joined_norm')
    yield from layer(f'{PREFIX}.reverse_patch_embedding', 'reverse_embedding', TRANSPOSED)
    yield from layer('out_conv', 'flow', CONVOLUTION)


def _blocks(official: str, ours: str, depth: int) -> Iterator[Tensor]:
    for number in range(depth):
        theirs, name = f'{official}.blocks.{number}', f'{ours}/block_{number + 1}'
        yield from norm(f'{theirs}.norm1', f'{name}/norm_1')
        for part, part_name in ATTENTION_LAYERS.items():
            yield from layer(f'{theirs}.cross_attn.{part}', f'{name}/attention/{part_name}', LINEAR)
        yield from norm(f'{theirs}.norm2', f'{name}/norm_2')
        for place in (1, 2):
            yield from layer(f'{theirs}.mlp.fc{place}', f'{name}/mlp/linear_{place}', LINEAR)


def _options(shapes: Shapes) -> dict[str, Any]:
    # Shapes do not tell the numbers of heads, which are the published ones. The published code trained its weights
    # with one neighbouring window missing.
    return {'embed_dim': shapes[f'{PREFIX}.patch_embed.proj.weight'][0], 'legacy': True}


ARCHITECTURES = (Architecture(XMORPHER, 'xmorpher', tuple(_tensors()), _options, unused=UNUSED),)
