"""The fusion gate and the efficient large kernel block."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autofuse_jax.models.conv3d import conv3d
from autofuse_jax.models.conv_blocks import activate, instance_norm
from autofuse_jax.models.fusion_gate import EfficientLargeKernel, FusionGate, UngatedFusion
from tests.quick import quick_key

CHANNELS = 4
SHAPE = (1, 3, 4, 5)


def features(seed, channels):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(*SHAPE, channels)), jnp.float32)


INPUTS = (features(0, CHANNELS), features(1, CHANNELS // 2), features(2, CHANNELS // 2))


def init(gate):
    return jax.jit(gate.init)(quick_key(), *INPUTS)['params']


@pytest.fixture(scope='module')
def params():
    return init(FusionGate())


def randomised(params, scale=1.0):
    """The same tree with gates that are not zero."""
    rng = np.random.default_rng(3)
    return jax.tree.map(lambda leaf: jnp.asarray(scale * rng.normal(size=leaf.shape), jnp.float32), params)


def test_gates_start_at_one_half(params):
    _, weight = FusionGate().apply({'params': params}, *INPUTS)
    assert weight.shape == (*SHAPE, CHANNELS)
    np.testing.assert_array_equal(weight, 0.5)


def test_random_biases_start_near_one_half():
    params = init(FusionGate(large_kernel=False, random_bias=True))
    # Bound of each bias: 1 / sqrt(2 C) = 0.354 for C = 4; the kernels are zero, so a channel has one weight everywhere.
    bound = (2 * CHANNELS) ** -0.5
    biases = [params[name]['bias'] for name in ('gate_fusion', 'gate_single')]
    assert all(0 < jnp.abs(bias).max() <= bound for bias in biases)
    np.testing.assert_array_equal(params['gate_fusion']['kernel'], 0)
    _, weight = FusionGate(large_kernel=False, random_bias=True).apply({'params': params}, *INPUTS)
    expected = 1 / (1 + np.exp(biases[1] - biases[0]))
    np.testing.assert_allclose(weight, np.broadcast_to(expected, weight.shape), rtol=1e-6)
    assert jnp.abs(weight - 0.5).max() > 0.01


def test_two_way_softmax(params):
    params = randomised(params)
    fused, weight = FusionGate(large_kernel=False).apply(
        {'params': {name: params[name] for name in ('single', 'gate_fusion', 'gate_single')}}, *INPUTS
    )
    fusion, fixed, moving = INPUTS

    def layer(name, volume):
        return conv3d(volume, params[name]['kernel']) + params[name]['bias']

    single = instance_norm(activate(layer('single', jnp.concatenate([fixed, moving], axis=-1))))
    logits = [layer(name, jnp.concatenate([fusion, single], axis=-1)) for name in ('gate_fusion', 'gate_single')]
    w_fuse, w_single = jax.nn.softmax(jnp.stack(logits), axis=0)
    np.testing.assert_allclose(weight, w_fuse, atol=1e-5)
    np.testing.assert_allclose(fused, w_fuse * fusion + w_single * single, atol=1e-4)
    # The weights differ from voxel to voxel and from channel to channel.
    assert weight.std(axis=(1, 2, 3)).min() > 0.01 and weight.std(axis=-1).min() > 0.001


def test_weights_stay_in_their_range(params):
    _, weight = FusionGate().apply({'params': randomised(params, 100.0)}, *INPUTS)
    assert weight.min() >= 0 and weight.max() <= 1
    assert np.isfinite(weight).all() and weight.min() < 0.01 and weight.max() > 0.99


def test_fixed_and_moving_have_their_own_weights(params):
    params = randomised(params)
    fusion, fixed, moving = INPUTS
    one, _ = FusionGate().apply({'params': params}, fusion, fixed, moving)
    other, _ = FusionGate().apply({'params': params}, fusion, moving, fixed)
    assert jnp.abs(one - other).max() > 0.1


def test_parameters(params):
    c = CHANNELS
    large = {'conv_1': (3, 3, 3), 'conv_2': (5, 1, 1), 'conv_3': (1, 5, 1), 'conv_4': (1, 1, 5)}
    assert jax.tree.map(jnp.shape, params) == {
        'single': {'kernel': (3, 3, 3, c, c), 'bias': (c,)},
        'gate_fusion': {'kernel': (1, 1, 1, 2 * c, c), 'bias': (c,)},
        'gate_single': {'kernel': (1, 1, 1, 2 * c, c), 'bias': (c,)},
        'large_kernel': {name: {'kernel': (*size, c, c // 2), 'bias': (c // 2,)} for name, size in large.items()}
        | {'merge': {'kernel': (1, 1, 1, 2 * c, c), 'bias': (c,)}},
    }
    shapes = jax.eval_shape(FusionGate(large_kernel=False).init, jax.random.key(0), *INPUTS)['params']
    assert set(shapes) == {'single', 'gate_fusion', 'gate_single'}


def test_large_kernel_block_with_an_empty_merge_is_the_norm_of_its_input(params):
    volume, block = features(4, CHANNELS), EfficientLargeKernel()
    zeroed = params['large_kernel'] | {'merge': jax.tree.map(jnp.zeros_like, params['large_kernel']['merge'])}
    result = block.apply({'params': zeroed}, volume)
    np.testing.assert_allclose(result, instance_norm(activate(volume)), atol=1e-5)


def test_large_kernel_block_reaches_two_voxels_along_each_axis(params):
    # Only what the merge adds is looked at: the gradient of one voxel's merged value to the input.
    block_params = params['large_kernel']

    def merged(volume):
        parallel = [
            conv3d(volume, block_params[f'conv_{number}']['kernel']) + block_params[f'conv_{number}']['bias']
            for number in range(1, 5)
        ]
        merge = block_params['merge']
        return conv3d(jnp.concatenate(parallel, axis=-1), merge['kernel']) + merge['bias']

    volume = jnp.asarray(np.random.default_rng(5).normal(size=(1, 5, 5, 5, CHANNELS)), jnp.float32)
    result = EfficientLargeKernel().apply({'params': block_params}, volume)
    np.testing.assert_allclose(result, instance_norm(activate(volume + merged(volume))), atol=1e-4)
    gradient = jax.jit(jax.grad(lambda v: merged(v)[0, 2, 2, 2].sum()))(volume)
    reach = jnp.abs(gradient).sum(axis=(0, -1)) > 0
    distance = np.abs(np.indices((5, 5, 5)) - 2)
    # The 27 neighbours and, along the axes, those two voxels away.
    np.testing.assert_array_equal(reach, (distance.max(axis=0) <= 1) | ((distance > 0).sum(axis=0) <= 1))


def test_without_a_gate_features_are_added_or_appended(params):
    """A gate of weight 1/2 gives (x + h) / 2, from which h is known."""
    fused, _ = FusionGate(large_kernel=False).apply({'params': params}, *INPUTS)
    single = {'params': {'single': params['single']}}
    added = UngatedFusion().apply(single, *INPUTS)
    np.testing.assert_allclose(added, 2 * fused, atol=1e-5)
    appended = UngatedFusion(concatenate=True).apply(single, *INPUTS)
    np.testing.assert_allclose(appended, jnp.concatenate([INPUTS[0], 2 * fused - INPUTS[0]], axis=-1), atol=1e-5)
