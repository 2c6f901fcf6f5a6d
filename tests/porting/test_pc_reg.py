"""Official weights of PC-Reg-RT, saved as two files, come over as one state dict and go back bit for bit."""

import jax
import numpy as np
import pytest

from autofuse_jax.errors import UserError
from autofuse_jax.methods.registry import METHODS
from autofuse_jax.porting import from_official, to_official
from autofuse_jax.porting.convert import check_shapes, unflatten
from autofuse_jax.porting.pc_reg_tensors import join_official, split_official
from tests.porting.small import assert_same
from tests.quick import quick_jit

CLASSES, BASE = 3, 4


def official_shapes(inputs, outputs):
    """Names and shapes of the official networks' tensors, in their order."""
    widths = [BASE * 2**level for level in range(5)]
    blocks = {'unet.inc': (inputs, widths[0])}
    blocks |= {f'unet.down{n}.maxpool_conv.1': (widths[n - 1], widths[n]) for n in range(1, 5)}
    blocks |= {f'unet.up{n}.conv': (widths[4 - n] + widths[5 - n], widths[4 - n]) for n in range(1, 5)}
    shapes = {}
    for name, (wide, width) in blocks.items():
        for position, shape in enumerate([(width, wide, 3, 3, 3), (width,), None, (width, width, 3, 3, 3), (width,)]):
            if shape is not None:
                shapes[f'{name}.double_conv.{position}.weight'] = shape
                shapes[f'{name}.double_conv.{position}.bias'] = (width,)
    return shapes | {'out_conv.weight': (outputs, widths[0], 1, 1, 1), 'out_conv.bias': (outputs,)}


def filled(shapes, seed):
    rng = np.random.default_rng(seed)
    return {name: rng.normal(scale=0.1, size=shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.fixture(scope='module')
def states():
    return filled(official_shapes(1, CLASSES), 0), filled(official_shapes(2 * (CLASSES - 1), 3), 1)


def test_both_networks_come_and_go(states):
    assert all(len(state) == 74 for state in states)
    params, found, options = from_official(join_official(*states))
    assert found.name == 'pc_reg' and options == {'num_classes': CLASSES, 'base_channels': BASE, 'test_masks': 'soft'}
    check_shapes(params, found.method, options)
    for state, back in zip(states, split_official(to_official(params)[0]), strict=True):
        assert_same(back, state)


def test_ported_weights_are_accepted_by_the_network(states):
    params, _, options = from_official(join_official(*states))
    network = METHODS['pc_reg'].network(**options)
    fixed, moving = np.random.default_rng(2).random((2, 1, 16, 16, 16, 1)).astype(np.float32)
    tree = jax.tree.map(jax.numpy.asarray, unflatten(params))
    output = quick_jit(lambda params: network.apply({'params': params}, fixed, moving))(tree)
    assert output.displacement.shape == (1, 16, 16, 16, 3) and np.isfinite(output.displacement).all()
    assert output.fixed_segmentation.shape == (1, 16, 16, 16, CLASSES)


def test_exchanged_networks_are_refused(states):
    with pytest.raises(UserError, match='do not fit the network pc_reg'):
        from_official(join_official(*reversed(states)))


def test_one_network_alone_is_not_enough(states):
    with pytest.raises(UserError, match=r'74 missing \(reger\.'):
        from_official(join_official(states[0], {}), 'pc_reg')


def test_names_of_other_networks_are_not_split(states):
    with pytest.raises(UserError, match='other.weight is of neither network'):
        split_official(join_official(*states) | {'other.weight': np.zeros(1)})
