"""TransMorph: its size part by part, what its blocks do, sizes and windows that fit, stochastic depth."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autofuse_jax.errors import UserError
from autofuse_jax.fields import warp_linear
from autofuse_jax.models.swin import DropPath, SwinStage, drop_path_rates
from autofuse_jax.models.transmorph import TransMorph
from autofuse_jax.models.transmorph_blocks import (
    SUB_LATTICES,
    LatticeMerging,
    average_pool,
    crop_to_size,
    fitting_window,
    pad_to_multiple,
)
from autofuse_jax.models.windows import Windows, partition, unpartition
from tests.models.shapes import count, image_of, shapes_of
from tests.quick import quick_jit, quick_key, random_params

SMALL = {
    'embed_dim': 4,
    'depths': (1, 1, 2, 1),
    'num_heads': (1, 1, 2, 2),
    'window': (2, 3, 2),
    'head_channels': 2,
    'drop_path': 0.5,
}
SHAPE = (32, 48, 16)


def volume_of(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).random(shape), jnp.float32)


# Numbers of the official modules.
@pytest.mark.parametrize(
    ('options', 'parameters'),
    [
        ({}, 46_745_907),
        ({'window': (4, 4, 2)}, 46_698_291),
        ({'window': (5, 6, 7)}, 46_771_251),
        ({'embed_dim': 48, 'num_heads': (4, 4, 4, 4)}, 11_741_355),
        ({'embed_dim': 128, 'depths': (2, 2, 12, 2), 'num_heads': (4, 4, 8, 16)}, 108_286_883),
    ],
)
def test_number_of_parameters(options, parameters):
    assert count(shapes_of(TransMorph(**options))) == parameters


def test_number_of_parameters_of_the_parts():
    shapes = shapes_of(TransMorph())
    encoder = shapes.pop('encoder')
    assert {name: count(part) for name, part in shapes.items()} == {
        'decoder_1': 15_925_248,
        'decoder_2': 3_981_312,
        'decoder_3': 995_328,
        'decoder_4': 248_832,
        'decoder_5': 34_560,
        'half_resolution': 2_592,
        'full_resolution': 864,
        'head': 1_299,
    }
    assert count(encoder['patch_embedding']) == 12_576
    merging = [count(encoder[f'merging_{stage}']) for stage in (2, 3, 4)]
    assert merging == [148_992, 592_896, 2_365_440]
    # The official stages hold the merging that follows them.
    stages = [count(encoder[f'stage_{stage}']) for stage in (1, 2, 3, 4)]
    with_merging = [sum(pair) for pair in zip(stages, [*merging, 0], strict=True)]
    assert with_merging == [379_224, 1_488_600, 9_487_200, 14_185_392]
    assert sum(count(encoder[f'norm_{stage}']) for stage in (1, 2, 3, 4)) == 2_880


def test_a_brain_that_is_no_multiple_of_32_is_registered_at_its_size():
    image = image_of((144, 192, 160))
    output, _ = jax.eval_shape(TransMorph().init_with_output, quick_key(), image, image)
    assert output.displacement.shape == (1, 144, 192, 160, 3) and output.warped.shape == image.shape
    assert output.velocity_mean is None


@pytest.fixture(scope='module')
def small():
    """Parameters of the small network, a pair, and the compiled network; depth 16 is padded to 32."""
    network = TransMorph(**SMALL)
    params = random_params(shapes_of(network, SHAPE))
    fixed, moving = (volume_of(1, *SHAPE, 1, seed=seed) for seed in (1, 2))

    def apply(params, fixed, moving):
        return network.apply({'params': params}, fixed, moving)

    return network, params, (fixed, moving), quick_jit(apply)


def test_with_the_head_at_zero_the_map_is_the_identity(small):
    _, params, (fixed, moving), apply = small
    output = apply(params, fixed, moving)
    assert output.displacement.shape == (1, *SHAPE, 3) and jnp.abs(output.displacement).max() > 0.1
    np.testing.assert_allclose(output.warped[0], warp_linear(moving[0], output.displacement[0]), atol=1e-4)
    # The order of the images counts.
    assert jnp.abs(apply(params, moving, fixed).displacement - output.displacement).max() > 0.1
    still = apply(params | {'head': jax.tree.map(jnp.zeros_like, params['head'])}, fixed, moving)
    assert not jnp.any(still.displacement)
    np.testing.assert_allclose(still.warped, moving, atol=1e-6)


@pytest.mark.slow
def test_branches_are_left_out_in_training_only(small):
    network, params, (fixed, moving), apply = small
    train = quick_jit(lambda key: network.apply({'params': params}, fixed, moving, rngs={'dropout': key}).displacement)
    one, other = train(jax.random.key(0)), train(jax.random.key(1))
    assert jnp.abs(one - other).max() > 1e-3
    np.testing.assert_array_equal(train(jax.random.key(0)), one)
    assert jnp.abs(apply(params, fixed, moving).displacement - one).max() > 1e-3


def test_a_dropped_branch_is_zero_for_a_whole_sample_and_right_on_average():
    branch = jnp.ones((2000, 2, 3))
    dropped = DropPath(0.25).apply({}, branch, rngs={'dropout': jax.random.key(0)})
    values = np.asarray(dropped).reshape(2000, -1)
    np.testing.assert_allclose(np.unique(values), [0, 1 / 0.75], rtol=1e-6)
    assert np.all(values == values[:, :1])
    np.testing.assert_allclose(values.mean(), 1, atol=0.05)
    np.testing.assert_array_equal(DropPath(0.25).apply({}, branch), branch)
    np.testing.assert_array_equal(DropPath(0.0).apply({}, branch, rngs={'dropout': jax.random.key(0)}), branch)


def test_rates_rise_linearly_over_all_blocks():
    rates = drop_path_rates(0.3, (2, 2, 4, 2))
    assert [len(stage) for stage in rates] == [2, 2, 4, 2]
    np.testing.assert_allclose(np.concatenate(rates), np.arange(10) / 30, atol=1e-12)
    assert drop_path_rates(0.0, (1, 2)) == ((0.0,), (0.0, 0.0))


@pytest.mark.parametrize('size', [(10, 12, 10), (5, 6, 5), (7, 6, 3)])
def test_windows_are_put_back_where_they_came_from(size):
    volume = volume_of(2, *size, 3)
    windows = Windows(size, (5, 6, 5), (2, 3, 2))
    np.testing.assert_array_equal(unpartition(partition(volume, windows), windows), volume)


@pytest.mark.parametrize(('window', 'shifted'), [((2, 2, 2), True), ((2, 2, 1), False)])
def test_windows_are_shifted_along_all_axes_or_none(window, shifted):
    stage = SwinStage(2, 1, window, shift_all_or_none=True, shrink_window=False, qkv_bias=False)
    volume = volume_of(1, 6, 6, 2, 4)
    params = random_params(jax.eval_shape(stage.init, quick_key(), volume)['params'])
    apply = quick_jit(lambda volume: stage.apply({'params': params}, volume))
    changed = apply(volume.at[0, 2, 2, 0, 0].add(1.0)) != apply(volume)
    # Without shift a voxel reaches its own window.
    assert bool(jnp.any(changed[0, 1])) == shifted and jnp.any(changed[0, 3])


def test_merging_takes_the_eight_voxels_in_the_published_order():
    volume = volume_of(1, 4, 2, 2, 3)
    module = LatticeMerging(6)
    params = random_params(jax.eval_shape(module.init, quick_key(), volume)['params'])
    joined = np.concatenate([np.asarray(volume)[0, 2 + d, h, w] for d, h, w in SUB_LATTICES])
    assert sorted(SUB_LATTICES) == [(d, h, w) for d in (0, 1) for h in (0, 1) for w in (0, 1)]
    assert SUB_LATTICES[3:6] == ((0, 0, 1), (1, 1, 0), (0, 1, 1))
    normalised = (joined - joined.mean()) / np.sqrt(joined.var() + 1e-5) * params['norm']['scale']
    wanted = (normalised + params['norm']['bias']) @ params['reduction']['kernel']
    result = module.apply({'params': params}, volume)
    assert result.shape == (1, 2, 1, 1, 6) and set(params['reduction']) == {'kernel'}
    np.testing.assert_allclose(result[0, 1, 0, 0], wanted, rtol=1e-4, atol=1e-5)


def test_zeros_beyond_the_border_count_in_the_average():
    pooled = average_pool(jnp.ones((1, 4, 4, 4, 2)))
    assert pooled.shape == (1, 2, 2, 2, 2)
    np.testing.assert_allclose(pooled[0, 0, 0, 0], 8 / 27, rtol=1e-6)
    np.testing.assert_allclose(pooled[0, 1, 1, 1], 1, rtol=1e-6)
    slope = jax.jit(jax.grad(lambda volume: average_pool(volume)[0, 1, 1, 1, 0]))(jnp.ones((1, 4, 4, 4, 1)))
    np.testing.assert_allclose(slope[0, 1:, 1:, 1:], 1 / 27, rtol=1e-6)


def test_padding_is_as_much_before_as_behind():
    volume = volume_of(1, 16, 32, 48, 2)
    padded = pad_to_multiple(volume)
    assert padded.shape == (1, 32, 32, 64, 2)
    np.testing.assert_array_equal(padded[:, 8:24, :, 8:56], volume)
    np.testing.assert_allclose(padded.sum(), volume.sum(), rtol=1e-5)
    np.testing.assert_array_equal(crop_to_size(padded, (16, 32, 48)), volume)


@pytest.mark.parametrize(
    ('size', 'window'), [((144, 192, 160), (5, 6, 5)), ((128, 128, 32), (4, 4, 1)), ((160, 192, 224), (5, 6, 7))]
)
def test_window_that_fits_a_size(size, window):
    assert fitting_window(size) == window


def test_a_window_that_does_not_fit_is_named():
    # Parameters do not depend on the size, so that a window too large for it is found when they are used.
    network = TransMorph(**SMALL | {'window': (2, 9, 2)})
    image, params = image_of((32, 32, 16)), shapes_of(network)
    with pytest.raises(UserError, match=r'\(2, 9, 2\), too large for .* \(32, 32, 16\).*\(8, 8, 8\).*=\(1, 1, 1\)'):
        jax.eval_shape(network.apply, {'params': params}, image, image)


def test_sizes_must_be_multiples_of_16():
    with pytest.raises(ValueError, match=r'multiples of 16; pad them to \(32, 32, 48\)'):
        shapes_of(TransMorph(**SMALL), (32, 32, 40))
