"""Names, shapes and order of the official state dicts, and telling networks by them."""

import json

import numpy as np
import pytest

from autofuse_jax.errors import UserError
from autofuse_jax.methods.registry import make_method
from autofuse_jax.porting import ARCHITECTURES, recognise, to_official
from autofuse_jax.porting.architectures import with_buffers
from autofuse_jax.porting.convert import flatten, parameter_structure
from tests.porting.small import OPTIONS, small_state
from tests.porting.test_parity import GOLDEN

# Table: architecture and options of the full-size network.
TABLES = {
    'autofuse_uns': ('autofuse_unsup', {}),
    'autofuse_semi_4classes': ('autofuse_semi', {'num_classes': 4, 'segmentation_feedback': 'argmax'}),
    'autofuse_semi_20classes': ('autofuse_semi', {'num_classes': 20, 'segmentation_feedback': 'argmax'}),
    'autofuse_trans_uns': ('autofuse_trans_unsup', {}),
    'autofuse_trans_semi_4classes': (
        'autofuse_trans_semi',
        {'num_classes': 4, 'segmentation_feedback': 'argmax', 'single_branch': 'convolutional'},
    ),
}
# The form with Swin single branches is that of an early release: the unsupervised network and these behind these.
SWIN_SEGMENTATION = {
    'SinglePath.trans_7.blocks.1.mlp.linear2.bias': [
        'conv_1.Conv_1',
        'conv_1.Conv_2',
        'conv_8.Conv_1',
        'conv_8.Conv_2',
    ],
    'SinglePath.backdim_7.bias': ['ReverseEmbed.proj', 'ReverseEmbed.norm', 'seghead.seg_head'],
}


@pytest.fixture(scope='module')
def tables():
    return json.loads((GOLDEN / 'state_dict_tables.json').read_text())


def test_every_table_is_compared(tables):
    assert set(tables) == set(TABLES)


@pytest.mark.parametrize('table', TABLES)
def test_exported_names_and_shapes_are_those_of_the_official_network(tables, table):
    architecture, options = TABLES[table]
    structure = flatten(parameter_structure(make_method(ARCHITECTURES[architecture].method, options, {})))
    # No memory is touched for these zeros.
    zeros = {name: np.broadcast_to(np.float32(0), leaf.shape) for name, leaf in structure.items()}
    state, found = to_official(zeros)
    assert found.name == architecture
    assert [[name, list(array.shape)] for name, array in state.items()] == tables[table]['tensors']
    assert sum(array.size for array in state.values()) == tables[table]['parameters']


def test_names_of_the_segmenting_swin_network(tables):
    options = {'num_classes': 4, 'segmentation_feedback': 'argmax'}
    structure = flatten(parameter_structure(make_method('autofuse_trans', options, {})))
    state, found = to_official({name: np.broadcast_to(np.float32(0), leaf.shape) for name, leaf in structure.items()})
    assert found.name == 'autofuse_trans_semi_swin'
    wanted = []
    for name, _ in tables['autofuse_trans_uns']['tensors']:
        added = [
            f'SinglePath.{layer}.{kind}' for layer in SWIN_SEGMENTATION.get(name, []) for kind in ('weight', 'bias')
        ]
        wanted += [name, *added]
    assert list(state) == wanted and len(wanted) == 564
    assert sum(array.size for array in state.values()) == 40_609_130


@pytest.mark.parametrize(
    ('name', 'buffers'), [('autofuse_semi', 0), ('autofuse_trans_unsup', 28), ('autofuse_trans_semi', 14)]
)
def test_integer_buffers_are_rebuilt_behind_their_tables(name, buffers):
    state = small_state(name)
    complete = with_buffers(state)
    added = [key for key in complete if key not in state]
    assert len(added) == buffers and [key for key in complete if key in state] == list(state)
    for key in added:
        index = complete[key]
        assert index.shape == (125, 125) and index.dtype == np.int64
        # A token has the offset 0 to itself, which is the middle of the table.
        assert set(np.diag(index)) == {(9**3 - 1) // 2} and (index.min(), index.max()) == (0, 9**3 - 1)
        before = list(complete)[list(complete).index(key) - 1]
        assert before == key.replace('relative_position_index', 'relative_position_bias_table')


@pytest.mark.parametrize('name', ARCHITECTURES)
def test_options_are_read_from_the_shapes(name):
    shapes = {key: array.shape for key, array in small_state(name).items()}
    assert ARCHITECTURES[name].options_of(shapes, {}) == OPTIONS[name]


def test_softmax_feedback_is_read_from_the_shapes():
    shapes = {key: array.shape for key, array in small_state('autofuse_semi', segmentation_feedback='softmax').items()}
    assert ARCHITECTURES['autofuse_semi'].read_options(shapes)['segmentation_feedback'] == 'softmax'


@pytest.mark.parametrize('official', [True, False])
@pytest.mark.parametrize('name', ARCHITECTURES)
def test_architectures_are_recognised(name, official):
    names = ARCHITECTURES[name].official_names if official else ARCHITECTURES[name].our_names
    assert recognise(reversed(names), official=official).name == name


def test_another_architecture_is_named_with_what_differs():
    names = ARCHITECTURES['autofuse_unsup'].official_names
    with pytest.raises(UserError, match='those of autofuse_unsup, not of autofuse_semi: 6 missing .*seg_head'):
        recognise(names, official=True, architecture_name='autofuse_semi')


def test_missing_and_extra_tensors_are_listed():
    names = [name for name in ARCHITECTURES['autofuse_semi'].official_names if 'FG_5.ELK.Conv_2' not in name]
    with pytest.raises(UserError) as error:
        recognise([*names, 'FusionPath.extra'], official=True)
    message = str(error.value)
    assert 'do not fit autofuse_semi, the closest architecture: 2 missing' in message
    assert 'FusionPath.FG_5.ELK.Conv_2.bias' in message and '1 extra (FusionPath.extra)' in message


def test_an_unknown_architecture_is_named():
    with pytest.raises(UserError, match="unknown architecture 'demons'.*autofuse_trans_semi"):
        recognise([], official=True, architecture_name='demons')
