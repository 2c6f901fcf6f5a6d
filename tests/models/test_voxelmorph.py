"""VoxelMorph: its size, its identity, what a constant field becomes, and its weakly supervised loss."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autofuse_jax.errors import UserError
from autofuse_jax.methods.registry import make_method
from autofuse_jax.models.voxelmorph import DiffeomorphicVoxelMorph, VoxelMorph
from autofuse_jax.models.voxelmorph_unet import UNet, VoxelMorphUNet
from tests.quick import quick_jit, quick_key, random_params

SHAPE = (16, 16, 32)
IMAGE = jax.ShapeDtypeStruct((1, *SHAPE, 1), jnp.float32)


def shapes_of(network, *inputs):
    return jax.eval_shape(network.init, quick_key(), *inputs)['params']


def count(network, *inputs):
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes_of(network, *inputs)))


def images(seed=0):
    fixed, moving = np.random.default_rng(seed).random((2, 1, *SHAPE, 1))
    return jnp.asarray(fixed, jnp.float32), jnp.asarray(moving, jnp.float32)


def constant_head(kernel, bias):
    return {'kernel': jnp.zeros_like(kernel), 'bias': jnp.asarray(bias, jnp.float32)}


@pytest.mark.parametrize(
    ('network', 'parameters'),
    [
        (VoxelMorph(), 327_331),
        (VoxelMorph('2019'), 300_547),
        (DiffeomorphicVoxelMorph(), 266_374),
        (DiffeomorphicVoxelMorph('full_resolution'), 328_630),
    ],
)
def test_parameter_counts(network, parameters):
    assert count(network, IMAGE, IMAGE) == parameters


@pytest.mark.parametrize(('channels', 'parameters'), [(6, 329_059), (38, 342_883)])
def test_the_unet_takes_any_number_of_channels(channels, parameters):
    assert count(VoxelMorphUNet(), jax.ShapeDtypeStruct((1, *SHAPE, channels), jnp.float32)) == parameters


@pytest.mark.parametrize(('downsampling', 'joined'), [('max_pool', 7 + 3), ('stride', 7 + 2)])
def test_the_last_skip_is_the_first_block_or_the_input(downsampling, joined):
    unet = UNet((3, 5), ((7,), (7,), (7,)), downsampling)
    shapes = shapes_of(unet, jax.ShapeDtypeStruct((1, 4, 4, 4, 2), jnp.float32))
    assert shapes['decoder_3']['kernel'].shape == (3, 3, 3, joined, 7)


def test_a_decoder_with_a_level_less_ends_at_half_resolution():
    volume = jax.ShapeDtypeStruct((2, 8, 8, 4, 2), jnp.float32)
    features, _ = jax.eval_shape(UNet((3, 5), ((7, 6), (4,)), 'stride').init_with_output, quick_key(), volume)
    assert features.shape == (2, 4, 4, 2, 4)


@pytest.mark.parametrize('options', [{'downsampling': 'average'}, {'decoder': ((4,),) * 6}])
def test_impossible_unets_are_refused(options):
    with pytest.raises(ValueError, match='expected'):
        shapes_of(UNet(**options), IMAGE)


@pytest.mark.parametrize('network', [VoxelMorph(), DiffeomorphicVoxelMorph()])
def test_sizes_that_are_no_multiples_of_16_are_refused(network):
    image = jax.ShapeDtypeStruct((1, 16, 24, 16, 1), jnp.float32)
    with pytest.raises(ValueError, match='multiples of 16'):
        shapes_of(network, image, image)


@pytest.mark.parametrize('variant', ['current', '2019'])
def test_the_flow_convolution_is_the_displacement(variant):
    network = VoxelMorph(variant, base_channels=2)
    params = random_params(shapes_of(network, IMAGE, IMAGE))
    fixed, moving = images()
    apply = quick_jit(network.apply)
    assert float(jnp.abs(apply({'params': params}, fixed, moving).displacement).max()) > 0.1
    flow = params['field']['flow']['kernel']
    for displacement in ((0.0, 0.0, 0.0), (1.0, 0.0, 2.0)):
        params['field']['flow'] = constant_head(flow, displacement)
        output = apply({'params': params}, fixed, moving)
        np.testing.assert_array_equal(output.displacement[0], np.broadcast_to(displacement, (*SHAPE, 3)))
        a, b, c = (int(step) for step in displacement)
        np.testing.assert_array_equal(
            output.warped[0, : SHAPE[0] - a, :, : SHAPE[2] - c], moving[0, a:, b:, c:], err_msg=str(displacement)
        )


# A constant velocity c on its own grid is a displacement of c voxels of that grid.
@pytest.mark.parametrize(('variant', 'noise_factor', 'factor'), [('half_resolution', 2, 2), ('full_resolution', 1, 1)])
def test_a_constant_velocity_is_a_constant_displacement(variant, noise_factor, factor):
    network = DiffeomorphicVoxelMorph(variant, base_channels=2)
    params = random_params(shapes_of(network, IMAGE, IMAGE))
    grid = tuple(size // noise_factor for size in SHAPE)
    apply, inner = quick_jit(network.apply), (0, slice(6, 10), slice(6, 10), slice(12, 20))
    heads = {name: params[name]['kernel'] for name in ('mean', 'log_variance')}
    for mean, noise, displacement in (
        ((0.0, 0.0, 0.0), 0.0, (0.0, 0.0, 0.0)),
        ((0.5, 0.0, -1.0), 0.0, (0.5, 0.0, -1.0)),
        # A deviation of 2.
        ((0.5, 0.0, -1.0), 0.25, (1.0, 0.5, -0.5)),
    ):
        params['mean'] = constant_head(heads['mean'], mean)
        params['log_variance'] = constant_head(heads['log_variance'], np.full(3, np.log(4.0)))
        output = apply({'params': params}, *images(), jnp.full((1, *grid, 3), noise))
        # Velocities are zero outside, which reaches the middle as a trace.
        expected = np.broadcast_to(factor * np.asarray(displacement), (4, 4, 8, 3))
        np.testing.assert_allclose(output.displacement[inner], expected, atol=0.01)
        np.testing.assert_allclose(output.inverse_displacement[inner], -expected, atol=0.01)
        assert output.velocity_mean.shape == output.log_variance.shape == (1, *grid, 3)
        np.testing.assert_array_equal(output.velocity_mean[0], np.broadcast_to(np.float32(mean), (*grid, 3)))


@pytest.mark.parametrize('variant', ['half_resolution', 'full_resolution'])
def test_training_draws_noise_of_the_velocitys_size(variant):
    method = make_method('voxelmorph_diff', {'variant': variant, 'base_channels': 2}, {})
    params = jax.eval_shape(lambda key: method.init(key, SHAPE), quick_key())
    batch = {'fixed': IMAGE, 'moving': IMAGE}
    loss, diagnostics = jax.eval_shape(method.objectives('phase_1')[0].loss, params, batch, quick_key())
    assert loss.shape == () and 'weighted/kl' in diagnostics


def test_weak_supervision_needs_the_number_of_classes():
    with pytest.raises(UserError, match='loss.num_classes'):
        make_method('ws_voxelmorph', {}, {})
    assert make_method('ws_voxelmorph', {}, {'num_classes': 2}).uses_labels
    assert not make_method('ws_voxelmorph', {}, {'dice': 0.0}).uses_labels
    assert not make_method('voxelmorph', {}, {}).uses_labels


def test_weak_supervision_ignores_the_labels_of_pairs_that_have_not_both():
    method = make_method('ws_voxelmorph', {'base_channels': 2}, {'num_classes': 3})
    params = random_params(jax.eval_shape(lambda key: method.init(key, SHAPE), quick_key()))
    fixed, moving = images()

    @quick_jit
    def loss(labels, flags):
        batch = {'fixed': fixed, 'moving': moving}
        for role, label, flag in zip(('fixed', 'moving'), labels, flags, strict=True):
            batch |= {f'{role}_labels': label, f'{role}_has_labels': flag[None]}
        return method.objectives('phase_1')[0].loss(params, batch, quick_key())[0]

    labels, garbage = (np.random.default_rng(seed).integers(0, 3, (2, 1, *SHAPE)) for seed in (0, 1))
    neither, one, both = np.zeros(2), np.array([1.0, 0.0]), np.ones(2)
    assert loss(labels, neither) == loss(garbage, neither) == loss(garbage, one) == loss(labels, one)
    assert loss(labels, both) != loss(garbage, both)
    # A Dice of random labels of three classes is added with weight 1.
    assert -0.4 < loss(labels, both) - loss(labels, neither) < -0.2
