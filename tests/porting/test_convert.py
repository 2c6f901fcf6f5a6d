"""Weights survive the way to PyTorch's layout and back, and nothing wrong gets through."""

import numpy as np
import pytest

from autofuse_jax.errors import UserError
from autofuse_jax.porting import ARCHITECTURES, from_official, to_official
from autofuse_jax.porting.architectures import with_buffers
from autofuse_jax.porting.convert import check_shapes
from tests.porting.small import OPTIONS, assert_same, small_params, small_state

# Transformers whose parts autofuse_trans_semi has, too.
LONG = ('autofuse_trans_unsup', 'autofuse_trans_semi_swin')


@pytest.mark.parametrize(
    'name', [name if name not in LONG else pytest.param(name, marks=pytest.mark.slow) for name in ARCHITECTURES]
)
def test_round_trips_are_exact(name):
    params = small_params(name)
    state, architecture = to_official(params, name)
    back, found, options = from_official(state)
    assert architecture.name == found.name == name and options == OPTIONS[name]
    assert_same(dict(sorted(back.items())), dict(sorted(params.items())))
    assert_same(to_official(back)[0], state)


def test_layouts():
    params = small_params('autofuse_trans_unsup')
    state, _ = to_official(params)
    kernel = params['single_branch/merging_2/kernel']
    assert state['SinglePath.downsample_1.down_conv.weight'][3, 1, 0, 1, 0] == kernel[0, 1, 0, 1, 3]
    kernel = params['single_branch/expanding_5/kernel']
    assert state['SinglePath.upsample_4.up_conv.weight'][3, 1, 0, 1, 0] == kernel[0, 1, 0, 3, 1]
    kernel = params['fusion_branch/stage_1/block_2/attention/qkv/kernel']
    assert state['FusionPath.trans_1.blocks.1.attn.qkv.weight'][17, 2] == kernel[2, 17]


def test_names_of_data_parallel_and_buffers_are_accepted():
    state = small_state('autofuse_trans_semi')
    wrapped = {f'module.{name}': array for name, array in with_buffers(state).items()}
    assert_same(from_official(wrapped)[0], from_official(state)[0])


@pytest.mark.parametrize('dtype', [np.float16, np.float64])
def test_other_precisions_become_float32(dtype):
    state = {name: array.astype(dtype) for name, array in small_state('autofuse_unsup').items()}
    params, _, _ = from_official(state)
    assert {array.dtype for array in params.values()} == {np.dtype(np.float32)}
    name = 'single_branch/conv_1/conv_1/bias'
    np.testing.assert_array_equal(params[name], state['SinglePath.conv_1.Conv_1.bias'].astype(np.float32))


@pytest.mark.parametrize('value', [np.nan, -np.inf])
def test_weights_that_are_not_finite_are_refused(value):
    state = small_state('autofuse_unsup')
    state['FusionPath.FG_3.Conv.bias'][1] = value
    with pytest.raises(UserError, match=r'FusionPath.FG_3.Conv.bias holds 1 NaN or infinite values of 8'):
        from_official(state)
    params = small_params('autofuse_unsup')
    params['fusion_branch/gate_3/single/bias'][1] = value
    with pytest.raises(UserError, match='fusion_branch/gate_3/single/bias holds 1 NaN'):
        to_official(params)


def test_integers_are_refused():
    state = small_state('autofuse_unsup')
    state['FusionPath.FG_3.Conv.bias'] = np.zeros(8, np.int64)
    with pytest.raises(UserError, match='FusionPath.FG_3.Conv.bias holds int64'):
        from_official(state)


def test_inconsistent_class_counts_are_named():
    state = small_state('autofuse_semi')
    state['SinglePath.seghead.seg_head.bias'] = np.zeros(4, np.float32)
    with pytest.raises(UserError, match=r'SinglePath.seghead.seg_head.bias: \(4,\), expected \(3,\)'):
        from_official(state)


def test_wrong_shapes_are_named():
    state = small_state('autofuse_unsup')
    state['FusionPath.conv_2.Conv_1.weight'] = np.zeros((8, 4, 3, 3, 1), np.float32)
    with pytest.raises(UserError, match=r'conv_2.Conv_1.weight: \(3, 3, 1, 4, 8\), expected \(3, 3, 3, 4, 8\)'):
        from_official(state)
    state['FusionPath.conv_2.Conv_1.weight'] = np.zeros((8, 4), np.float32)
    with pytest.raises(UserError, match='has shape .*expected: 5 axes|FusionPath.conv_2.Conv_1.weight has shape'):
        from_official(state)


def test_weights_of_another_class_count_do_not_fit():
    params = small_params('autofuse_semi', num_classes=4)
    with pytest.raises(UserError, match=r'segmentation_head/conv/bias: \(4,\), expected \(3,\)'):
        check_shapes(params, 'autofuse', OPTIONS['autofuse_semi'])


def test_an_empty_state_dict_is_refused():
    with pytest.raises(UserError, match='missing'):
        from_official({})
