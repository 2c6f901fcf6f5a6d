"""The convolutional AutoFuse as a whole: its size and names, how a pair runs through it, what its options change."""

import collections

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autofuse_jax.fields import integrate_velocity, upsample_displacement, warp_linear
from autofuse_jax.models.autofuse import AutoFuse
from tests.models.shapes import count, output_of, shapes_of
from tests.quick import quick_jit, quick_key, random_params

SHAPE = (16, 16, 16)
CLASSES = 3
GATES = tuple(f'gate_{number}' for number in range(2, 9))


def images(seed=0):
    """Two pairs."""
    return jnp.asarray(np.random.default_rng(seed).random((2, 2, *SHAPE, 1)), jnp.float32)


# Numbers of the official modules, where there is one: unsupervised 8,748,310, semi-supervised with argmax feedback
# 8,777,786 for 4 classes and 8,778,058 for 20. The others follow by hand:
#   without large kernels: less 1,509,248;
#   displacement: less the log-variance layer, 27 * 64 * 3 + 3 = 5,187;
#   softmax feedback: 2 C - 2 more input channels of 27 * 32 weights each.
@pytest.mark.parametrize(
    ('options', 'parameters'),
    [
        ({}, 8_748_310),
        ({'large_kernel': False, 'output': 'displacement'}, 8_748_310 - 1_509_248 - 5_187),
        ({'num_classes': 4, 'segmentation_feedback': 'argmax'}, 8_777_786),
        ({'num_classes': 20, 'segmentation_feedback': 'argmax'}, 8_778_058),
        ({'num_classes': 4}, 8_782_970),
    ],
)
def test_number_of_parameters(options, parameters):
    assert count(shapes_of(AutoFuse(**options))) == parameters


def test_number_of_parameters_of_the_parts():
    unsupervised = shapes_of(AutoFuse())
    assert count(unsupervised['single_branch']) == 1_017_168
    semi = shapes_of(AutoFuse(num_classes=4, segmentation_feedback='argmax'))
    assert count(semi['single_branch']) == 1_044_916
    assert count(semi['fusion_branch']) == 7_732_870
    gates = [semi['fusion_branch'][name] for name in GATES]
    assert sum(count(gate['single']) for gate in gates) == 1_770_112
    assert sum(count(gate['gate_fusion']) + count(gate['gate_single']) for gate in gates) == 263_424
    assert sum(count(gate['large_kernel']) for gate in gates) == 1_509_248
    # The head is the same in all: 16 C weights and C biases.
    assert count(semi['single_branch']['segmentation_head']) == 17 * 4
    # The two branches do not differ between unsupervised and semi-supervised but for blocks 1 and 9 and the head.
    for block in (f'conv_{number}' for number in range(2, 9)):
        assert unsupervised['fusion_branch'][block] == semi['fusion_branch'][block]
        assert unsupervised['single_branch'][block] == semi['single_branch'][block]


def test_names_are_kept():
    """Saved parameters are found again by these names."""
    semi = shapes_of(AutoFuse(num_classes=4))
    unsupervised = shapes_of(AutoFuse(large_kernel=False, output='displacement'))
    assert set(semi) == set(unsupervised) == {'single_branch', 'fusion_branch'}
    blocks = {f'conv_{number}' for number in range(1, 9)}
    assert set(unsupervised['single_branch']) == blocks
    assert set(semi['single_branch']) == blocks | {'conv_9', 'segmentation_head'}
    assert set(semi['fusion_branch']) == set(unsupervised['fusion_branch']) == blocks | {*GATES, 'registration_head'}
    assert set(semi['single_branch']['conv_1']) == {'conv_1', 'conv_2'}
    assert set(semi['single_branch']['segmentation_head']) == {'conv'}
    gate = semi['fusion_branch']['gate_2']
    assert set(gate) == {'single', 'gate_fusion', 'gate_single', 'large_kernel'}
    assert set(gate['large_kernel']) == {'conv_1', 'conv_2', 'conv_3', 'conv_4', 'merge'}
    assert set(unsupervised['fusion_branch']['gate_2']) == {'single', 'gate_fusion', 'gate_single'}
    assert set(semi['fusion_branch']['registration_head']) == {'conv', 'mean', 'log_variance'}
    assert set(unsupervised['fusion_branch']['registration_head']) == {'conv', 'mean'}


@pytest.mark.parametrize(
    ('options', 'channels'),
    [
        ({}, 2),
        ({'num_classes': 4, 'segmentation_feedback': 'argmax'}, 2 + 2),
        ({'num_classes': 4}, 2 + 2 * 4),
    ],
)
def test_what_is_fed_into_the_fusion_branch(options, channels):
    shapes = shapes_of(AutoFuse(**options))
    assert shapes['fusion_branch']['conv_1']['conv_1']['kernel'].shape == (3, 3, 3, channels, 32)
    assert shapes['single_branch']['conv_1']['conv_1']['kernel'].shape == (3, 3, 3, 1, 16)


