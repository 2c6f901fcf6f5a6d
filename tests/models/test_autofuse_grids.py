"""Branches on grids of their own: which layers there are, what size everything has, where a pair is mapped."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autofuse_jax.errors import UserError
from autofuse_jax.fields import integrate_velocity, resample_displacement, upsample_displacement
from autofuse_jax.models.autofuse import AutoFuse
from autofuse_jax.models.fusion_unet import thin_blocks
from tests.quick import quick_jit, quick_key, random_params

SHAPE = (32, 32, 32)
SMALL = {'base_channels': 2, 'num_classes': 3, 'large_kernel': False}


def shapes_of(model, shape=SHAPE):
    image = jax.ShapeDtypeStruct((1, *shape, 1), jnp.float32)
    return jax.eval_shape(model.init, quick_key(), image, image)['params']


def output_of(model, shape=SHAPE):
    image = jax.ShapeDtypeStruct((1, *shape, 1), jnp.float32)
    return jax.eval_shape(model.apply, {'params': shapes_of(model, shape)}, image, image)


def kernel(shapes, *path):
    for name in path:
        shapes = shapes[name]
    return shapes['kernel'].shape


def test_default_options_are_the_papers_network():
    assert shapes_of(AutoFuse(**SMALL)) == shapes_of(
        AutoFuse(fusion_pooling=(1, 1, 1), fine_pooling=(0, 0, 0), fusion_channels=4, thin_levels=0, **SMALL)
    )


def test_a_coarser_fusion_branch_adds_blocks_to_the_other():
    shapes = shapes_of(AutoFuse(fusion_pooling=(2, 2, 1), fine_channels=3, **SMALL))
    assert kernel(shapes, 'single_branch', 'conv_0', 'conv_1') == (3, 3, 3, 1, 3)
    assert kernel(shapes, 'single_branch', 'conv_1', 'conv_1') == (3, 3, 3, 3, 2)
    # What block 9 gives and what block 0 gave; the head follows.
    assert kernel(shapes, 'single_branch', 'conv_10', 'conv_1') == (3, 3, 3, 2 + 3, 3)
    assert kernel(shapes, 'single_branch', 'segmentation_head', 'conv') == (1, 1, 1, 3, 3)
    unsupervised = shapes_of(AutoFuse(fusion_pooling=(2, 2, 1), base_channels=2))
    assert 'conv_0' in unsupervised['single_branch'] and 'conv_10' not in unsupervised['single_branch']


@pytest.mark.parametrize(
    ('options', 'velocity', 'finest_gate'),
    [
        ({'fusion_pooling': (2, 2, 1)}, (8, 8, 16), (8, 8, 16)),
        ({'fusion_pooling': (2, 2, 2), 'fine_pooling': (2, 2, 1)}, (8, 8, 8), (8, 8, 8)),
        ({'fusion_pooling': (2, 2, 2), 'fine_pooling': (1, 1, 1)}, (8, 8, 8), (8, 8, 8)),
    ],
)
def test_sizes(options, velocity, finest_gate):
    model = AutoFuse(**SMALL, **options)
    output = output_of(model)
    assert output.displacement.shape == output.inverse_displacement.shape == (1, *SHAPE, 3)
    assert output.fixed_segmentation.shape == (1, *SHAPE, 3)
    assert (
        output.velocity_mean.shape[1:4]
        == velocity
        == tuple(n // f for n, f in zip(SHAPE, model.noise_factor, strict=True))
    )
    assert output.gate_weights['gate_2'].shape[1:4] == finest_gate


@pytest.mark.parametrize(('levels', 'thin'), [(0, ()), (1, (0, 10)), (2, (0, 10, 1, 9)), (3, (0, 10, 1, 9, 2, 8))])
def test_thin_kernels_are_those_of_the_finest_levels(levels, thin):
    shapes = shapes_of(AutoFuse(fusion_pooling=(2, 2, 1), thin_levels=levels, **SMALL))['single_branch']
    for number in range(11):
        for layer in ('conv_1', 'conv_2'):
            assert kernel(shapes, f'conv_{number}', layer)[:3] == ((3, 3, 1) if number in thin else (3, 3, 3))


def test_thin_kernels_count_from_block_1_without_pooling():
    shapes = shapes_of(AutoFuse(thin_levels=1, **SMALL))
    assert kernel(shapes, 'single_branch', 'conv_9', 'conv_2')[:3] == (3, 3, 1)
    assert kernel(shapes, 'single_branch', 'conv_8', 'conv_2')[:3] == (3, 3, 3)
    assert kernel(shapes, 'fusion_branch', 'conv_1', 'conv_2')[:3] == (3, 3, 3)


@pytest.mark.parametrize(('pooling', 'number'), [((2, 2, 1), 0), ((1, 1, 1), 1)])
def test_the_first_kernel_alone_may_compare_slices(pooling, number):
    model = AutoFuse(fusion_pooling=pooling, thin_levels=2, compare_slices=True, **SMALL)
    shapes = shapes_of(model)['single_branch']
    assert kernel(shapes, f'conv_{number}', 'conv_1')[:3] == (3, 3, 3)
    assert kernel(shapes, f'conv_{number}', 'conv_2')[:3] == (3, 3, 1)
    thin = {(part, layer) for part in thin_blocks(2, fine=number == 0) for layer in ('conv_1', 'conv_2')}
    for part, layer in thin - {(number, 'conv_1')}:
        assert kernel(shapes, f'conv_{part}', layer)[:3] == (3, 3, 1)


def test_width_of_the_fusion_branch():
    shapes = shapes_of(AutoFuse(fusion_channels=6, **SMALL))
    assert kernel(shapes, 'fusion_branch', 'conv_1', 'conv_2') == (3, 3, 3, 6, 6)
    assert kernel(shapes, 'fusion_branch', 'gate_2', 'single') == (3, 3, 3, 2 * 4, 12)


def test_the_displacement_is_that_of_the_coarse_velocity():
    model = AutoFuse(fusion_pooling=(2, 2, 1), **SMALL)
    pair = jnp.asarray(np.random.default_rng(0).random((2, 1, 32, 32, 16, 1)), jnp.float32)
    params = random_params(shapes_of(model, (32, 32, 16)))
    output = quick_jit(lambda p: model.apply({'params': p}, *pair))(params)
    assert jnp.abs(output.velocity_mean).max() > 0.1
    coarse = upsample_displacement(integrate_velocity(output.velocity_mean[0]))
    assert coarse.shape == (16, 16, 16, 3)
    np.testing.assert_allclose(output.displacement[0], resample_displacement(coarse, (32, 32, 16)), atol=1e-4)


def test_sizes_that_do_not_fit_say_to_what_to_pad():
    with pytest.raises(ValueError, match=r'multiples of \(32, 32, 16\); pad them to \(64, 32, 16\)'):
        output_of(AutoFuse(fusion_pooling=(2, 2, 1), **SMALL), (48, 32, 16))


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'thin_levels': 6}, 'model.thin_levels is 6.*of 0 or more, less than 6'),
        ({'fusion_channels': -1}, 'model.fusion_channels is -1'),
        ({'fusion_pooling': (2, 0, 1)}, 'model.fusion_pooling is .* numbers, each a whole number of 1 or more'),
        ({'fusion_pooling': (2, 2)}, 'model.fusion_pooling is .*3 numbers'),
        ({'fusion_pooling': (2, 2, 1), 'fine_pooling': (2, 2)}, 'model.fine_pooling is .*3 numbers'),
        ({'fusion_pooling': (2, 2, 1), 'fine_pooling': (2, 2, 2)}, 'divisors of model.fusion_pooling'),
    ],
)
def test_options_that_do_not_fit(options, message):
    with pytest.raises(UserError, match=message):
        AutoFuse(**SMALL, **options)


@pytest.mark.parametrize('masked', [False, True])
def test_slices_that_padding_left_are_background_where_that_is_asked_for(masked):
    model = AutoFuse(background_in_padding=masked, **SMALL)
    single, _ = model.branches()
    image = np.random.default_rng(0).random((1, 16, 16, 16, 1), np.float32)
    image[..., 12:, :] = 0.0
    params = random_params(shapes_of(model, (16, 16, 16)))['single_branch']
    _, segmentation = quick_jit(lambda p: single.apply({'params': p}, image))(params)
    inside, padding = segmentation[..., :12, :], segmentation[..., 12:, :]
    assert 0 < inside.min() and inside.max() < 1
    assert bool(np.all(padding == np.array([1, 0, 0]))) == masked
