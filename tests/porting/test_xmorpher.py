"""Official weights of XMorpher come over with their names and shapes, and go back bit for bit."""

import math

import numpy as np
import pytest

from autofuse_jax.errors import UserError
from autofuse_jax.porting import from_official, to_official
from tests.porting.small import assert_same

UNUSED = {'swin.concat_back_dim.0.weight', 'swin.concat_back_dim.0.bias'}
DEPTHS = (2, 2, 6, 2)


def layer(name, out, *others):
    return {f'{name}.weight': (out, *others), f'{name}.bias': (out,)}


def transposed(name, inputs, out, side):
    return {f'{name}.weight': (inputs, out, side, side, side), f'{name}.bias': (out,)}


def blocks(name, width, depth):
    shapes = {}
    for block in (f'{name}.blocks.{number}' for number in range(depth)):
        shapes |= layer(f'{block}.norm1', width)
        shapes |= layer(f'{block}.cross_attn.q', width, width)
        shapes |= layer(f'{block}.cross_attn.kv', 2 * width, width)
        shapes |= layer(f'{block}.cross_attn.proj', width, width)
        shapes |= layer(f'{block}.norm2', width)
        shapes |= layer(f'{block}.mlp.fc1', 4 * width, width)
        shapes |= layer(f'{block}.mlp.fc2', width, 4 * width)
    return shapes


def official_shapes(c):
    """Shapes of everything the official class holds, in its order."""
    widths = [c, 2 * c, 4 * c, 8 * c]
    shapes = layer('swin.patch_embed.proj', c, 1, 4, 4, 4)
    for stage, (width, depth) in enumerate(zip(widths, DEPTHS, strict=True)):
        shapes |= blocks(f'swin.layers.{stage}', width, depth)
        if stage < 3:
            shapes |= layer(f'swin.layers.{stage}.downsample.down_conv', 2 * width, width, 2, 2, 2)
            shapes |= layer(f'swin.layers.{stage}.downsample.norm', 2 * width)
    for stage, (width, depth) in enumerate(zip(widths[::-1], DEPTHS[::-1], strict=True)):
        shapes |= blocks(f'swin.up_layers.{stage}', width, depth)
        if stage < 3:
            shapes |= transposed(f'swin.up_layers.{stage}.downsample.up_conv', width, width // 2, 2)
            shapes |= layer(f'swin.up_layers.{stage}.downsample.norm', width // 2)
    for stage, width in enumerate(widths[::-1]):
        shapes |= layer(f'swin.concat_back_dim.{stage}', width, 2 * width)
    shapes |= layer('swin.norm', 8 * c) | layer('swin.norm2', 2 * c)
    shapes |= transposed('swin.reverse_patch_embedding', 2 * c, c // 2, 4)
    return shapes | layer('out_conv', 3, c // 2, 3, 3, 3)


@pytest.fixture(scope='module')
def state():
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in official_shapes(6).items()}


@pytest.fixture(scope='module')
def used(state):
    return {name: tensor for name, tensor in state.items() if name not in UNUSED}


def test_the_shapes_of_this_test_are_those_of_the_official_network():
    sizes = {name: math.prod(shape) for name, shape in official_shapes(48).items()}
    assert sum(sizes.values()) == 15_093_891
    assert sum(sizes[name] for name in UNUSED) == 295_296


def test_official_weights_come_and_go(state, used):
    params, found, options = from_official(state)
    assert found.name == 'xmorpher' and options == {'embed_dim': 6, 'legacy': True}
    exported, _ = to_official(params)
    assert_same(exported, used)


def test_the_unused_layer_may_be_missing(state, used):
    assert_same(from_official(used)[0], from_official(state)[0])


def test_what_changes_the_resolution_leads_to_the_scale_it_is_named_after(state):
    params, _, _ = from_official(state)
    assert (
        params['merging_3/kernel'][1, 0, 1, 2, 5] == state['swin.layers.1.downsample.down_conv.weight'][5, 2, 1, 0, 1]
    )
    assert (
        params['expanding_3/kernel'][1, 0, 1, 2, 5]
        == state['swin.up_layers.0.downsample.up_conv.weight'][2, 5, 1, 0, 1]
    )
    assert params['projection_3/kernel'][30, 2] == state['swin.concat_back_dim.1.weight'][2, 30]
    assert (
        params['up_3/block_6/attention/key_value/kernel'][3, 40]
        == (state['swin.up_layers.1.blocks.5.cross_attn.kv.weight'][40, 3])
    )


def test_other_layers_must_not_be_missing_or_extra(used):
    fewer = {name: tensor for name, tensor in used.items() if not name.startswith('swin.concat_back_dim.2')}
    with pytest.raises(
        UserError, match='fit xmorpher, the closest architecture: 2 missing .swin.concat_back_dim.2.bias'
    ):
        from_official(fewer)
    with pytest.raises(UserError, match='1 extra .swin.concat_back_dim.4.bias'):
        from_official(used | {'swin.concat_back_dim.4.bias': np.zeros(3, np.float32)})