def test_shapes_of_the_output():
    output = output_of(AutoFuse(base_channels=2, num_classes=CLASSES))
    assert output.displacement.shape == output.inverse_displacement.shape == (1, 16, 16, 16, 3)
    assert output.warped.shape == (1, 16, 16, 16, 1)
    assert output.velocity_mean.shape == output.log_variance.shape == (1, 8, 8, 8, 3)
    assert output.fixed_segmentation.shape == output.moving_segmentation.shape == (1, 16, 16, 16, CLASSES)
    # Blocks 2 .. 8 work on 1/2, 1/4, 1/8, 1/16, 1/8, 1/4 and 1/2 of the size; twice as wide as Table A1's multiples.
    assert {name: weight.shape[1:] for name, weight in output.gate_weights.items()} == {
        'gate_2': (8, 8, 8, 8),
        'gate_3': (4, 4, 4, 8),
        'gate_4': (2, 2, 2, 16),
        'gate_5': (1, 1, 1, 16),
        'gate_6': (2, 2, 2, 16),
        'gate_7': (4, 4, 4, 8),
        'gate_8': (8, 8, 8, 8),
    }
    unsupervised = output_of(AutoFuse(base_channels=2, output='displacement'))
    assert unsupervised.fixed_segmentation is unsupervised.moving_segmentation is None
    assert unsupervised.log_variance is unsupervised.inverse_displacement is None


@pytest.mark.parametrize(
    ('images', 'fields'),
    # Fields need single precision at least.
    [(jnp.bfloat16, jnp.float32), (jnp.float32, jnp.float32), (jnp.float64, jnp.float64)],
)
def test_types(images, fields):
    with jax.enable_x64(images == jnp.float64):
        output = output_of(AutoFuse(base_channels=2, num_classes=CLASSES), dtype=images)
    assert output.displacement.dtype == output.inverse_displacement.dtype == fields
    assert output.fixed_segmentation.dtype == output.moving_segmentation.dtype == fields
    for volume in (output.warped, *output.gate_weights.values()):
        assert volume.dtype == images


# A program of one pair's batch, shared by all that need it.
integrated = quick_jit(jax.vmap(lambda velocity: upsample_displacement(integrate_velocity(velocity))))


@pytest.fixture(scope='module')
def semi():
    """(parameters, function of fixed, moving and noise): the output of the mean, and the sampled displacement."""
    model = AutoFuse(base_channels=2, num_classes=CLASSES)
    params = random_params(shapes_of(model))

    @quick_jit
    def apply(fixed, moving, noise):
        mean, sampled = (model.apply({'params': params}, fixed, moving, draw) for draw in (None, noise))
        return mean, sampled.displacement

    return apply


@pytest.fixture(scope='module')
def pair():
    return images()


@pytest.fixture(scope='module')
def noise():
    return jnp.asarray(np.random.default_rng(1).normal(size=(2, 8, 8, 8, 3)), jnp.float32)


@pytest.fixture(scope='module')
def outputs(semi, pair, noise):
    return semi(*pair, noise)


def test_displacement_is_the_integrated_mean_velocity(outputs):
    output, _ = outputs
    assert jnp.abs(output.velocity_mean).max() > 0.5
    for velocity, displacement in (
        (output.velocity_mean, output.displacement),
        (-output.velocity_mean, output.inverse_displacement),
    ):
        np.testing.assert_allclose(displacement, integrated(velocity), atol=1e-4)


def test_noise_is_added_to_the_velocity(outputs, noise):
    output, sampled = outputs
    velocity = output.velocity_mean + jnp.exp(output.log_variance / 2) * noise
    np.testing.assert_allclose(sampled, integrated(velocity), atol=1e-4)
    assert jnp.abs(sampled - output.displacement).max() > 0.1


def test_warped_is_the_moving_image_at_displaced_positions(outputs, pair):
    output, _ = outputs
    warped = quick_jit(jax.vmap(warp_linear))(pair[1], output.displacement)
    np.testing.assert_allclose(output.warped, warped, atol=1e-5)


def test_without_noise_it_is_deterministic(semi, outputs, pair, noise):
    again, _ = semi(*pair, 2 * noise)
    jax.tree.map(np.testing.assert_array_equal, again, outputs[0])


def test_pairs_of_a_batch_do_not_mix(semi, outputs, pair, noise):
    exchanged, sampled = semi(pair[0, ::-1], pair[1, ::-1], noise[::-1])
    for one, other in zip(jax.tree.leaves((exchanged, sampled)), jax.tree.leaves(outputs), strict=True):
        np.testing.assert_allclose(one, other[::-1], atol=1e-4)
    # The two pairs are different in the first place.
    assert jnp.abs(outputs[0].displacement[0] - outputs[0].displacement[1]).max() > 0.1


def test_both_images_go_through_the_same_single_branch(semi, outputs, pair, noise):
    exchanged, _ = semi(pair[1], pair[0], noise)
    np.testing.assert_allclose(exchanged.fixed_segmentation, outputs[0].moving_segmentation, atol=1e-5)
    np.testing.assert_allclose(exchanged.moving_segmentation, outputs[0].fixed_segmentation, atol=1e-5)
    # The fusion branch knows which image is which.
    assert jnp.abs(exchanged.displacement - outputs[0].displacement).max() > 0.1


