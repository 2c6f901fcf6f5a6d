"""AutoFuse-Trans as a whole: its size and names, how a pair runs through both forms of it, what its options change."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autofuse_jax.models.autofuse_trans import AutoFuseTrans
from tests.models.shapes import count, image_of, output_of, shapes_of
from tests.quick import quick_jit, quick_key, random_params

# The coarsest features have 1 x 1 x 2 voxels: fewer than a window, and enough for an instance norm to leave something.
SIZE = (16, 16, 32)
CLASSES = 3
FORMS = ('swin', 'convolutional')
GATES = tuple(f'gate_{number}' for number in range(1, 8))
# Widths of the stages in multiples of the first.
FACTORS = (1, 2, 4, 8, 4, 2, 1)


def small(**options):
    """One attention head in the first stage; windows of which no level is a multiple."""
    return AutoFuseTrans(**{'base_channels': 8, 'num_classes': CLASSES, 'window': (3, 3, 3)} | options)


def lively_params(model):
    """Random parameters whose layer norms do not weaken what goes through them."""

    def around_one(path, leaf):
        return leaf + 1 if path[-1].key == 'scale' else leaf

    return jax.tree_util.tree_map_with_path(around_one, random_params(shapes_of(model)))


# Numbers of the official modules: 40,575,750 unsupervised; with a convolutional single branch and argmax feedback
# 42,975,466 for 4 classes and 42,975,738 for 20. The others follow by hand:
#   segmenting Swin branch of 4 classes: the expanding layer from 32 to 16 channels has 8 * 32 * 16 weights, 16 biases
#     and 2 * 16 parameters of the norm, 4,144; the blocks at full resolution 27 * (1 + 16) * 16 + 2 * 16 = 7,376 and
#     27 * (32 + 16) * 16 + 2 * 16 = 20,768; the head 16 * 4 + 4 = 68; together 32,356. Each channel fed back adds
#     8 * 64 = 512 weights to the patch embedding: 2 channels with argmax, 8 with softmax;
#   unsupervised with a convolutional branch: less the head, 68, the embedding of two channels, 1,024, and block 9,
#     27 * (48 * 16 + 16 * 16) + 2 * 16 = 27,680;
#   displacement: less the log-variance layer, 27 * 64 * 3 + 3 = 5,187;
#   without large kernels: each has 27 + 3 * 5 taps of C * C / 2 weights and 2 C * C to merge, 4 C / 2 + C biases:
#     23 * 106 * 64^2 + 3 * 22 * 64 = 9,990,272 less, as the squares of the seven factors sum to 106 and they to 22;
#   windows of 5 x 6 x 5: 9 * 11 * 9 - 9^3 = 162 rows more in 2 * 2 tables for each of 4 * 22 heads;
#   a single block per stage: its two norms, attention and MLP have 12 C^2 + 13 C parameters and 729 rows per C / 8 or
#     C / 16 heads: less 12 * 106 (32^2 + 64^2) + 13 * 22 (32 + 64) + 2 * 729 * 88 = 6,668,400.
@pytest.mark.parametrize(
    ('options', 'parameters'),
    [
        ({}, 40_575_750),
        ({'num_classes': 4, 'segmentation_feedback': 'argmax', 'single_branch': 'convolutional'}, 42_975_466),
        ({'num_classes': 20, 'segmentation_feedback': 'argmax', 'single_branch': 'convolutional'}, 42_975_738),
        ({'num_classes': 4}, 40_575_750 + 32_356 + 8 * 512),
        ({'single_branch': 'convolutional'}, 42_975_466 - 68 - 1_024 - 27_680),
        ({'window': (5, 6, 5)}, 40_575_750 + 162 * 4 * 88),
        (
            {'large_kernel': False, 'output': 'displacement', 'depth': 1},
            40_575_750 - 9_990_272 - 5_187 - 6_668_400,
        ),
    ],
)
def test_number_of_parameters(options, parameters):
    assert count(shapes_of(AutoFuseTrans(**options))) == parameters


def test_names_are_kept():
    """Saved parameters are found again by these names."""
    semi = shapes_of(AutoFuseTrans(num_classes=4))
    unsupervised = shapes_of(AutoFuseTrans(large_kernel=False, output='displacement', depth=1))
    assert set(semi) == set(unsupervised) == {'single_branch', 'fusion_branch'}
    layers = {'patch_embedding'} | {f'stage_{number}' for number in range(1, 8)}
    layers |= {f'merging_{number}' for number in (2, 3, 4)}
    layers |= {f'{name}_{number}' for name in ('expanding', 'projection') for number in (5, 6, 7)}
    assert set(unsupervised['single_branch']) == layers
    assert set(semi['single_branch']) == layers | {'conv_1', 'expanding_8', 'conv_8', 'segmentation_head'}
    assert set(semi['fusion_branch']) == set(unsupervised['fusion_branch']) == layers | {*GATES, 'registration_head'}
    assert set(semi['fusion_branch']['gate_1']) == {'single', 'gate_fusion', 'gate_single', 'large_kernel'}
    assert set(unsupervised['fusion_branch']['gate_1']) == {'single', 'gate_fusion', 'gate_single'}
    assert set(semi['fusion_branch']['registration_head']) == {'conv', 'mean', 'log_variance'}
    assert set(unsupervised['fusion_branch']['registration_head']) == {'conv', 'mean'}
    assert set(semi['single_branch']['stage_1']) == {'block_1', 'block_2'}
    assert set(unsupervised['single_branch']['stage_1']) == {'block_1'}
    for layer in ('patch_embedding', 'merging_2', 'expanding_5'):
        assert set(semi['fusion_branch'][layer]) == {'kernel', 'bias', 'norm'}
    assert set(semi['fusion_branch']['projection_5']) == {'kernel', 'bias'}


def test_convolutional_single_branch():
    swin, convolutional = (shapes_of(AutoFuseTrans(num_classes=4, single_branch=form)) for form in FORMS)
    blocks = [f'conv_{number}' for number in range(1, 10)]
    single = convolutional['single_branch']
    assert set(single) == {*blocks, 'segmentation_head'}
    widths = [single[block]['conv_2']['bias'].shape[0] for block in blocks]
    assert widths == [16, 32, 64, 128, 256, 128, 64, 32, 16]
    # Its features are as wide as those of the Swin branch, so that the fusion branch is the same.
    assert convolutional['fusion_branch'] == swin['fusion_branch']


def test_widths_and_heads():
    shapes = shapes_of(AutoFuseTrans(num_classes=4))
    for branch, width in (('single_branch', 32), ('fusion_branch', 64)):
        for number, factor in enumerate(FACTORS, 1):
            block = shapes[branch][f'stage_{number}']['block_1']
            assert block['norm_1']['scale'].shape == (factor * width,)
            # Both branches have as many heads.
            assert block['attention']['relative_bias'].shape == (729, factor * 4)
    # The images, and the probabilities of four classes in each.
    assert shapes['fusion_branch']['patch_embedding']['kernel'].shape == (2, 2, 2, 2 + 2 * 4, 64)
    assert shapes['single_branch']['patch_embedding']['kernel'].shape == (2, 2, 2, 1, 32)


@pytest.mark.parametrize(
    ('size', 'single_branch'),
    [
        ((16, 48, 32), 'swin'),
        pytest.param((32, 16, 80), 'convolutional', marks=pytest.mark.slow),
    ],
)
def test_shapes_of_the_output(size, single_branch):
    output = output_of(small(single_branch=single_branch), size)
    assert output.displacement.shape == output.inverse_displacement.shape == (1, *size, 3)
    assert output.warped.shape == (1, *size, 1)
    assert output.fixed_segmentation.shape == output.moving_segmentation.shape == (1, *size, CLASSES)
    half = tuple(length // 2 for length in size)
    assert output.velocity_mean.shape == output.log_variance.shape == (1, *half, 3)
    # Stages 1 .. 7 work on 1/2, 1/4, 1/8, 1/16, 1/8, 1/4 and 1/2 of the size, the wider the coarser.
    assert {name: weight.shape[1:] for name, weight in output.gate_weights.items()} == {
        name: (*(length // (2 * factor) for length in size), 16 * factor)
        for name, factor in zip(GATES, FACTORS, strict=True)
    }


@pytest.mark.slow
def test_without_classes_and_without_velocity():
    output = output_of(small(num_classes=0, output='displacement'))
    assert output.fixed_segmentation is output.moving_segmentation is None
    assert output.log_variance is output.inverse_displacement is None


@pytest.mark.parametrize('single_branch', ['swin', pytest.param('convolutional', marks=pytest.mark.slow)])
def test_half_precision(single_branch):
    output = output_of(small(single_branch=single_branch), dtype=jnp.bfloat16)
    # Fields and probabilities need single precision at least.
    for volume in (output.displacement, output.inverse_displacement, output.velocity_mean, output.log_variance):
        assert volume.dtype == jnp.float32
    assert output.fixed_segmentation.dtype == output.moving_segmentation.dtype == jnp.float32
    for volume in (output.warped, *output.gate_weights.values()):
        assert volume.dtype == jnp.bfloat16


@pytest.mark.parametrize(('random_gate_bias', 'idle'), [(False, True), (True, False)])
def test_gates_start_in_the_middle_unless_random(random_gate_bias, idle):
    model, image = small(random_gate_bias=random_gate_bias), jnp.zeros((1, *SIZE, 1))
    # The compiler leaves nothing of the network but the draw of these.
    init = quick_jit(lambda key: model.init(key, image, image)['params']['fusion_branch']['gate_1']['gate_fusion'])
    gate = init(quick_key())
    assert not gate['kernel'].any()
    assert (not gate['bias'].any()) == idle


@pytest.fixture(scope='module')
def pairs():
    """Two pairs."""
    return jnp.asarray(np.random.default_rng(0).random((2, 2, *SIZE, 1)), jnp.float32)


@pytest.fixture(scope='module')
def swin():
    model = small()
    params = lively_params(model)
    return quick_jit(lambda fixed, moving: model.apply({'params': params}, fixed, moving))


@pytest.fixture(scope='module')
def swin_output(swin, pairs):
    return swin(*pairs)


@pytest.fixture(scope='module')
def convolutional(pairs):
    """(function of the parameters to the output for one pair, parameters)."""
    model = to_displace(single_branch='convolutional')
    apply = quick_jit(lambda params: model.apply({'params': params}, *pairs[:, :1]))
    return apply, lively_params(model)


@pytest.fixture(scope='module')
def convolutional_output(convolutional):
    apply, params = convolutional
    return apply(params)


@pytest.mark.parametrize('form', ['swin', pytest.param('convolutional', marks=pytest.mark.slow)])
def test_segmentations_and_gates_are_shares(form, request):
    output = jax.tree.map(np.asarray, request.getfixturevalue(f'{form}_output'))
    for segmentation in (output.fixed_segmentation, output.moving_segmentation):
        assert segmentation.shape[1:] == (*SIZE, CLASSES)
        np.testing.assert_allclose(segmentation.sum(axis=-1), 1, rtol=1e-5)
        # Neither all the same nor all in one class.
        assert 0 <= segmentation.min() < 0.2 and 0.5 < segmentation.max() <= 1
    assert set(output.gate_weights) == set(GATES)
    for weight in output.gate_weights.values():
        assert 0 <= weight.min() < 0.45 and 0.55 < weight.max() <= 1


def test_pairs_of_a_batch_do_not_mix(swin, swin_output, pairs):
    exchanged, output = jax.tree.map(np.asarray, (swin(pairs[0, ::-1], pairs[1, ::-1]), swin_output))
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other[::-1], atol=1e-3), exchanged, output)
    # The two pairs are different in the first place.
    assert np.abs(output.displacement[0] - output.displacement[1]).max() > 0.1


@pytest.mark.slow
def test_every_layer_of_a_convolutional_single_branch_has_an_effect(convolutional, convolutional_output):
    apply, params = convolutional
    paths_and_leaves, tree = jax.tree_util.tree_flatten_with_path(params['single_branch'])
    leaves = [leaf for _, leaf in paths_and_leaves]
    for number, (path, leaf) in enumerate(paths_and_leaves):
        # Not the same factor for all channels, which the norms would remove.
        factors = np.random.default_rng(3).uniform(0, 2, leaf.shape).astype(np.float32)
        changed = [*leaves[:number], np.asarray(leaf) * factors, *leaves[number + 1 :]]
        output = apply(params | {'single_branch': jax.tree.unflatten(tree, changed)})
        change = np.abs(np.asarray(output.displacement) - np.asarray(convolutional_output.displacement)).max()
        assert change > 1e-4, jax.tree_util.keystr(path, simple=True, separator='/')


def displacement_loss(model, pairs):
    """A function of the parameters that depends on every displacement and on nothing else."""
    weight = np.random.default_rng(2).normal(size=(1, *SIZE, 3)).astype(np.float32)
    return lambda params: jnp.sum(weight * model.apply({'params': params}, *pairs[:, :1]).displacement)


def to_displace(**options):
    return small(output='displacement', depth=1, **options)


@pytest.fixture(scope='module')
def to_displace_params():
    return lively_params(to_displace())


@pytest.fixture(scope='module')
def value_and_gradient(to_displace_params, pairs):
    computed = quick_jit(jax.value_and_grad(displacement_loss(to_displace(), pairs)))(to_displace_params)
    return jax.tree.map(np.asarray, computed)


@pytest.mark.slow
def test_every_layer_has_an_effect_on_the_displacement(value_and_gradient):
    flat, _ = jax.tree_util.tree_flatten_with_path(value_and_gradient[1])
    largest = {jax.tree_util.keystr(path, simple=True, separator='/'): np.abs(leaf).max() for path, leaf in flat}
    scale = max(largest.values())
    # What has none has a gradient of exactly zero; the smallest of the others are behind a norm of two voxels.
    assert not [name for name, value in largest.items() if value < 1e-9 * scale]


@pytest.mark.slow
def test_recomputing_blocks_changes_neither_value_nor_gradient(value_and_gradient, to_displace_params, pairs):
    # The last stage and gate, so that little of the reverse pass has to be compiled.
    loss = displacement_loss(to_displace(remat='all'), pairs)
    last = ('stage_7', 'gate_7')

    def of_last(layers):
        return loss(to_displace_params | {'fusion_branch': to_displace_params['fusion_branch'] | layers})

    layers = {name: to_displace_params['fusion_branch'][name] for name in last}
    value, gradient = quick_jit(jax.value_and_grad(of_last))(layers)
    np.testing.assert_allclose(value, value_and_gradient[0], rtol=1e-3)
    for name in last:
        wanted = value_and_gradient[1]['fusion_branch'][name]
        scale = max(np.abs(leaf).max() for leaf in jax.tree.leaves(wanted))
        jax.tree.map(
            lambda one, other, scale=scale: np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4 * scale),
            gradient[name],
            wanted,
        )


@pytest.mark.parametrize(
    ('single_branch', 'remat', 'recomputed'),
    [
        # Two blocks in each of two stages in each branch, and two convolutional ones.
        ('swin', 'full_resolution', 2 * 2 * 2 + 2),
        # Convolutional blocks 1 and 9 instead of two of the stages; 9 of them, 7 * 2 Swin blocks and 7 gates.
        ('convolutional', 'full_resolution', 2 + 2 * 2),
        ('convolutional', 'all', 9 + 7 * 2 + 7),
    ],
)
def test_which_blocks_are_recomputed(single_branch, remat, recomputed):
    model, image = small(remat=remat, single_branch=single_branch), image_of(SIZE)
    jaxpr, shapes = jax.make_jaxpr(model.init, return_shape=True)(quick_key(), image, image)
    found = [equation for equation in jaxpr.eqns if str(equation.primitive) in ('checkpoint', 'remat2', 'remat')]
    assert len(found) == recomputed
    if remat == 'full_resolution':
        # What is on the two finest grids.
        outputs = [equation.outvars[0].aval.shape for equation in found]
        assert {shape[1:4] for shape in outputs} == {SIZE, tuple(size // 2 for size in SIZE)}
    # Parameters keep their names.
    assert shapes['params'] == shapes_of(small(single_branch=single_branch))


@pytest.mark.parametrize('size', [(16, 16, 8), (20, 32, 15)])
def test_sizes_that_are_no_multiples_of_16(size):
    with pytest.raises(ValueError, match='expected multiples of 16') as error:
        shapes_of(small(), size)
    assert str(size) in str(error.value)
