"""Activation, normalisation, pooling, up-sampling and the two-layer block."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autofuse_jax.models.conv3d import conv3d
from autofuse_jax.models.conv_blocks import ConvBlock, activate, activated_norm, downsample, instance_norm, upsample
from tests.quick import quick_key, random_params


def random_volume(shape=(2, 4, 4, 4, 3), seed=0, scale=3.0, shift=5.0):
    return jnp.asarray(shift + scale * np.random.default_rng(seed).normal(size=shape), jnp.float32)


def test_activation_by_hand():
    np.testing.assert_allclose(activate(jnp.asarray([-2.0, 0.0, 3.0])), [-0.4, 0, 3], rtol=1e-6)


def test_norm_gives_mean_0_and_variance_1_per_sample_and_channel():
    volume = random_volume() * jnp.asarray([1.0, 10.0, 0.1])
    result = np.asarray(instance_norm(volume))
    np.testing.assert_allclose(result.mean(axis=(1, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(result.var(axis=(1, 2, 3)), 1, rtol=1e-3)
    # A sample does not see the others.
    np.testing.assert_allclose(instance_norm(volume[1:]), result[1:], atol=1e-5)


def test_norm_by_hand():
    # Values 1 and 3: mean 2, biased variance 1, so -+1 / sqrt(1 + 1e-5).
    volume = jnp.asarray([1.0, 3.0]).reshape(1, 2, 1, 1, 1)
    np.testing.assert_allclose(instance_norm(volume).ravel(), np.array([-1, 1]) / np.sqrt(1 + 1e-5), rtol=1e-6)
    # Differences of 0.002: variance 1e-6, well below epsilon, so that noise is not blown up to 1.
    small = instance_norm(0.001 * volume)
    np.testing.assert_allclose(small.ravel(), np.array([-1, 1]) * 1e-3 / np.sqrt(1.1e-5), rtol=1e-4)
    np.testing.assert_array_equal(instance_norm(jnp.full((1, 2, 2, 2, 1), 7.0)), 0)


def test_norm_of_half_precision_is_computed_in_single_precision():
    # 1000 and 1004 in bfloat16; a bfloat16 mean would be off by 2.
    volume = jnp.asarray([1000.0, 1004.0]).reshape(1, 2, 1, 1, 1).astype(jnp.bfloat16)
    assert instance_norm(volume).dtype == jnp.bfloat16
    np.testing.assert_allclose(instance_norm(volume).astype(np.float32).ravel(), [-1, 1], rtol=1e-2)


@pytest.mark.parametrize(('dtype', 'tolerance'), [(jnp.float64, 1e-12), (jnp.float32, 1e-5), (jnp.bfloat16, 0.05)])
def test_activation_and_norm_in_one_have_the_derivative_of_both(dtype, tolerance):
    with jax.enable_x64(dtype == jnp.float64):
        volume = random_volume(scale=2.0, shift=0.5).astype(dtype).at[:, :, :, :, 2].set(-1.0)
        weight = random_volume(seed=1, shift=0.0).astype(dtype)

        def both(function):
            value, pull = jax.vjp(function, volume)
            return value, *pull(weight)

        found, wanted = both(activated_norm), both(lambda v: instance_norm(activate(v)))
    for one, other in zip(found, wanted, strict=True):
        assert one.dtype == dtype
        other = np.asarray(other, np.float64)
        np.testing.assert_allclose(np.asarray(one, np.float64), other, atol=tolerance * np.abs(other).max())


def test_what_the_reverse_pass_keeps_is_the_result():
    volume = random_volume((1, 8, 8, 8, 4))
    kept = jax.tree.leaves(jax.eval_shape(lambda v: jax.vjp(activated_norm, v)[1], volume))
    assert sum(leaf.size for leaf in kept) < 1.01 * volume.size


def test_downsampling_by_hand():
    volume = jnp.arange(16.0).reshape(1, 4, 2, 2, 1)
    # The mean of 0 .. 7 and of 8 .. 15.
    np.testing.assert_allclose(downsample(volume).ravel(), [3.5, 11.5])
    # Along each axis neighbours 2 i and 2 i + 1 go together.
    grid = jnp.stack(jnp.meshgrid(*(jnp.arange(4.0),) * 3, indexing='ij'), axis=-1)[None]
    np.testing.assert_allclose(downsample(grid)[0, 1, 0, 1], [2.5, 0.5, 2.5])
    assert downsample(jnp.zeros((2, 8, 4, 2, 5))).shape == (2, 4, 2, 1, 5)


def test_upsampling_by_hand():
    # Positions 0, 1/3, 2/3, 1 along the first axis; the other axes have one voxel, which is repeated.
    volume = jnp.asarray([0.0, 9.0]).reshape(1, 2, 1, 1, 1)
    result = upsample(volume)
    assert result.shape == (1, 4, 2, 2, 1)
    np.testing.assert_allclose(result[0, :, 0, 0, 0], [0, 3, 6, 9], rtol=1e-6)
    np.testing.assert_allclose(result, jnp.broadcast_to(result[:, :, :1, :1], result.shape))


def test_block_is_convolution_activation_norm_twice():
    volume = random_volume((1, 4, 4, 4, 2))
    block = ConvBlock(3)
    shapes = jax.eval_shape(block.init, quick_key(), volume)['params']
    assert jax.tree.map(jnp.shape, shapes) == {
        'conv_1': {'kernel': (3, 3, 3, 2, 3), 'bias': (3,)},
        'conv_2': {'kernel': (3, 3, 3, 3, 3), 'bias': (3,)},
    }
    params = random_params(shapes)

    @jax.jit
    def expected(volume):
        for layer in (params['conv_1'], params['conv_2']):
            volume = conv3d(volume, layer['kernel']) + layer['bias']
            volume = jnp.where(volume > 0, volume, 0.2 * volume)
            centred = volume - volume.mean(axis=(1, 2, 3), keepdims=True)
            volume = centred / jnp.sqrt((centred**2).mean(axis=(1, 2, 3), keepdims=True) + 1e-5)
        return volume

    result = jax.jit(block.apply)({'params': params}, volume)
    np.testing.assert_allclose(result, expected(volume), atol=1e-4)
    # The norm comes last: after the activation there would be no mean of 0.
    np.testing.assert_allclose(result.mean(axis=(1, 2, 3)), 0, atol=1e-5)