def test_segmentations_and_gates_are_shares(outputs):
    output, _ = outputs
    for segmentation in (output.fixed_segmentation, output.moving_segmentation):
        np.testing.assert_allclose(segmentation.sum(axis=-1), 1, rtol=1e-5)
    assert set(output.gate_weights) == set(GATES)
    for weight in output.gate_weights.values():
        assert 0 <= weight.min() < 0.45 and 0.55 < weight.max() <= 1


def displacement_loss(model):
    """A function of the parameters that depends on every displacement and on nothing else."""
    fixed, moving = images()[:, :1]
    weight = jnp.asarray(np.random.default_rng(2).normal(size=(1, *SHAPE, 3)), jnp.float32)
    return lambda params: jnp.sum(weight * model.apply({'params': params}, fixed, moving).displacement)


def small(**options):
    return AutoFuse(base_channels=2, num_classes=CLASSES, output='displacement', **options)


@pytest.fixture(scope='module')
def value_and_gradient():
    model = small(remat='none')
    return quick_jit(jax.value_and_grad(displacement_loss(model)))(random_params(shapes_of(model)))


def test_every_layer_has_an_effect_on_the_displacement(value_and_gradient):
    flat, _ = jax.tree_util.tree_flatten_with_path(value_and_gradient[1])
    idle = {jax.tree_util.keystr(path, simple=True, separator='/') for path, leaf in flat if not np.any(leaf)}
    # Block 5 has a single voxel here; instance norm turns it into zeros, behind which nothing is seen.
    assert all('conv_5' in name or 'gate_5' in name for name in idle), idle


def test_softmax_feedback_passes_the_gradient(value_and_gradient):
    # From the displacement back to the segmentation head there is no other way.
    gradient = value_and_gradient[1]['single_branch']['segmentation_head']['conv']
    assert jnp.abs(gradient['kernel']).max() > 1e-3


def test_argmax_feedback_passes_no_gradient():
    model = small(segmentation_feedback='argmax')
    params = random_params(shapes_of(model))
    loss = displacement_loss(model)

    def of_head(head):
        single = params['single_branch'] | {'segmentation_head': head}
        return loss({'fusion_branch': params['fusion_branch'], 'single_branch': single})

    head = params['single_branch']['segmentation_head']
    gradient = quick_jit(jax.grad(of_head))(head)
    assert not any(jnp.any(leaf) for leaf in jax.tree.leaves(gradient))


@pytest.mark.slow
def test_recomputing_blocks_changes_neither_value_nor_gradient(value_and_gradient):
    # Blocks 1 and all gates as a whole, of the other blocks what costs little.
    model = small(remat='activations,1,gates')
    assert shapes_of(model) == shapes_of(small(remat='none'))
    value, gradient = quick_jit(jax.value_and_grad(displacement_loss(model)))(random_params(shapes_of(model)))
    np.testing.assert_allclose(value, value_and_gradient[0], rtol=1e-4)
    scale = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(gradient))
    jax.tree.map(
        lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5 * scale),
        gradient,
        value_and_gradient[1],
    )


@pytest.mark.parametrize(
    ('remat', 'recomputed'),
    # Blocks 1 and 9 of the single branch and block 1 of the other; all 9 + 8 blocks and 7 gates; all of these in part.
    [('none', 0), ('all', 24), ('2,5,9', 5), ('gates,full_resolution', 10), ('activations,1', 24)],
)
def test_which_blocks_are_recomputed(remat, recomputed):
    # Parameters keep their names: those of the network that keeps everything are found.
    params = random_params(shapes_of(small(remat='none')))
    jaxpr = jax.make_jaxpr(displacement_loss(small(remat=remat)))(params)
    counts = collections.Counter(str(equation.primitive) for equation in jaxpr.eqns)
    assert counts['checkpoint'] + counts['remat2'] + counts['remat'] == recomputed


@pytest.mark.parametrize(
    ('size', 'fitting'), [((16, 16, 8), (16, 16, 16)), ((20, 32, 15), (32, 32, 16)), ((128, 128, 33), (128, 128, 48))]
)
def test_sizes_that_are_no_multiples_of_16(size, fitting):
    image = jax.ShapeDtypeStruct((1, *size, 1), jnp.float32)
    with pytest.raises(ValueError, match='expected multiples of 16') as error:
        jax.eval_shape(AutoFuse().init, quick_key(), image, image)
    assert str(size) in str(error.value) and f'pad them to {fitting}' in str(error.value)


@pytest.mark.parametrize(
    ('fixed', 'moving'),
    [((1, 16, 16, 16, 1), (1, 16, 16, 32, 1)), ((16, 16, 16, 1),) * 2, ((1, 16, 16, 16, 2),) * 2],
)
def test_wrong_shapes_are_named(fixed, moving):
    with pytest.raises(ValueError, match=r'must both be \(B, D, H, W, 1\)') as error:
        jax.eval_shape(AutoFuse().init, quick_key(), *(jnp.zeros(shape) for shape in (fixed, moving)))
    assert str(fixed) in str(error.value) and str(moving) in str(error.value)
