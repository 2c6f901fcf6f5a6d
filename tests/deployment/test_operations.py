"""Each operation in OpenVINO gives what it gives in JAX, wherever the axes of its operands lie."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_name

from autofuse_jax.deployment.runtime import compiled, openvino_runtime
from autofuse_jax.errors import UserError
from autofuse_jax.fields import integrate_velocity, warp_linear
from autofuse_jax.fields.warp import warp_nearest
from autofuse_jax.models.conv3d import conv3d
from autofuse_jax.models.conv_blocks import activate, downsample, instance_norm, upsample
from autofuse_jax.models.resolution import (
    max_pool,
    transposed_conv,
    upsample_half_pixel,
    upsample_nearest,
)
from tests.quick import quick_jit

pytest.importorskip('openvino')
CHANNELS = 4
SHAPE = (2, 4, 6, 8, CHANNELS)


def to_graph(function, *inputs):
    """Convert a function of arrays called a, b, ..., to one result or a tuple of results."""
    # Not above: without the package there is nothing to import.
    openvino_runtime()
    from autofuse_jax.deployment import graph

    def named(*arguments):
        found = function(*arguments)
        return {f'result {i}': array for i, array in enumerate(found if isinstance(found, tuple) else (found,))}

    shapes = [jax.ShapeDtypeStruct(array.shape, array.dtype) for array in inputs]
    return graph.to_graph(named, dict(zip('ab', shapes, strict=False)))


def kinds(graph):
    """Names of the operations of a graph."""
    return [node.get_type_name() for node in graph.get_ops()]


def check(function, *inputs, atol=1e-5):
    """Compare a function with its graph; returns the graph."""
    wanted = quick_jit(function)(*inputs)
    graph = to_graph(function, *inputs)
    wanted = wanted if isinstance(wanted, tuple) else (wanted,)
    for ours, theirs in zip(compiled(graph)(*inputs).values(), wanted, strict=True):
        assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=atol)
    return graph


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def convolved(volume, size=(3, 3, 3), features=CHANNELS, stride=1):
    """Our axes are in another order behind a convolution than before it."""
    kernel = 0.2 * draw(*size, volume.shape[-1], features, seed=1)
    return conv3d(volume, kernel, stride=stride)


BEHIND_A_CONVOLUTION = {
    'stride': lambda x: convolved(x, stride=2),
    'flat kernels': lambda x: convolved(convolved(x, (1, 3, 5)), (3, 1, 1)),
    'one voxel': lambda x: convolved(x, (1, 1, 1)),
    'bias': lambda x: convolved(x) + draw(CHANNELS, seed=2),
    'norm': lambda x: instance_norm(activate(convolved(x))),
    'downsample': lambda x: downsample(convolved(x)),
    'upsample': lambda x: upsample(convolved(x)),
    'half pixels': lambda x: upsample_half_pixel(convolved(x)),
    'nearest': lambda x: upsample_nearest(convolved(x)),
    'max pool': lambda x: max_pool(convolved(x)),
    'transposed': lambda x: transposed_conv(convolved(x), 0.1 * draw(4, 4, 4, CHANNELS, 3, seed=3)),
    'flat': lambda x: convolved(x).reshape(2, -1, CHANNELS),
    'merged with channels': lambda x: convolved(x).reshape(2, 4, 6, 8 * CHANNELS),
    'windows': lambda x: (
        convolved(x).reshape(2, 2, 2, 3, 2, 2, 4, 4).transpose(0, 1, 3, 5, 2, 4, 6, 7).reshape(-1, 16, 4)
    ),
    'softmax': lambda x: jax.nn.softmax(convolved(x), axis=-1),
    'channels of two': lambda x: jnp.concatenate([convolved(x), x], axis=-1),
    'other half of the batch': lambda x: convolved(x)[1::2, ::-1, 1:-1, ::3],
    'exchanged': lambda x: convolved(x).reshape(1, 2, *SHAPE[1:])[:, ::-1].reshape(SHAPE),
    'mean over channels': lambda x: x * jnp.mean(convolved(x), axis=-1, keepdims=True),
    'largest': lambda x: (jnp.max(convolved(x), axis=(1, 4)), jnp.argmax(convolved(x), axis=-1)),
    'sums along an axis': lambda x: jnp.cumsum(convolved(x), axis=2),
    'shifted': lambda x: jnp.roll(convolved(x), (1, 2), axis=(1, 3)),
    'padded': lambda x: jnp.pad(convolved(x), ((0, 0), (1, 0), (0, 2), (0, 0), (3, 1)), constant_values=2.0),
    'a channel': lambda x: convolved(x)[..., 1] * x[..., 0],
    'split': lambda x: jnp.concatenate(jnp.split(convolved(x), 2, axis=-1)[::-1], axis=1),
    'stacked': lambda x: jnp.stack([x, convolved(x)], axis=2),
}
SINGLE = {
    'arithmetic': lambda x: (jnp.exp(-x) + jnp.tanh(x) * jnp.abs(x) - jnp.sqrt(jnp.abs(x)) / (2 + jnp.cos(x))) ** 3,
    'powers': lambda x: (jnp.square(x), x**-2, jnp.power(jnp.abs(x) + 1, 0.3), jax.lax.rsqrt(x * x + 1), 1 / (x + 9)),
    'rounding': lambda x: (jnp.round(10 * x), jnp.floor(x), jnp.ceil(x), (3 * x).astype(np.int32), jnp.sign(x)),
    'gelu': lambda x: jax.nn.gelu(x, approximate=False),
    'logic': lambda x: ((x > 0) & ~(x < 1) | (x == 0)).astype(np.float32) + (x.astype(np.int32) & 3),
    'clip': lambda x: (jnp.clip(x, -0.5, 0.5), jax.lax.clamp(np.float32(-1), x, np.float32(1))),
    # Close to what has a kernel of its own, and something else.
    'not leaky': lambda x: jnp.where(x >= 0, x, 0.2 * jnp.flip(x)),
    'leaky from 1 on': lambda x: jnp.where(x >= 1, x, 0.2 * x),
    'not a mean': lambda x: jnp.sum(x, axis=1, keepdims=True) / 7 + jnp.sum(x, axis=(2, 3), keepdims=True) / 4,
    'broadcasts': lambda x: x[:, :1] + x[0, 0, 0, 0] + jnp.arange(8.0)[:, None],
    'columns': lambda x: (
        jnp.take(x, np.array([3, 0, 1]), axis=4) + jnp.take(x, np.array([0, 5, 2]), axis=3)[..., :3][..., :3].sum()
    ),
    'outside': lambda x: jnp.take(x, jnp.argmax(x[0, 0, 0], axis=-1) - 1, axis=2, mode='clip'),
    'products': lambda x: (
        jnp.einsum('abcde,abcfe->abcdf', x, x) + jnp.einsum('ij,abcdi->abcj', draw(4, 8), x).sum(3)[..., None, None]
    ),
    'window sums': lambda x: jax.lax.reduce_window(x, 0.0, jax.lax.add, (1, 3, 3, 1, 1), (1, 1, 2, 1, 1), 'SAME'),
    'window maxima': lambda x: jax.lax.reduce_window(
        x, -np.inf, jax.lax.max, (1, 2, 2, 2, 1), (1, 2, 2, 2, 1), 'VALID'
    ),
    'reversed loop': lambda x: jax.lax.scan(lambda c, row: (c + row, c * row), x[0, 0], x[1], reverse=True),
    'remat': lambda x: jax.checkpoint(lambda y: jnp.sin(y) * 2)(x),
    'name': lambda x: checkpoint_name(jnp.sin(x), 'kept'),
    'input': lambda x: (x, x),
}


@pytest.mark.parametrize('name', BEHIND_A_CONVOLUTION)
def test_operations_behind_a_convolution(name):
    check(BEHIND_A_CONVOLUTION[name], draw(*SHAPE))


@pytest.mark.parametrize('name', SINGLE)
def test_operations(name):
    check(SINGLE[name], draw(*SHAPE))


@pytest.mark.parametrize('function', [warp_linear, warp_nearest])
@pytest.mark.parametrize('batch', [1, 2])
def test_warping_by_a_field_that_leaves_the_grid(function, batch):
    check(jax.vmap(function), draw(batch, 4, 6, 8, 2), 3 * draw(batch, 4, 6, 8, 3, seed=1))


def test_integration_writes_the_squarings_out():
    graph = check(jax.vmap(integrate_velocity), 2 * draw(1, 6, 8, 4, 3))
    assert kinds(graph).count('Gather') == 7 * 8


def test_the_mean_of_everything_is_that_of_each_channel_first():
    """As gates are summarised: no copy of a volume into one line, and as exact as sums of blocks are."""
    volume = 3 + draw(2, 32, 32, 16, 2)

    def means(volume):
        return jnp.mean(convolved(volume), axis=(1, 2, 3, 4))

    graph = to_graph(means, volume)
    (found,) = compiled(graph)(volume).values()
    wanted = np.asarray(jax.jit(convolved)(volume), np.float64).mean((1, 2, 3, 4))
    np.testing.assert_allclose(found, wanted, rtol=2e-6)
    reshaped = [node.output(0) for node in graph.get_ops() if node.get_type_name() == 'Reshape']
    assert max(int(np.prod(output.get_shape())) for output in reshaped) < wanted.size * 1024


@pytest.mark.parametrize('groups', [1, 2])
def test_norms_of_large_volumes_are_as_exact_as_in_jax(groups):
    def normalised(volume):
        return group_norm(volume.reshape(*volume.shape[:4], groups, -1), axis=(1, 2, 3, 5))

    def group_norm(volume, axis):
        centred = volume - jnp.mean(volume, axis, keepdims=True)
        return centred * jax.lax.rsqrt(jnp.mean(centred**2, axis, keepdims=True) + 1e-5)

    volume = 3 + draw(1, 64, 48, 64, 4)
    wide = volume.astype(np.float64).reshape(-1, groups, 4 // groups)
    wanted = (wide - wide.mean((0, 2), keepdims=True)) / np.sqrt(wide.var((0, 2), keepdims=True) + 1e-5)
    (found,) = compiled(to_graph(normalised, volume))(volume).values()
    # Summed one after the other they are off by 1e-4.
    np.testing.assert_allclose(found.reshape(wanted.shape), wanted, atol=5e-6)


def test_groups_of_channels_are_convolved_apart():
    kernel = draw(3, 3, 3, 2, 6, seed=1)

    def grouped(volume):
        return jax.lax.conv_general_dilated(
            volume, kernel, (1, 1, 1), 'SAME', dimension_numbers=('NDHWC', 'DHWIO', 'NDHWC'), feature_group_count=2
        )

    check(grouped, draw(*SHAPE), atol=1e-4)


def test_a_block_of_a_network_is_what_the_runtime_has_kernels_for():
    def block(volume):
        return upsample(convolved(downsample(instance_norm(activate(convolved(volume) + draw(CHANNELS))))))

    found = kinds(to_graph(block, draw(*SHAPE)))
    # The first one takes our volume, the last one gives it back.
    assert found.count('Transpose') == 2
    assert [found.count(name) for name in ('Convolution', 'PRelu', 'AvgPool', 'Interpolate')] == [2, 1, 1, 1]
    assert 'Select' not in found and 'MatMul' not in found


@pytest.mark.parametrize(
    ('operation', 'function'),
    [
        ('sort', lambda x: jnp.sort(x, axis=1)),
        ('atan2', lambda x: jnp.arctan2(x, x)),
        ('while', lambda x: jax.lax.while_loop(lambda y: jnp.sum(y) < 9, lambda y: y + 1, x)),
        ('cond', lambda x: jax.lax.cond(jnp.sum(x) > 0, jnp.sin, jnp.cos, x)),
        ('dynamic_slice', lambda x: jax.lax.dynamic_slice_in_dim(x, jnp.argmax(x[0, :, 0, 0, 0]), 1, 1)),
        ('random_bits', lambda x: x + jax.random.normal(jax.random.wrap_key_data(np.zeros(2, np.uint32)), x.shape)),
    ],
)
def test_an_operation_without_a_counterpart_is_named(operation, function):
    # Random keys have several operations before the one that draws.
    named = 'random_' if operation.startswith('random') else f'the operation {operation}'
    with pytest.raises(UserError, match=named) as error:
        to_graph(function, draw(*SHAPE))
    assert 'stablehlo' in str(error.value)


def test_what_has_no_effect_may_be_anything():
    def sorts_in_vain(x):
        jnp.sort(x)
        return x + 1

    check(sorts_in_vain, draw(2, 3))
