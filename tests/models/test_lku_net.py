"""LKU-Net: its size, its units and its large kernel blocks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autofuse_jax.losses.one_field import registration_objective
from autofuse_jax.losses.regularity import gradient_penalty
from autofuse_jax.methods.voxelmorph_family import LKUNetWeights
from autofuse_jax.models.lku_net import LargeKernelBlock, LKUNet
from autofuse_jax.outputs import RegistrationOutput
from tests.models.shapes import count, shapes_of
from tests.quick import quick_jit, quick_key, random_params

SHAPE = (16, 32, 16)


@pytest.mark.parametrize(('channels', 'parameters'), [(4, 522_302), (8, 2_086_342), (16, 8_339_702)])
def test_parameter_counts(channels, parameters):
    assert count(shapes_of(LKUNet(channels))) == parameters


def test_the_published_width_is_the_default():
    assert LKUNet() == LKUNet(8)


def test_sizes_that_are_no_multiples_of_16_are_refused():
    with pytest.raises(ValueError, match='multiples of 16'):
        shapes_of(LKUNet(), (16, 16, 8))


def test_the_last_convolution_is_a_fraction_of_half_the_extent():
    network = LKUNet(channels=2)
    params = random_params(shapes_of(network))
    fixed, moving = (jnp.asarray(v, jnp.float32) for v in np.random.default_rng(0).random((2, 1, *SHAPE, 1)))
    apply = quick_jit(network.apply)
    assert float(jnp.abs(apply({'params': params}, fixed, moving).displacement).max()) > 0.5
    # Features of 1 everywhere, and a kernel that looks at one voxel.
    last = params['decoder_0_2']['conv']
    params['decoder_0_2']['conv'] = {'kernel': jnp.zeros_like(last['kernel']), 'bias': jnp.ones_like(last['bias'])}
    flow = jnp.zeros_like(params['flow']['kernel'])
    for predicted in ((0.0, 0.0, 0.0), (1.0, -3.0, 0.25)):
        params['flow'] = {'kernel': flow.at[1, 1, 1, 0].set(jnp.asarray(predicted))}
        output = apply({'params': params}, fixed, moving)
        # x / (1 + |x|), times 7.5, 15.5 and 7.5 voxels.
        expected = [7.5 * predicted[0] / 2, 15.5 * predicted[1] / 4, 7.5 * predicted[2] / 1.25]
        np.testing.assert_allclose(output.displacement[0], np.broadcast_to(expected, (*SHAPE, 3)), atol=1e-5)
        if not any(predicted):
            np.testing.assert_array_equal(output.warped, moving)


def test_a_large_kernel_block_adds_three_kernels_and_its_input():
    volume = jnp.asarray(np.random.default_rng(0).normal(size=(1, 6, 6, 6, 2)), jnp.float32)
    params = jax.eval_shape(LargeKernelBlock().init, quick_key(), volume)['params']
    params = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), params)
    params['prelu']['slope'] = jnp.asarray([0.5])
    params['conv_1']['bias'] = jnp.asarray([1.0, 0.0])
    shift = params['conv_5']['kernel'].at[0, 2, 2, 0, 1].set(2.0)
    params['conv_5'] = params['conv_5'] | {'kernel': shift}
    found = LargeKernelBlock().apply({'params': params}, volume)
    expected = np.array(volume)
    expected[..., 0] += 1
    expected[:, 2:, ..., 1] += 2 * volume[:, :-2, ..., 0]
    np.testing.assert_allclose(found, np.where(expected > 0, expected, 0.5 * expected), atol=1e-6)


def test_the_default_loss_measures_the_field_in_fractions_of_the_extent():
    displacement = jnp.asarray(np.random.default_rng(0).normal(size=(1, *SHAPE, 3)), jnp.float32)
    images = {name: jnp.ones((1, *SHAPE, 1)) for name in ('fixed', 'moving')}
    output = RegistrationOutput(displacement, images['moving'])
    _, diagnostics = registration_objective(output, images, LKUNetWeights())
    expected = 5 * gradient_penalty(displacement[0], spacing=1 / jnp.asarray(SHAPE))
    np.testing.assert_allclose(diagnostics['weighted/smoothness'], expected, rtol=1e-5)
