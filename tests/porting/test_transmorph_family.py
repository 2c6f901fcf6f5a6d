"""Weights of TransMorph and TransMatch: official names, windows told by buffers, what the official class never uses."""

import numpy as np
import pytest

from autofuse_jax.errors import UserError
from autofuse_jax.methods.registry import make_method
from autofuse_jax.models.windows import relative_index
from autofuse_jax.port_weights import main
from autofuse_jax.porting import ARCHITECTURES, from_official, to_official
from autofuse_jax.porting.architectures import with_buffers
from autofuse_jax.porting.convert import flatten, parameter_structure
from autofuse_jax.porting.transmorph_tensors import MATCH_UNUSED
from autofuse_jax.porting.window_tables import window_of_table
from autofuse_jax.weights.released import read_arrays, read_released, write_arrays
from tests.porting.small import OPTIONS, assert_same, params_of, small_params

WINDOW = (2, 3, 2)
HEADS = (1, 1, 2, 2)
DEPTHS = (2, 2, 4, 2)


def attention_block(name, channels, heads, window=WINDOW):
    rows = np.prod([2 * size - 1 for size in window])
    tokens = np.prod(window)
    return {
        f'{name}.norm1.weight': (channels,),
        f'{name}.norm1.bias': (channels,),
        f'{name}.attn.relative_position_bias_table': (rows, heads),
        f'{name}.attn.relative_position_index': (tokens, tokens),
        f'{name}.attn.qkv.weight': (3 * channels, channels),
        f'{name}.attn.proj.weight': (channels, channels),
        f'{name}.attn.proj.bias': (channels,),
        f'{name}.norm2.weight': (channels,),
        f'{name}.norm2.bias': (channels,),
        f'{name}.mlp.fc1.weight': (4 * channels, channels),
        f'{name}.mlp.fc1.bias': (4 * channels,),
        f'{name}.mlp.fc2.weight': (channels, 4 * channels),
        f'{name}.mlp.fc2.bias': (channels,),
    }


def encoder(name, inputs, width=4):
    shapes = {
        f'{name}.patch_embed.proj.weight': (width, inputs, 4, 4, 4),
        f'{name}.patch_embed.proj.bias': (width,),
        f'{name}.patch_embed.norm.weight': (width,),
        f'{name}.patch_embed.norm.bias': (width,),
    }
    for stage, depth in enumerate(DEPTHS):
        channels = width * 2**stage
        for block in range(depth):
            shapes |= attention_block(f'{name}.layers.{stage}.blocks.{block}', channels, HEADS[stage])
        if stage < 3:
            shapes |= {
                f'{name}.layers.{stage}.downsample.reduction.weight': (2 * channels, 8 * channels),
                f'{name}.layers.{stage}.downsample.norm.weight': (8 * channels,),
                f'{name}.layers.{stage}.downsample.norm.bias': (8 * channels,),
            }
    for stage in range(4):
        shapes |= {f'{name}.norm{stage}.{kind}': (width * 2**stage,) for kind in ('weight', 'bias')}
    return shapes


def convolution(name, inputs, outputs):
    return {f'{name}.0.weight': (outputs, inputs, 3, 3, 3)}


def head(channels):
    return {'reg_head.0.weight': (3, channels, 3, 3, 3), 'reg_head.0.bias': (3,)}


def transmorph():
    """Names and shapes of the official state dict, written out from its description for a width of 4."""
    shapes = encoder('transformer', 2)
    inputs = [32, 16, 8, 4, 2]
    for level, (channels, skip, outputs) in enumerate(zip(inputs, [16, 8, 4, 2, 2], [16, 8, 4, 2, 2], strict=True)):
        shapes |= convolution(f'up{level}.conv1', channels + skip, outputs)
        shapes |= convolution(f'up{level}.conv2', outputs, outputs)
    shapes |= convolution('c1', 2, 2) | convolution('c2', 2, 2) | head(2)
    return shapes | {'spatial_trans.grid': (1, 3, 2, 2, 2)}


def transmatch():
    shapes = convolution('c1', 2, 2) | convolution('c2', 2, 16)
    for image in ('moving', 'fixed'):
        shapes |= encoder(f'{image}_lwsa.transformer', 1)
        shapes |= convolution(f'{image}_lwsa.c1', 1, 48) | convolution(f'{image}_lwsa.c2', 1, 16)
    for scale in range(1, 5):
        name, channels = f'lwca{scale}.transformer', 2 * 2**scale
        for block in (0, 1):
            shapes |= attention_block(f'{name}.layers.0.blocks.{block}', channels, 2)
        shapes |= {f'{name}.norm{number}.{kind}': (channels,) for number in range(4) for kind in ('weight', 'bias')}
    for level, (channels, skip, outputs) in enumerate(
        zip([32, 16, 8, 4, 2], [16, 8, 4, 2, 2], [16, 8, 4, 2, 16], strict=True)
    ):
        shapes |= convolution(f'up{level}.conv1', channels + skip, outputs)
        shapes |= convolution(f'up{level}.conv2', outputs, outputs)
        shapes |= convolution(f'up{level}.conv3', channels + 2 * skip, outputs)
    return shapes | head(2) | {'spatial_trans.grid': (1, 3, 2, 2, 2)}


def state_of(shapes):
    rng = np.random.default_rng(0)
    return {
        name: relative_index(WINDOW).astype(np.int64)
        if name.endswith('relative_position_index')
        else rng.normal(size=shape).astype(np.float32)
        for name, shape in shapes.items()
    }


