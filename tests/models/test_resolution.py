"""Changes of resolution: values worked out voxel by voxel, and derivatives that are always there."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autofuse_jax.models.resolution import (
    OverlappingTransposedConv,
    _transposed_by_parity,
    _transposed_whole,
    max_pool,
    transposed_conv,
)
from tests.quick import quick_key


def normal(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def test_max_pool_takes_the_largest_of_eight():
    volume = normal(2, 4, 2, 6, 3)
    blocks = volume.reshape(2, 2, 2, 1, 2, 3, 2, 3)
    np.testing.assert_array_equal(max_pool(volume), blocks.max(axis=(2, 4, 6)))


def test_the_derivative_of_max_pool_goes_to_one_voxel_of_each_block():
    gradient = jax.grad(lambda volume: max_pool(volume).sum())
    volume = normal(1, 4, 4, 4, 2)
    np.testing.assert_array_equal(
        gradient(volume), volume == jnp.repeat(jnp.repeat(jnp.repeat(max_pool(volume), 2, 1), 2, 2), 2, 3)
    )
    # The first of equals, as in PyTorch.
    equal = np.asarray(gradient(jnp.zeros((1, 2, 2, 2, 1))))
    assert equal[0, 0, 0, 0, 0] == equal.sum() == 1


def by_hand(volume, kernel):
    """`y(2 p - 1 + a) += x(p) w(a)`, one voxel and tap at a time."""
    size = volume.shape[1:4]
    padded = np.zeros((len(volume), *(2 * length + 2 for length in size), kernel.shape[-1]))
    for p in np.ndindex(*size):
        for a in itertools.product(range(4), repeat=3):
            index = tuple(2 * x + tap for x, tap in zip(p, a, strict=True))
            padded[:, *index] += np.asarray(volume[:, *p]) @ np.asarray(kernel[a])
    return padded[:, 1:-1, 1:-1, 1:-1]


@pytest.mark.parametrize('form', [transposed_conv, _transposed_by_parity, _transposed_whole])
def test_transposed_convolution_of_kernel_4(form):
    volume, kernel = normal(2, 2, 3, 4, 3), normal(4, 4, 4, 3, 5, seed=1)
    np.testing.assert_allclose(form(volume, kernel), by_hand(volume, kernel), atol=1e-4)


def test_it_is_the_adjoint_of_a_strided_convolution():
    small, large, kernel = normal(1, 2, 3, 2, 3), normal(1, 4, 6, 4, 5, seed=1), normal(4, 4, 4, 3, 5, seed=2)
    strided = jax.lax.conv_general_dilated(
        large,
        kernel.swapaxes(3, 4),
        (2, 2, 2),
        [(1, 1)] * 3,
        dimension_numbers=('NDHWC', 'DHWIO', 'NDHWC'),
    )
    np.testing.assert_allclose(jnp.vdot(transposed_conv(small, kernel), large), jnp.vdot(small, strided), rtol=1e-4)


def test_the_layer_adds_a_bias_and_starts_like_pytorchs():
    layer, volume = OverlappingTransposedConv(6), normal(1, 2, 2, 2, 3)
    params = layer.init(quick_key(), volume)['params']
    bound = (6 * 64) ** -0.5
    assert params['kernel'].shape == (4, 4, 4, 3, 6) and params['bias'].shape == (6,)
    assert 0.9 * bound < np.abs(params['kernel']).max() <= bound and np.all(params['bias'] != 0)
    expected = transposed_conv(volume, params['kernel']) + params['bias']
    np.testing.assert_allclose(layer.apply({'params': params}, volume), expected, rtol=1e-6)


@pytest.mark.parametrize('kernel', [(4, 4, 3, 3, 5), (4, 4, 4, 2, 5)])
def test_impossible_kernels(kernel):
    with pytest.raises(ValueError, match='do not fit'):
        transposed_conv(normal(1, 2, 2, 2, 3), normal(*kernel))
