"""The convolution on CPU against XLA's own three-dimensional one, and how layers start."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from autofuse_jax.models import winograd
from autofuse_jax.models.conv3d import (
    MAX_CHANNELS_TO_GATHER_TAPS,
    Conv3d,
    _conv3d_by_slices,
    conv3d,
    uniform_fan_in,
)
from autofuse_jax.sharding import make_mesh
from tests.quick import quick_key

KERNELS = [(3, 3, 3), (5, 1, 1), (1, 5, 1), (1, 1, 5), (1, 1, 1), (3, 1, 1), (5, 3, 1)]
# On either side of the number of channels at which the depth taps are no longer gathered.
CHANNELS = [1, MAX_CHANNELS_TO_GATHER_TAPS, MAX_CHANNELS_TO_GATHER_TAPS + 1]


def reference(volume, kernel):
    return jax.lax.conv_general_dilated(
        volume, kernel, (1, 1, 1), 'SAME', dimension_numbers=('NDHWC', 'DHWIO', 'NDHWC')
    )


def value_and_gradients(function):
    """Of a random weighting of the output, so that every output voxel counts."""

    @jax.jit
    def compute(volume, kernel, weight):
        value, pull = jax.vjp(function, volume, kernel)
        return value, *pull(weight)

    return compute


@pytest.mark.parametrize('channels', CHANNELS)
@pytest.mark.parametrize('size', KERNELS)
def test_equals_the_three_dimensional_convolution(size, channels):
    rng = np.random.default_rng(0)
    volume = jnp.asarray(rng.normal(size=(2, 4, 5, 6, channels)), jnp.float32)
    kernel = jnp.asarray(rng.normal(size=(*size, channels, 3)), jnp.float32)
    weight = jnp.asarray(rng.normal(size=(2, 4, 5, 6, 3)), jnp.float32)
    found = value_and_gradients(conv3d)(volume, kernel, weight)
    wanted = value_and_gradients(reference)(volume, kernel, weight)
    for one, other in zip(found, wanted, strict=True):
        assert one.shape == other.shape and one.dtype == other.dtype
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('size', [(3, 3, 3), (5, 1, 1), (1, 3, 5)])
def test_against_scipy(size):
    rng = np.random.default_rng(1)
    volume, kernel = rng.normal(size=(4, 5, 6)), rng.normal(size=size)
    wanted = ndimage.correlate(volume, kernel, mode='constant', cval=0.0)
    found = conv3d(jnp.asarray(volume[None, ..., None], jnp.float32), jnp.asarray(kernel[..., None, None], jnp.float32))
    np.testing.assert_allclose(found[0, ..., 0], wanted, atol=1e-5)


def test_samples_do_not_mix():
    # The depth axis is folded into the batch: the slice beyond the end of one sample must not be the next sample's.
    volume = jnp.zeros((2, 3, 4, 4, 1)).at[1].set(1.0)
    result = conv3d(volume, jnp.ones((3, 3, 3, 1, 1)))
    np.testing.assert_array_equal(result[0], 0)
    # A corner voxel has 2 * 2 * 2 neighbours inside, itself included; the middle one of this volume 3 * 3 * 3.
    assert result[1, 0, 0, 0, 0] == 8 and result[1, 1, 1, 1, 0] == 27


def test_double_precision_is_kept():
    with jax.enable_x64(True):
        volume, kernel = jnp.ones((1, 3, 3, 3, 2), jnp.float64), jnp.ones((3, 3, 3, 2, 1), jnp.float64)
        assert jax.eval_shape(conv3d, volume, kernel).dtype == jnp.float64


@pytest.mark.parametrize('size', [(2, 3, 3), (3, 4, 3), (1, 1, 2)])
def test_even_kernels_are_refused(size):
    with pytest.raises(ValueError, match='expected odd sizes') as error:
        conv3d(jnp.zeros((1, 4, 4, 4, 1)), jnp.zeros((*size, 1, 1)))
    assert str(size) in str(error.value)


@pytest.mark.parametrize(
    ('volume', 'kernel'),
    [
        ((1, 4, 4, 4, 2), (3, 3, 3, 1, 1)),
        ((4, 4, 4, 1), (3, 3, 3, 1, 1)),
        ((1, 4, 4, 4, 1), (3, 3, 1, 1)),
    ],
)
def test_shapes_that_do_not_fit_are_named(volume, kernel):
    with pytest.raises(ValueError, match='do not fit') as error:
        conv3d(jnp.zeros(volume), jnp.zeros(kernel))
    assert str(volume) in str(error.value) and str(kernel) in str(error.value)


def test_initial_kernel_is_uniform_in_the_fan_in():
    # Fan-in 3 * 3 * 3 * 8 = 216: bound 1 / sqrt(216) = 0.068, standard deviation bound / sqrt(3).
    kernel = np.asarray(uniform_fan_in(quick_key(), (3, 3, 3, 8, 20)))
    bound = 216**-0.5
    assert np.abs(kernel).max() <= bound and np.abs(kernel).max() > 0.99 * bound
    np.testing.assert_allclose([kernel.mean(), kernel.std()], [0, bound / np.sqrt(3)], atol=0.02 * bound)


def test_layer():
    layer = Conv3d(4, (3, 1, 1))
    volume = jnp.asarray(np.random.default_rng(2).normal(size=(1, 4, 4, 4, 2)), jnp.float32)
    params = layer.init(quick_key(), volume)['params']
    assert jax.tree.map(jnp.shape, params) == {'kernel': (3, 1, 1, 2, 4), 'bias': (4,)}
    # The bias is drawn with the kernel's bound, 1 / sqrt(3 * 2).
    assert 0 < jnp.abs(params['bias']).max() <= 6**-0.5
    wanted = reference(volume, params['kernel']) + params['bias']
    np.testing.assert_allclose(layer.apply({'params': params}, volume), wanted, atol=1e-5)
    assert jax.eval_shape(layer.apply, {'params': params}, volume.astype(jnp.bfloat16)).dtype == jnp.bfloat16


def test_layer_with_other_initial_values():
    layer = Conv3d(2, (1, 1, 1), nn.initializers.ones_init(), nn.initializers.constant(-10.0))
    params = layer.init(quick_key(), jnp.zeros((1, 2, 2, 2, 3)))['params']
    np.testing.assert_array_equal(params['kernel'], 1)
    np.testing.assert_array_equal(params['bias'], -10)


@pytest.mark.parametrize('depth', [2, 3, 4, 5, 8])
@pytest.mark.parametrize('algorithm', [winograd.F2, winograd.F4])
def test_fewer_products_give_the_same(algorithm, depth):
    rng = np.random.default_rng(2)
    channels = MAX_CHANNELS_TO_GATHER_TAPS + 1
    volume = jnp.asarray(rng.normal(size=(2, depth, 4, 5, channels)), jnp.float32)
    kernel = jnp.asarray(rng.normal(size=(3, 3, 3, channels, 3)), jnp.float32)
    weight = jnp.asarray(rng.normal(size=(2, depth, 4, 5, 3)), jnp.float32)
    shortened = functools.partial(winograd.filter_depth, convolve_slices=slices, algorithm=algorithm)
    found = value_and_gradients(shortened)(volume, kernel, weight)
    wanted = value_and_gradients(reference)(volume, kernel, weight)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


def slices(volume, kernel):
    return reference(volume, kernel[None])


def test_large_volumes_need_fewer_products(monkeypatch):
    shapes = jnp.zeros((1, 8, 4, 4, 16)), jnp.zeros((3, 3, 3, 16, 2))

    def products(dtype):
        arrays = [array.astype(dtype) for array in shapes]
        return str(jax.make_jaxpr(functools.partial(_conv3d_by_slices, stride=1))(*arrays)).count(
            'conv_general_dilated['
        )

    assert products(jnp.float32) == 3  # too small to be worth it
    monkeypatch.setattr('autofuse_jax.models.conv3d.MIN_PRODUCTS_FOR_WINOGRAD', 0)
    assert products(jnp.float32) == 6
    assert products(jnp.bfloat16) == 3  # its sums of slices would be rounded too coarsely


@pytest.mark.parametrize(('depth', 'algorithm'), [(1, None), (2, winograd.F2), (4, winograd.F4), (6, winograd.F2)])
def test_the_algorithm_with_the_fewest_products(depth, algorithm):
    assert winograd.fastest(depth) is algorithm


def test_winograd_needs_three_taps():
    with pytest.raises(ValueError, match='5 taps'):
        winograd.filter_depth(jnp.zeros((1, 4, 4, 4, 1)), jnp.zeros((5, 3, 3, 1, 1)), slices, winograd.F4)


def test_devices_that_share_volumes_keep_the_whole_convolution():
    volume, kernel = jnp.zeros((2, 8, 4, 4, 16)), jnp.zeros((3, 3, 3, 16, 2))
    with jax.set_mesh(make_mesh(4, depth=2)):
        shared = str(jax.make_jaxpr(conv3d)(volume, kernel))
    assert shared.count('conv_general_dilated[') == 1
    with jax.set_mesh(make_mesh(4)):
        assert str(jax.make_jaxpr(conv3d)(volume, kernel)).count('conv_general_dilated[') > 1