def learned(state):
    """Without buffers and what TransMatch never uses."""
    buffers = ('relative_position_index', 'spatial_trans.grid')
    return {name: array for name, array in state.items() if not name.endswith(buffers)}


def used(state):
    return {name: array for name, array in learned(state).items() if not name.startswith(MATCH_UNUSED)}


def test_official_transmorph_is_read_and_written_back():
    state = state_of(transmorph())
    params, found, options = from_official(state)
    assert found.name == 'transmorph'
    assert options == {'embed_dim': 4, 'num_heads': HEADS, 'head_channels': 2, 'window': WINDOW}
    # `from_official` has compared all shapes with the network's.
    assert params['encoder/stage_1/block_1/attention/relative_bias'].shape == (45, 1)
    kernel = state['transformer.layers.0.downsample.reduction.weight']
    np.testing.assert_array_equal(params['encoder/merging_2/reduction/kernel'], kernel.T)
    assert_same(to_official(params)[0], learned(state))
    complete = with_buffers(to_official(params)[0], WINDOW)
    assert_same(complete, {name: array for name, array in state.items() if name != 'spatial_trans.grid'})


def test_official_transmatch_is_read_without_what_it_never_uses():
    state = state_of(transmatch())
    params, found, options = from_official(state)
    assert found.name == 'transmatch' and options['window'] == WINDOW and options['cross_heads'] == 2
    # Official weights are those of the published forward pass.
    assert options['legacy_window_reverse'] and options['legacy_grid']
    np.testing.assert_array_equal(
        params['decoder_1/conv_1/conv/kernel'], state['up0.conv3.0.weight'].transpose(2, 3, 4, 1, 0)
    )
    np.testing.assert_array_equal(
        params['decoder_4/conv_1/conv/kernel'], state['up3.conv1.0.weight'].transpose(2, 3, 4, 1, 0)
    )
    exported = to_official(params)[0]
    assert_same(exported, used(state))
    assert 'fixed_lwsa.c1.0.weight' not in exported and len(exported) < len(learned(state))
    # What was exported is read again, and what is unused need not be there.
    again, _, _ = from_official(with_buffers(exported, WINDOW))
    assert_same(again, params)


def test_only_what_is_never_used_may_be_missing():
    state = state_of(transmatch())
    del state['up2.conv3.0.weight'], state['up2.conv1.0.weight']
    with pytest.raises(UserError, match=r'transmatch, the closest architecture: 1 missing \(up2.conv3.0.weight\)'):
        from_official(state)
    # In TransMorph the same names count.
    state = state_of(transmorph())
    del state['c2.0.weight']
    with pytest.raises(UserError, match=r'1 missing \(c2.0.weight\)'):
        from_official(state)


@pytest.mark.parametrize('method', ['transmorph', 'transmatch'])
def test_every_parameter_of_the_published_network_has_an_official_name(method):
    structure = flatten(parameter_structure(make_method(method, {}, {})))
    assert set(structure) == set(ARCHITECTURES[method].our_names)


@pytest.mark.parametrize('window', [(5, 6, 5), (4, 4, 2), (5, 5, 5), (2, 5, 14), (1, 1, 1)])
def test_the_window_is_told_by_the_buffer(window):
    rows = np.prod([2 * size - 1 for size in window])
    assert window_of_table(rows, relative_index(window)) == window


def test_windows_that_cannot_be_told_are_refused():
    state = learned(state_of(transmorph()))
    with pytest.raises(UserError, match='45 rows .* no integer buffer .* attention windows.*all its buffers'):
        from_official(state)
    # Windows of one token along some axis have the tables and buffers of others.
    with pytest.raises(UserError, match='fit 3 attention windows'):
        window_of_table(5, relative_index((3, 1, 1)))
    with pytest.raises(UserError, match='fit 0 attention windows'):
        window_of_table(15, relative_index((2, 2, 2)))
    # Not cubic, and no window given; another window given.
    for window in (None, (2, 2, 2)):
        with pytest.raises(UserError, match=r'has 45 rows, and a window of \(.*JSON'):
            with_buffers(state, window)


def test_the_command_keeps_windows(tmp_path, capsys):
    state = state_of(transmatch())
    write_arrays(tmp_path / 'official.npz', state)
    assert main([f'--from={tmp_path / "official.npz"}', f'--to={tmp_path / "params.npz"}']) == 0
    params, description = read_released(tmp_path / 'params.npz')
    assert description.method == 'transmatch' and tuple(description.model['window']) == WINDOW
    assert main([f'--from={tmp_path / "params.npz"}', f'--to={tmp_path / "back.npz"}']) == 0
    assert 'never uses: load_state_dict(..., strict=False)' in capsys.readouterr().out
    back = read_arrays(tmp_path / 'back.npz')
    assert_same({name: state[name] for name in back}, back)
    assert {name for name in back if name.endswith('index')} == {
        name for name in state if name.endswith('index') and not name.startswith(MATCH_UNUSED)
    }
    # Without its description nobody knows the window.
    (tmp_path / 'params.json').unlink()
    assert main([f'--from={tmp_path / "params.npz"}', f'--to={tmp_path / "other.npz"}']) == 2
    assert 'copy the JSON as well' in capsys.readouterr().err


def test_windows_of_images_of_any_size_are_read():
    """Parameters are compared without images that the window would have to fit."""
    params = params_of('transmorph', OPTIONS['transmorph'] | {'window': (2, 9, 3)})
    state = with_buffers(to_official(params)[0], (2, 9, 3))
    assert from_official(state)[2]['window'] == (2, 9, 3)
    assert small_params('transmorph').keys() == params.keys()
