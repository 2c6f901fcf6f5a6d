"""AutoFuse and AutoFuse-Trans against golden numbers of the official networks (set G5), in float64."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autofuse_jax.methods.registry import METHODS, make_method
from autofuse_jax.porting import ARCHITECTURES, from_official
from autofuse_jax.porting.convert import flatten, parameter_structure, unflatten
from autofuse_jax.porting.names import SAME
from tests.quick import quick_jit

SHAPE = (32, 32, 16)
SEMI = {'num_classes': 4, 'segmentation_feedback': 'argmax'}
OPTIONS = {
    'autofuse_semi': SEMI,
    'autofuse_trans_semi': SEMI | {'single_branch': 'convolutional', 'relative_bias': 'truncated'},
}


def sine_rule(number, shape):
    """The rule of the set: sin(0.37 t + 0.11 n), scaled by the fan-in or by 0.02."""
    value = np.sin(0.37 * np.arange(np.prod(shape)) + 0.11 * number).reshape(shape)
    return value / np.sqrt(np.prod(shape[1:])) if len(shape) > 1 else 0.02 * value


def official_shape(shape, layout):
    if layout == SAME:
        return shape
    swapped = shape[::-1][:2] if layout != 'transposed convolution' else shape[-2:]
    return (*swapped, *shape[:-2])


@functools.cache
def filled_params(architecture_name):
    """Parameters by flat name, filled by the rule, and the options that porting reads from them."""
    architecture = ARCHITECTURES[architecture_name]
    shapes = flatten(parameter_structure(make_method(architecture.method, OPTIONS.get(architecture_name, {}), {})))
    state = {
        tensor.official: sine_rule(number, official_shape(shapes[tensor.ours].shape, tensor.layout))
        for number, tensor in enumerate(architecture.tensors)
    }
    params, _, found = from_official(state, dtype=np.float64)
    return params, found


def golden_pair():
    """The set's fixed and moving image, (1, D, H, W, 1) float64."""
    i, j, k = np.meshgrid(*(np.arange(size) for size in SHAPE), indexing='ij')
    fixed = 0.5 + 0.5 * np.sin(0.35 * i + 0.1 * k) * np.cos(0.25 * j)
    moving = 0.5 + 0.5 * np.sin(0.35 * i + 0.1 * k + 0.4) * np.cos(0.25 * j - 0.3)
    return fixed[None, ..., None], moving[None, ..., None]


def output_of(architecture_name):
    """The output of the network with filled parameters for the set's images, in float64."""
    params, _ = filled_params(architecture_name)
    network = METHODS[ARCHITECTURES[architecture_name].method].network(**OPTIONS.get(architecture_name, {}))
    with jax.enable_x64(True):
        fixed, moving = (jnp.asarray(image, jnp.float64) for image in golden_pair())
        return jax.device_get(quick_jit(network.apply)({'params': unflatten(params)}, fixed, moving))


@pytest.mark.parametrize('architecture_name', OPTIONS)
def test_options_are_read_from_the_weights(architecture_name):
    _, found = filled_params(architecture_name)
    network = METHODS[ARCHITECTURES[architecture_name].method].network
    assert found['num_classes'] == 4 and found['base_channels'] == network.base_channels


@pytest.fixture(scope='module')
def output():
    return output_of('autofuse_semi')


@pytest.fixture(scope='module')
def trans_output():
    return output_of('autofuse_trans_semi')


def test_flow(output):
    np.testing.assert_allclose(output.displacement[0, 8, 8, 8], [-0.01351796, -0.07713929, 0.07419573], atol=1e-7)
    np.testing.assert_allclose(np.abs(output.displacement).mean(), 0.15022632, atol=1e-7)


def test_velocity_distribution(output):
    np.testing.assert_allclose(np.abs(output.velocity_mean).mean(), 0.18158943, atol=2e-8)
    np.testing.assert_allclose(output.log_variance.mean(), 0.01921170, atol=2e-8)


def test_segmentations(output):
    expected = [0.24406843, 0.24765633, 0.25192854, 0.25634670]
    np.testing.assert_allclose(output.fixed_segmentation[0, 8, 8, 8], expected, atol=2e-8)
    expected = [0.24309189, 0.24750726, 0.25236493, 0.25703591]
    np.testing.assert_allclose(output.moving_segmentation[0, 20, 5, 3], expected, atol=2e-8)
    histogram = np.bincount(np.argmax(output.fixed_segmentation, axis=-1).ravel(), minlength=4)
    np.testing.assert_array_equal(histogram, [3897, 28, 27, 12432])


def test_warped_image(output):
    np.testing.assert_allclose(output.warped.mean(), 0.48062468, atol=1e-7)


@pytest.mark.slow
def test_transformer(trans_output):
    output = trans_output
    np.testing.assert_allclose(output.displacement[0, 8, 8, 8], [-0.10021087, 0.26731554, 0.11629926], atol=1e-7)
    np.testing.assert_allclose(np.abs(output.displacement).mean(), 0.12862812, atol=1e-7)
    np.testing.assert_allclose(np.abs(output.velocity_mean).mean(), 0.13104101, atol=2e-8)
    np.testing.assert_allclose(output.log_variance.mean(), -0.00355253, atol=5e-8)
    expected = [0.24363272, 0.24757801, 0.25211717, 0.25667210]
    np.testing.assert_allclose(output.fixed_segmentation[0, 8, 8, 8], expected, atol=2e-8)
    np.testing.assert_allclose(output.warped.mean(), 0.48613707, atol=1e-7)
