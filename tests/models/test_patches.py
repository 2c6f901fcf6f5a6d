"""Merging and expanding patches against XLA's strided convolution, and how the layers start."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autofuse_jax.models.patches import PatchExpanding, PatchMerging, expand_patches, merge_patches
from tests.quick import quick_key

PATCHES = [(2, 2, 2), (1, 2, 3)]


def random_array(shape, seed):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def strided_convolution(volume, kernel):
    return jax.lax.conv_general_dilated(
        volume, kernel, kernel.shape[:3], 'VALID', dimension_numbers=('NDHWC', 'DHWIO', 'NDHWC')
    )


def whole_patches(patch):
    """Size of 3 x 1 x 2 patches."""
    return tuple(count * length for count, length in zip((3, 1, 2), patch, strict=True))


@pytest.mark.parametrize('patch', PATCHES)
def test_merging_is_a_convolution_with_stride(patch):
    volume, kernel = random_array((2, *whole_patches(patch), 3), 0), random_array((*patch, 3, 5), 1)
    merged = merge_patches(volume, kernel)
    assert merged.shape == (2, 3, 1, 2, 5)
    np.testing.assert_allclose(merged, strided_convolution(volume, kernel), atol=1e-5)


@pytest.mark.parametrize('patch', PATCHES)
def test_expanding_is_the_adjoint_of_a_convolution_with_stride(patch):
    volume, kernel = random_array((2, 3, 1, 2, 5), 2), random_array((*patch, 5, 4), 3)
    large = jnp.zeros((2, *whole_patches(patch), 4))
    _, pull = jax.vjp(lambda large: strided_convolution(large, jnp.swapaxes(kernel, 3, 4)), large)
    np.testing.assert_allclose(expand_patches(volume, kernel), pull(volume)[0], atol=1e-5)


@pytest.mark.parametrize('patch', PATCHES)
def test_expanding_by_hand(patch):
    volume, kernel = (np.asarray(random_array(s, i)) for i, s in enumerate([(1, 3, 1, 2, 5), (*patch, 5, 4)]))
    wanted = np.full((1, *whole_patches(patch), 4), np.nan)
    for place in np.ndindex(3, 1, 2):
        for a in np.ndindex(patch):
            there = tuple(p * length + offset for p, length, offset in zip(place, patch, a, strict=True))
            wanted[0][there] = volume[0][place] @ kernel[a]
    np.testing.assert_allclose(expand_patches(jnp.asarray(volume), jnp.asarray(kernel)), wanted, atol=1e-5)


@pytest.mark.parametrize('size', [(5, 4, 4), (4, 5, 4), (4, 4, 1)])
def test_sizes_that_are_no_multiples_are_named(size):
    with pytest.raises(ValueError, match=r'no multiple of the patch \(2, 2, 2\)') as error:
        merge_patches(jnp.zeros((1, *size, 1)), jnp.zeros((2, 2, 2, 1, 1)))
    assert str(size) in str(error.value)


# A kernel of 2 x 2 x 2 voxels, 6 input and 20 output channels.
LAYERS = {
    # PyTorch takes the input channels times the kernel for the fan-in of a convolution,
    'merging': (PatchMerging(20), (2, 4, 2, 6), merge_patches, (8 * 6) ** -0.5),
    # but the output channels times the kernel for that of a transposed one.
    'expanding': (PatchExpanding(20), (1, 2, 1, 6), expand_patches, (8 * 20) ** -0.5),
}


@pytest.fixture(scope='module', params=LAYERS.values(), ids=LAYERS)
def layer(request):
    """(layer, volume, function without bias and norm, bound of the initial values, initial parameters)."""
    module, shape, function, bound = request.param
    volume = random_array((2, *shape), 4)
    return module, volume, function, bound, jax.jit(module.init)(quick_key(), volume)['params']


def test_initial_values(layer):
    *_, bound, params = layer
    assert jax.tree.map(jnp.shape, params) == {
        'kernel': (2, 2, 2, 6, 20),
        'bias': (20,),
        'norm': {'scale': (20,), 'bias': (20,)},
    }
    kernel, bias = np.asarray(params['kernel']), np.asarray(params['bias'])
    assert 0.99 * bound < np.abs(kernel).max() <= bound and 0.7 * bound < np.abs(bias).max() <= bound
    np.testing.assert_allclose([kernel.mean(), kernel.std()], [0, bound / np.sqrt(3)], atol=0.1 * bound)
    np.testing.assert_array_equal(params['norm']['scale'], 1)
    np.testing.assert_array_equal(params['norm']['bias'], 0)


def test_layer_is_function_bias_norm(layer):
    module, volume, function, _, params = layer
    scale, shift = random_array((20,), 5), random_array((20,), 6)
    params = params | {'norm': {'scale': scale, 'bias': shift}}
    features = np.asarray(function(volume, params['kernel']) + params['bias'])
    centred = features - features.mean(axis=-1, keepdims=True)
    wanted = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5) * scale + shift
    np.testing.assert_allclose(module.apply({'params': params}, volume), wanted, atol=1e-4)


def test_types(layer):
    module, volume, *_, params = layer
    for dtype in (jnp.bfloat16, jnp.float32):
        assert jax.eval_shape(module.apply, {'params': params}, volume.astype(dtype)).dtype == dtype
