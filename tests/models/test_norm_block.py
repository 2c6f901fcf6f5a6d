"""The block of convolution, group norm and activation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autofuse_jax.models.conv3d import conv3d
from autofuse_jax.models.conv_blocks import activate, instance_norm
from autofuse_jax.models.norm_block import NormBlock
from tests.quick import quick_key, random_params

VOLUME = jnp.asarray(np.random.default_rng(0).normal(size=(1, 4, 4, 4, 2)), jnp.float32)


def params_of(block):
    return random_params(jax.eval_shape(block.init, quick_key(), VOLUME)['params'])


def test_by_hand():
    """With groups of one channel: instance norms, each scaled and shifted, each before the activation."""
    params = params_of(NormBlock(4))
    expected = VOLUME
    for number in (1, 2):
        convolution, norm = params[f'conv_{number}'], params[f'norm_{number}']
        convolved = conv3d(expected, convolution['kernel']) + convolution['bias']
        expected = activate(instance_norm(convolved) * norm['scale'] + norm['bias'])
    np.testing.assert_allclose(NormBlock(4).apply({'params': params}, VOLUME), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(('size', 'same'), [(1, True), (2, False)])
def test_groups_of_several_channels_share_their_statistics(size, same):
    """Instance norm takes away a channel's scale; the norm of a group does not."""
    block = NormBlock(4, group_size=size)
    params = params_of(block)
    scaled = params | {'conv_1': jax.tree.map(lambda leaf: leaf * jnp.asarray([3.0, 1, 1, 1]), params['conv_1'])}
    one, other = (block.apply({'params': p}, VOLUME) for p in (params, scaled))
    assert bool(np.allclose(one, other, atol=1e-3)) is same
