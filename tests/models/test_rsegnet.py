"""RSegNet as a network: its size and names, its maps, its segmentations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autofuse_jax.errors import UserError
from autofuse_jax.fields import integrate_velocity, inverse_consistency_error, invert_velocity, upsample_displacement
from autofuse_jax.models.field_outputs import of_velocity
from autofuse_jax.models.rsegnet import RSegNet
from tests.models.shapes import count, shapes_of
from tests.models.trained_parts import trained_parts
from tests.quick import quick_jit, quick_key, random_params

SHAPE = (16, 16, 16)
SMALL = RSegNet(num_classes=3, base_channels=2)
# Largest velocity, in voxels of full resolution.
VELOCITY = 2.0


def images(seed=0):
    """Two pairs."""
    return jnp.asarray(np.random.default_rng(seed).random((2, 2, *SHAPE, 1)), jnp.float32)


@pytest.fixture(scope='module')
def params():
    return random_params(shapes_of(SMALL))


@pytest.fixture(scope='module')
def apply():
    return quick_jit(lambda params, *inputs: SMALL.apply({'params': params}, *inputs))


@pytest.mark.parametrize(('classes', 'segmentation'), [(4, 514_035), (20, 520_963), (31, 525_726)])
def test_number_of_parameters(classes, segmentation):
    shapes = shapes_of(RSegNet(num_classes=classes))
    assert {name: count(part) for name, part in shapes.items()} == {
        'registration': 515_334,
        'segmentation': segmentation,
    }


def test_names_are_kept():
    """Saved parameters are found again by these names."""
    shapes = shapes_of(RSegNet())
    encoder = {f'encoder_{number}' for number in range(1, 5)}
    assert set(shapes['registration']) == {'unet', 'mean', 'log_variance'}
    assert set(shapes['segmentation']) == {'unet', 'structures'}
    assert set(shapes['registration']['unet']) == encoder | {f'decoder_{number}' for number in range(1, 7)}
    assert set(shapes['segmentation']['unet']) == encoder | {f'decoder_{number}' for number in range(1, 7)}


def test_widths_of_the_joined_levels():
    shapes = shapes_of(RSegNet())
    wide = {
        name: [unet[f'decoder_{n}']['kernel'].shape[3:] for n in range(1, 7)]
        for name, unet in ((name, shapes[name]['unet']) for name in shapes)
    }
    assert wide['registration'] == [(64, 64), (64, 64), (96, 32), (64, 32), (48, 32), (32, 16)]
    # The image itself joins at full resolution.
    assert wide['segmentation'] == [(64, 64), (64, 64), (96, 32), (64, 32), (48, 32), (33, 16)]


def test_inference_is_deterministic_and_noise_changes_the_map(apply, params):
    fixed, moving = images()
    one, again = apply(params, fixed, moving), apply(params, fixed, moving)
    jax.tree.map(np.testing.assert_array_equal, one, again)
    noise = jnp.asarray(np.random.default_rng(1).normal(size=one.velocity_mean.shape), jnp.float32)
    sampled = apply(params, fixed, moving, noise)
    assert np.abs(sampled.displacement - one.displacement).max() > 0.1
    np.testing.assert_array_equal(sampled.velocity_mean, one.velocity_mean)
    jax.tree.map(np.testing.assert_array_equal, sampled.fixed_segmentation, one.fixed_segmentation)


def test_both_maps_are_integrals_of_the_mean_velocity(apply, params):
    output = apply(params, *images())
    velocity = output.velocity_mean[1]
    assert velocity.shape == (8, 8, 8, 3) and np.abs(velocity).max() > 0.1
    for integrate, field in (
        (integrate_velocity, output.displacement),
        (invert_velocity, output.inverse_displacement),
    ):
        np.testing.assert_allclose(field[1], upsample_displacement(integrate(velocity)), atol=1e-4)


def test_map_and_inverse_cancel():
    size = 16
    grid = np.stack(np.meshgrid(*[np.linspace(0, 2 * np.pi, size)] * 3, indexing='ij'), axis=-1)
    waves = np.random.default_rng(0).normal(size=(3, 3))
    velocity = np.sin(grid @ waves + np.arange(3)) * np.prod(np.sin(grid / 2), axis=-1, keepdims=True)
    # Half a voxel of this grid is one of full resolution.
    velocity = jnp.asarray(velocity / np.abs(velocity).max() * VELOCITY / 2, jnp.float32)[None]
    output = of_velocity(velocity, jnp.zeros((1, *(2 * size,) * 3, 1)))
    assert np.abs(output.displacement).max() > 0.5 * VELOCITY
    for maps in (
        (output.displacement, output.inverse_displacement),
        (output.inverse_displacement, output.displacement),
    ):
        assert inverse_consistency_error(maps[0][0], maps[1][0]).mean() < 0.05


def test_a_zero_mean_is_the_identity(apply, params):
    still = params | {
        'registration': params['registration'] | {'mean': jax.tree.map(jnp.zeros_like, params['registration']['mean'])}
    }
    fixed, moving = images()
    output = apply(still, fixed, moving)
    np.testing.assert_array_equal(output.displacement, 0)
    np.testing.assert_array_equal(output.inverse_displacement, 0)
    np.testing.assert_allclose(output.warped, moving, atol=1e-6)


def test_segmentations_are_of_each_image_alone(apply, params):
    fixed, moving = images()
    output, exchanged = apply(params, fixed, moving), apply(params, moving, fixed)
    assert output.fixed_segmentation.shape == (2, *SHAPE, 3)
    np.testing.assert_allclose(output.fixed_segmentation, exchanged.moving_segmentation, atol=1e-5)
    np.testing.assert_allclose(output.moving_segmentation, exchanged.fixed_segmentation, atol=1e-5)
    assert np.abs(output.fixed_segmentation - output.moving_segmentation).max() > 1e-3
    structures = np.asarray(output.fixed_segmentation[..., 1:])
    assert 0 < structures.min() and structures.max() < 1
    np.testing.assert_allclose(output.fixed_segmentation[..., 0], 1 - structures.max(axis=-1), atol=1e-6)


def test_the_subnets_share_nothing(params):
    outputs = ('velocity_mean', 'log_variance', 'fixed_segmentation', 'moving_segmentation')
    parts = trained_parts(SMALL, params, *images(), outputs)
    assert parts == dict(zip(outputs, 2 * [{'registration'}] + 2 * [{'segmentation'}], strict=True))


def test_the_order_of_the_images_matters(apply, params):
    fixed, moving = images()
    output, exchanged = apply(params, fixed, moving), apply(params, moving, fixed)
    assert np.abs(output.velocity_mean - exchanged.velocity_mean).max() > 1e-3


def test_the_start_is_near_no_motion_and_almost_certain():
    start = quick_jit(lambda: SMALL.init(quick_key(), *images())['params']['registration'])()
    np.testing.assert_array_equal(start['mean']['bias'], 0)
    np.testing.assert_array_equal(start['log_variance']['bias'], -10)
    assert 0 < np.abs(start['mean']['kernel']).max() < 1e-4


@pytest.mark.parametrize('classes', [0, 1])
def test_too_few_classes(classes):
    with pytest.raises(UserError, match='model.num_classes'):
        RSegNet(num_classes=classes)


def test_sizes_must_be_multiples_of_16():
    image = jax.ShapeDtypeStruct((1, 24, 16, 16, 1), jnp.float32)
    with pytest.raises(ValueError, match=r'pad them to \(32, 16, 16\)'):
        jax.eval_shape(SMALL.init, quick_key(), image, image)
