"""JPR-Net as a network: its size and names, how features run through it, its maps and parcellations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autofuse_jax.errors import UserError
from autofuse_jax.fields import integrate_velocity, invert_velocity
from autofuse_jax.models.jpr_net import JPRNet
from tests.models.shapes import count, shapes_of
from tests.models.trained_parts import trained_parts
from tests.quick import quick_jit, quick_key, random_params

# At 16 voxels along all axes the coarsest level is one voxel, which instance norm sets to zero.
SHAPE = (32, 16, 16)
SMALL = JPRNet(num_classes=3, base_channels=2)


def pair(seed=0):
    return jnp.asarray(np.random.default_rng(seed).random((2, 1, *SHAPE, 1)), jnp.float32)


@pytest.fixture(scope='module')
def params():
    return random_params(shapes_of(SMALL))


@pytest.fixture(scope='module')
def apply():
    return quick_jit(lambda params, *inputs: SMALL.apply({'params': params}, *inputs))


@pytest.mark.parametrize(
    ('options', 'parts'),
    [
        ({}, (884_712, 528_556, 740_963)),
        ({'num_classes': 20}, (884_712, 528_700, 740_963)),
        ({'integrate': True}, (884_712, 528_556, 740_963)),
        ({'base_channels': 16}, 8_610_023),
        ({'base_channels': 16, 'num_classes': 20}, 8_610_295),
    ],
)
def test_number_of_parameters(options, parts):
    shapes = shapes_of(JPRNet(**options))
    assert set(shapes) == {'encoder', 'parcellation', 'registration'}
    if isinstance(parts, tuple):
        assert tuple(count(shapes[name]) for name in ('encoder', 'parcellation', 'registration')) == parts
    else:
        assert count(shapes) == parts


def test_totals():
    assert count(shapes_of(JPRNet())) == 2_154_231
    assert count(shapes_of(JPRNet(num_classes=20))) == 2_154_375


def test_names_are_kept():
    """Saved parameters are found again by these names."""
    shapes = shapes_of(JPRNet())
    decoder = {'output', *(f'{kind}_{number}' for kind in ('up', 'block') for number in range(1, 5))}
    assert set(shapes['encoder']) == {f'block_{number}' for number in range(1, 6)}
    assert set(shapes['parcellation']) == set(shapes['registration']) == decoder
    assert set(shapes['encoder']['block_1']) == {'conv_1', 'norm_1', 'conv_2', 'norm_2'}


def test_what_each_level_of_the_decoders_joins():
    shapes = shapes_of(JPRNet())
    for name, skips in (('parcellation', 1), ('registration', 2)):
        coarsest = 128 * skips
        assert shapes[name]['up_1']['kernel'].shape == (2, 2, 2, coarsest, 64)
        for number, width in enumerate((64, 32, 16, 8), 1):
            kernel = shapes[name][f'block_{number}']['conv_1']['kernel']
            assert kernel.shape[3:] == (width * (1 + skips), width)
    assert shapes['registration']['output']['kernel'].shape == (1, 1, 1, 8, 3)
    assert shapes['parcellation']['output']['kernel'].shape == (1, 1, 1, 8, 4)


def test_inference_is_deterministic_and_without_noise(apply, params):
    fixed, moving = pair()
    one, again = apply(params, fixed, moving), apply(params, fixed, moving, jnp.ones((1, 16, 8, 8, 3)))
    jax.tree.map(np.testing.assert_array_equal, one, again)
    assert one.displacement.shape == (1, *SHAPE, 3) and np.abs(one.displacement).max() > 0.1
    assert one.velocity_mean is None and one.inverse_displacement is None


def test_parcellations_are_of_each_image_alone(apply, params):
    fixed, moving = pair()
    output, exchanged = apply(params, fixed, moving), apply(params, moving, fixed)
    np.testing.assert_allclose(output.fixed_segmentation, exchanged.moving_segmentation, atol=1e-4)
    np.testing.assert_allclose(output.moving_segmentation, exchanged.fixed_segmentation, atol=1e-4)
    np.testing.assert_allclose(output.fixed_segmentation.sum(axis=-1), 1, rtol=1e-5)
    assert np.abs(output.fixed_segmentation - output.moving_segmentation).max() > 1e-3
    assert np.abs(output.displacement - exchanged.displacement).max() > 1e-2


def test_the_decoders_share_the_encoder_and_nothing_else(params):
    parts = trained_parts(SMALL, params, *pair(), ('displacement', 'fixed_segmentation', 'moving_segmentation'))
    assert parts == {
        'displacement': {'encoder', 'registration'},
        'fixed_segmentation': {'encoder', 'parcellation'},
        'moving_segmentation': {'encoder', 'parcellation'},
    }


def test_a_zero_head_is_the_identity(apply, params):
    head = jax.tree.map(jnp.zeros_like, params['registration']['output'])
    fixed, moving = pair()
    output = apply(params | {'registration': params['registration'] | {'output': head}}, fixed, moving)
    np.testing.assert_array_equal(output.displacement, 0)
    np.testing.assert_allclose(output.warped, moving, atol=1e-6)


def test_the_map_starts_near_the_identity():
    start = quick_jit(lambda: SMALL.init(quick_key(), *pair())['params'])()
    np.testing.assert_array_equal(start['registration']['output']['bias'], 0)
    assert 0 < np.abs(start['registration']['output']['kernel']).max() < 1e-4
    assert np.abs(start['parcellation']['output']['kernel']).max() > 1e-2


def test_integrated(apply, params):
    fixed, moving = pair()
    model = SMALL.clone(integrate=True)
    output = quick_jit(lambda params: model.apply({'params': params}, fixed, moving))(params)
    # What is a displacement without integration is the velocity with it.
    np.testing.assert_allclose(output.velocity_mean, apply(params, fixed, moving).displacement, atol=1e-4)
    velocity = output.velocity_mean[0]
    np.testing.assert_allclose(output.displacement[0], integrate_velocity(velocity), atol=1e-4)
    np.testing.assert_allclose(output.inverse_displacement[0], invert_velocity(velocity), atol=1e-4)


@pytest.mark.parametrize('classes', [0, 1])
def test_too_few_classes(classes):
    with pytest.raises(UserError, match='model.num_classes'):
        JPRNet(num_classes=classes)


def test_sizes_must_be_multiples_of_16():
    image = jax.ShapeDtypeStruct((1, 32, 24, 16, 1), jnp.float32)
    with pytest.raises(ValueError, match=r'pad them to \(32, 32, 16\)'):
        jax.eval_shape(SMALL.init, quick_key(), image, image)
