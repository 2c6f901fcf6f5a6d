"""What every network that a config can name refuses when it is made: each of its options in turn."""

import dataclasses

import pytest

from autofuse_jax.errors import UserError
from autofuse_jax.methods.registry import METHODS, section_options
from autofuse_jax.models.ac_dmir import ACDMiR
from autofuse_jax.models.autofuse import AutoFuse
from autofuse_jax.models.autofuse_trans import AutoFuseTrans
from autofuse_jax.models.dtn import DTN
from autofuse_jax.models.gl_net import GLNet
from autofuse_jax.models.jpr_net import JPRNet
from autofuse_jax.models.multi_fuse import MultiFuse
from autofuse_jax.models.pc_reg import PCReg
from autofuse_jax.models.rsegnet import RSegNet
from autofuse_jax.models.transmatch import TransMatch
from autofuse_jax.models.transmorph import TransMorph
from autofuse_jax.models.windows import Size
from autofuse_jax.models.xmorpher import XMorpher

NETWORKS = sorted({kind.network for kind in METHODS.values()}, key=lambda network: network.__name__)
OPTIONS = sorted(
    {(kind.network, option) for name, kind in METHODS.items() for option in section_options(name, 'model')},
    key=lambda pair: (pair[0].__name__, pair[1]),
)
# What an option of a type must not be; everything else must not be an empty sequence.
WRONG = {
    bool: (1, 'no'),
    int: (-1, 2.5, '16', True),
    float: (-0.5, float('nan'), '1'),
    str: ('unheard',),
    Size: ((4, 4), (4, 4, 0), (4, 4, 4.0), 4),
    tuple[int, ...]: ((), (2, 0), (1.5,), 2),
}


@pytest.mark.parametrize(('network', 'option'), OPTIONS, ids=[f'{net.__name__}-{name}' for net, name in OPTIONS])
def test_each_option_refuses_what_it_cannot_be(network, option):
    field = {field.name: field for field in dataclasses.fields(network)}[option]
    for value in WRONG.get(field.type, ((),)):
        with pytest.raises(UserError, match=rf'model\.{option}\b.* Expected: .* To fix: '):
            network(**{option: value})


def test_all_networks_are_here():
    assert len(NETWORKS) >= 18


@pytest.mark.parametrize(
    ('network', 'options', 'words'),
    [
        (AutoFuse, {'num_classes': 1}, 'model.num_classes is 1.*2 or more'),
        (AutoFuse, {'fusion_pooling': (2, 2)}, r'model.fusion_pooling is \(2, 2\).*3 numbers'),
        (AutoFuse, {'remat': 'gates,none'}, "model.remat is 'gates,none'.*'none' or names among all"),
        (AutoFuseTrans, {'base_channels': 12}, 'model.base_channels is 12.*multiple of 8.*set model.base_channels=16'),
        (MultiFuse, {'base_channels': 3}, 'a multiple of 2, because the single branches have half of it'),
        (PCReg, {'base_channels': 6}, 'a multiple of 4.*set model.base_channels=8'),
        (TransMorph, {'depths': (2, 2)}, r'model.depths is \(2, 2\).*4 numbers'),
        (TransMorph, {'num_heads': (5, 4, 8, 8)}, 'model.num_heads is .* for stages of 96, 192, 384, 768 channels'),
        (TransMorph, {'drop_path': 1.0}, 'model.drop_path is 1.0.*less than 1'),
        (TransMatch, {'cross_heads': 7}, 'model.embed_dim is 96.*multiple of 7'),
        (XMorpher, {'num_heads': (3, 6)}, 'model.depths is .* and model.num_heads is .*equally long'),
        (XMorpher, {'num_heads': (5, 6, 12, 24)}, 'numbers that divide the channels of their stage'),
        (DTN, {'size': (144, 192, 100)}, r'model.size is \(144, 192, 100\).*multiples of 16'),
        (DTN, {'token_width': 100}, 'model.token_width is 100.*multiple of 8'),
        (DTN, {'decoder_widths': ((4,), (4,))}, 'one entry less in decoder_widths'),
        (DTN, {'decoder_widths': ((4,), (4,), (), (4,))}, 'an entry of model.decoder_widths is'),
    ],
)
def test_options_that_do_not_fit_together_are_refused(network, options, words):
    with pytest.raises(UserError, match=words):
        network(**options)


@pytest.mark.parametrize('network', [ACDMiR, GLNet, JPRNet, PCReg, RSegNet])
@pytest.mark.parametrize('classes', [0, 1])
def test_networks_that_cannot_do_without_a_structure(network, classes):
    with pytest.raises(UserError, match=f'model.num_classes is {classes}.*2 or more'):
        network(num_classes=classes)


def test_a_network_is_checked_when_it_is_changed():
    with pytest.raises(UserError, match='model.fusion is .add.'):
        AutoFuse().clone(fusion='add')
    assert AutoFuse().clone(fusion='sum').fusion == 'sum'
