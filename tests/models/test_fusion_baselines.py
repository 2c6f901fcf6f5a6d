"""EarlyFuse, MidFuse, LateFuse and MultiFuse: their sizes, where the images meet, and how they start."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autofuse_jax.methods.registry import make_method
from autofuse_jax.models.early_fuse import EarlyFuse
from autofuse_jax.models.late_fuse import LateFuse
from autofuse_jax.models.mid_fuse import MidFuse
from autofuse_jax.models.multi_fuse import MultiFuse
from tests.models.shapes import count, output_of, shapes_of
from tests.models.test_autofuse import images, integrated
from tests.quick import quick_jit, quick_key, random_params

BASELINES = {'early_fuse': EarlyFuse, 'mid_fuse': MidFuse, 'late_fuse': LateFuse, 'multi_fuse': MultiFuse}
WIDTH = 2


@pytest.mark.parametrize(
    ('name', 'parameters'),
    # Printed in the paper as 8.06, 8.17, 8.17 and 9.71 million.
    [('early_fuse', 8_059_590), ('mid_fuse', 8_169_318), ('late_fuse', 8_169_318), ('multi_fuse', 9_713_302)],
)
def test_number_of_parameters(name, parameters):
    assert count(shapes_of(BASELINES[name]())) == parameters


@pytest.mark.parametrize(
    ('name', 'parts'),
    [
        ('early_fuse', {'u_net', 'registration_head'}),
        ('mid_fuse', {'encoder', 'decoder'}),
        ('late_fuse', {'u_net', 'registration_head'}),
        ('multi_fuse', {'single_branch', 'fusion_branch'}),
    ],
)
def test_names_are_kept(name, parts):
    assert set(shapes_of(BASELINES[name](WIDTH))) == parts


def inputs_of(block):
    return block['conv_1']['kernel'].shape[3]


def test_early_fuse_joins_the_images_before_the_first_block():
    u_net = shapes_of(EarlyFuse())['u_net']
    assert inputs_of(u_net['conv_1']) == 2
    # The U-Net of LateFuse is the same but for that.
    late = shapes_of(LateFuse())['u_net']
    assert inputs_of(late['conv_1']) == 1
    assert {name: block for name, block in late.items() if name != 'conv_1'} == {
        name: block for name, block in u_net.items() if name != 'conv_1'
    }


def test_mid_fuse_joins_the_features_at_a_sixteenth_and_in_the_skips():
    shapes = shapes_of(MidFuse())
    encoder, decoder = shapes['encoder'], shapes['decoder']
    assert [block['conv_2']['bias'].shape[0] for _, block in sorted(encoder.items())] == [32, 64, 128, 128, 128]
    assert inputs_of(encoder['conv_1']) == 1
    assert inputs_of(decoder['conv_5']) == 2 * 128
    # What comes from below, and the same level of both images.
    skips = {'conv_6': 128 + 2 * 128, 'conv_7': 128 + 2 * 128, 'conv_8': 128 + 2 * 64}
    assert {name: inputs_of(decoder[name]) for name in skips} == skips


def test_late_fuse_joins_the_features_in_the_head():
    assert shapes_of(LateFuse())['registration_head']['conv']['kernel'].shape == (3, 3, 3, 2 * 64, 64)


def test_multi_fuse_adds_features_of_half_the_width_at_seven_levels():
    shapes = shapes_of(MultiFuse())
    sums = {f'sum_{number}' for number in range(2, 9)}
    assert sums <= set(shapes['fusion_branch'])
    assert not any('gate' in name or 'large' in name for name in shapes['fusion_branch'])
    # The two halves of what is joined are as wide as the level, and so is the sum.
    levels = [shapes['fusion_branch'][name]['single']['kernel'].shape for name in sorted(sums)]
    assert levels == [(3, 3, 3, width, width) for width in (64, 128, 128, 128, 128, 128, 64)]


@pytest.fixture(scope='module')
def pair():
    return images()


@pytest.fixture(scope='module')
def noise():
    return jnp.asarray(np.random.default_rng(1).normal(size=(2, 8, 8, 8, 3)), jnp.float32)


@functools.cache
def program_of(name):
    """Random parameters of a network, and its program: of parameters, two images and noise."""
    network = BASELINES[name](WIDTH)
    apply = quick_jit(lambda params, *inputs: network.apply({'params': params}, *inputs))
    return random_params(shapes_of(network)), apply


@pytest.fixture(scope='module', params=BASELINES)
def outputs(request, pair, noise):
    """Of a network with random parameters: of a pair, the same sampled, and of the images exchanged."""
    params, apply = program_of(request.param)
    without = jnp.zeros_like(noise)
    return apply(params, *pair, without), apply(params, *pair, noise), apply(params, *pair[::-1], without)


def test_displacement_is_the_integrated_velocity(outputs, noise):
    mean, sampled, _ = outputs
    assert jnp.abs(mean.velocity_mean).max() > 0.3
    np.testing.assert_allclose(mean.displacement, integrated(mean.velocity_mean), atol=1e-4)
    np.testing.assert_allclose(mean.inverse_displacement, integrated(-mean.velocity_mean), atol=1e-4)
    velocity = sampled.velocity_mean + jnp.exp(sampled.log_variance / 2) * noise
    np.testing.assert_allclose(sampled.displacement, integrated(velocity), atol=1e-4)
    assert jnp.abs(sampled.displacement - mean.displacement).max() > 0.1


def test_nothing_is_segmented_or_gated(outputs):
    mean, _, _ = outputs
    assert mean.fixed_segmentation is mean.moving_segmentation is None
    assert mean.gate_weights == {}


def test_the_images_have_different_roles(outputs):
    mean, _, exchanged = outputs
    assert jnp.abs(exchanged.velocity_mean - mean.velocity_mean).max() > 0.1


# Where the features of both images are joined: the layer whose input channels are those of the fixed, then of the
# moving image, behind as many channels as come from elsewhere.
JOINED = {
    'late_fuse': {('registration_head', 'conv'): 0},
    'mid_fuse': {
        ('decoder', 'conv_5', 'conv_1'): 0,
        ('decoder', 'conv_6', 'conv_1'): 4 * WIDTH,
        ('decoder', 'conv_7', 'conv_1'): 4 * WIDTH,
        ('decoder', 'conv_8', 'conv_1'): 4 * WIDTH,
    },
    'multi_fuse': {('fusion_branch', 'conv_1', 'conv_1'): 0}
    | {('fusion_branch', f'sum_{number}', 'single'): 0 for number in range(2, 9)},
}


@pytest.mark.parametrize('name', JOINED)
def test_both_images_go_through_the_same_weights(name, pair, noise):
    """Exchanging the images exchanges their features, so exchanging the weights behind them too changes nothing."""
    params, apply = program_of(name)
    exchanged = jax.tree.map(lambda leaf: leaf, params)
    for path, first in JOINED[name].items():
        layer = exchanged
        for part in path:
            layer = layer[part]
        kernel = layer['kernel']
        half = (kernel.shape[3] - first) // 2
        parts = (kernel[..., :first, :], kernel[..., first + half :, :], kernel[..., first : first + half, :])
        layer['kernel'] = jnp.concatenate(parts, axis=3)
    velocity, same, other = (
        apply(*arguments, jnp.zeros_like(noise)).velocity_mean
        for arguments in ((params, *pair), (exchanged, *pair[::-1]), (params, *pair[::-1]))
    )
    np.testing.assert_allclose(same, velocity, atol=1e-4)
    assert jnp.abs(other - velocity).max() > 0.1


@pytest.mark.parametrize('name', BASELINES)
def test_without_a_velocity_nothing_moves(name, pair, noise):
    params, apply = program_of(name)
    params = jax.tree.map(lambda leaf: leaf, params)
    head = (
        params['registration_head']
        if 'registration_head' in params
        else next(part['registration_head'] for part in params.values() if 'registration_head' in part)
    )
    head['mean'] = jax.tree.map(jnp.zeros_like, head['mean'])
    output = apply(params, *pair, jnp.zeros_like(noise))
    np.testing.assert_array_equal(output.displacement, 0)
    np.testing.assert_allclose(output.warped, pair[1], atol=1e-6)


@pytest.mark.parametrize('name', BASELINES)
def test_it_is_trained_with_the_objective_of_autofuse(name, pair):
    method = make_method(name, {'base_channels': WIDTH}, {'ncc_window': 3}, {'symmetric': True})
    assert method.uses_labels is False
    (objective,) = method.objectives('phase_1')
    params = random_params(shapes_of(BASELINES[name](WIDTH)))
    batch = {'fixed': pair[0], 'moving': pair[1]}
    _, diagnostics = jax.eval_shape(objective.loss, params, batch, quick_key())
    assert {key for key in diagnostics if key.startswith('term/')} == {
        'term/negative_ncc',
        'term/jacobian',
        'term/kl',
    }
    prediction = jax.eval_shape(method.predict, params, *pair, quick_key())
    assert prediction.displacement.shape == (2, 16, 16, 16, 3)
    assert prediction.velocity.shape == (2, 8, 8, 8, 3)
    assert prediction.gate_means == {} and prediction.fixed_segmentation is None


@pytest.mark.parametrize('name', BASELINES)
def test_impossible_sizes_are_named(name):
    image = jax.ShapeDtypeStruct((1, 16, 16, 24, 1), jnp.float32)
    with pytest.raises(ValueError, match='expected multiples of 16'):
        jax.eval_shape(BASELINES[name](WIDTH).init, quick_key(), image, image)


@pytest.mark.parametrize('name', BASELINES)
def test_fields_are_single_precision_at_least(name):
    output = output_of(BASELINES[name](WIDTH), dtype=jnp.bfloat16)
    assert output.displacement.dtype == jnp.float32 and output.warped.dtype == jnp.bfloat16
