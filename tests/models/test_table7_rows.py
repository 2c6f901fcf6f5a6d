"""The rows of Table 7: what joins the branches of AutoFuse is taken away or weakened, and nothing else changes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autofuse_jax.methods.registry import make_method
from autofuse_jax.models.autofuse import AutoFuse
from autofuse_jax.models.autofuse_trans import AutoFuseTrans
from tests.models.shapes import count, image_of, output_of, shapes_of
from tests.models.test_autofuse import displacement_loss, images
from tests.quick import quick_jit, quick_key, random_params

LEVELS = range(2, 9)
ROWS = {
    'loss': {'fusion': 'none', 'feed_segmentation': False},
    'feature': {'fusion': 'sum', 'feed_segmentation': False},
    'input': {'fusion': 'none', 'feed_segmentation': True},
    'feature and input': {'fusion': 'sum', 'feed_segmentation': True},
    'gate': {'fusion': 'gate', 'feed_segmentation': True},
}
# Besides the rows, what the text of the paper leaves possible: features are appended instead of added.
COUNTS = {
    'loss': 5_233_274,
    'feature': 7_003_386,
    'input': 5_235_002,
    'feature and input': 7_005_114,
    'gate': 7_268_538,
    'appended feature': 9_325_818,
    'appended feature and input': 9_327_546,
}
APPENDED = {
    'appended feature': {'fusion': 'concat', 'feed_segmentation': False},
    'appended feature and input': {'fusion': 'concat', 'feed_segmentation': True},
}
ALL = ROWS | APPENDED
# One of each kind of link.
UNGATED = ['loss', 'feature and input', 'appended feature and input']


def published(row, classes=4):
    return shapes_of(AutoFuse(num_classes=classes, segmentation_feedback='argmax', large_kernel=False, **ALL[row]))


def small(row, **options):
    return AutoFuse(base_channels=2, num_classes=3, large_kernel=False, **ALL[row], **options)


@pytest.mark.parametrize('row', COUNTS)
def test_number_of_parameters(row):
    assert count(published(row)) == COUNTS[row]


@pytest.mark.parametrize('row', ['loss', 'feature and input'])
def test_number_of_parameters_of_more_classes(row):
    # 16 more classes: 17 parameters of the segmentation head each, and as argmax is fed back, nothing else.
    assert count(published(row, classes=20)) == COUNTS[row] + 16 * 17


def test_all_rows_have_the_same_single_branch():
    branches = [published(row)['single_branch'] for row in ALL]
    assert all(branch == branches[0] for branch in branches)
    assert count(branches[0]) == 1_044_916


@pytest.mark.parametrize('row', ROWS)
def test_rows_differ_in_their_links_alone(row):
    fusion = published(row)['fusion_branch']
    reference = published('gate')['fusion_branch']
    blocks = {f'conv_{number}' for number in LEVELS} | {'registration_head'}
    assert {name: fusion[name] for name in blocks} == {name: reference[name] for name in blocks}
    inputs = {True: 4, False: 2}[ROWS[row]['feed_segmentation']]
    assert fusion['conv_1']['conv_1']['kernel'].shape == (3, 3, 3, inputs, 32)
    assert fusion['conv_1']['conv_2'] == reference['conv_1']['conv_2']
    links = set(fusion) - blocks - {'conv_1'}
    kind = ROWS[row]['fusion']
    assert links == (set() if kind == 'none' else {f'{kind}_{number}' for number in LEVELS})
    if kind == 'sum':
        for number in LEVELS:
            assert fusion[f'sum_{number}'] == {'single': reference[f'gate_{number}']['single']}


def test_a_row_is_the_default_with_options_off():
    assert shapes_of(AutoFuse(fusion='gate', feed_segmentation=True)) == shapes_of(AutoFuse())


@pytest.mark.parametrize('row', UNGATED)
def test_without_gates_there_are_no_gate_weights(row):
    output = output_of(small(row))
    assert output.gate_weights == {}
    assert output.fixed_segmentation.shape == (1, 16, 16, 16, 3)


def test_without_gates_a_prediction_has_no_means_of_gates():
    row = 'feature and input'
    method = make_method('autofuse', {'base_channels': 2, 'num_classes': 3} | ALL[row], {})
    image = image_of((16, 16, 16))
    assert jax.eval_shape(method.predict, shapes_of(small(row)), image, image, quick_key()).gate_means == {}


@pytest.mark.parametrize('row', UNGATED)
def test_large_kernels_belong_to_gates(row):
    with_kernels = shapes_of(AutoFuse(base_channels=2, num_classes=3, **ALL[row]))
    assert with_kernels == shapes_of(small(row))


@pytest.mark.parametrize('row', ['loss', pytest.param('feature and input', marks=pytest.mark.slow)])
def test_which_features_reach_the_displacement(row):
    """Without links the displacement does not depend on the single branch; with links it does."""
    model = small(row, output='displacement')
    params = random_params(shapes_of(model))
    gradient = quick_jit(jax.grad(displacement_loss(model)))(params)
    linked = row != 'loss'
    for number in (6, 7, 8):
        kernel = gradient['single_branch'][f'conv_{number}']['conv_2']['kernel']
        assert bool(np.any(kernel != 0)) == linked
    fed = ALL[row]['feed_segmentation']
    head = gradient['single_branch']['segmentation_head']['conv']['kernel']
    assert bool(np.any(head != 0)) == fed
    # Every block of the fusion branch works, but for block 5, which is a single voxel here.
    for number in (1, *LEVELS[:3], *LEVELS[4:]):
        assert np.any(gradient['fusion_branch'][f'conv_{number}']['conv_1']['kernel'] != 0)


def halved_input(block, first):
    return block | {first: block[first] | {'kernel': block[first]['kernel'] / 2}}


@pytest.mark.slow
def test_the_sum_is_that_of_a_gate_in_the_middle():
    """A gate of weight 1/2 gives (x + h) / 2, and a sum with half the kernel behind it the same."""
    gate, added = small('gate', output='displacement'), small('feature and input', output='displacement')
    params = random_params(shapes_of(gate))
    fusion = dict(params['fusion_branch'])
    sums = {f'sum_{number}': {'single': fusion[f'gate_{number}']['single']} for number in LEVELS}
    for number in LEVELS:
        level = fusion.pop(f'gate_{number}')
        zeros = {name: jax.tree.map(jnp.zeros_like, level[name]) for name in ('gate_fusion', 'gate_single')}
        params['fusion_branch'][f'gate_{number}'] = level | zeros
    # Block 2 sees block 1, which has no link; blocks 3 .. 8 and the head see nothing but levels with links.
    halved = {f'conv_{number}': halved_input(fusion[f'conv_{number}'], 'conv_1') for number in range(3, 9)}
    halved['registration_head'] = halved_input(fusion['registration_head'], 'conv')
    of_sum = {'single_branch': params['single_branch'], 'fusion_branch': fusion | sums | halved}
    pair = images()
    wanted, found = (
        quick_jit(lambda p, m=model: m.apply({'params': p}, *pair).displacement)(tree)
        for model, tree in ((gate, params), (added, of_sum))
    )
    assert jnp.abs(wanted).max() > 0.3
    np.testing.assert_allclose(found, wanted, atol=2e-4)


@pytest.mark.slow
@pytest.mark.parametrize('fusion', ['sum', 'concat', 'none'])
def test_the_transformer_has_the_same_options(fusion):
    options = {'num_classes': 3, 'large_kernel': False, 'depth': 1, 'window': (2, 2, 2), 'base_channels': 8}
    shapes = shapes_of(AutoFuseTrans(fusion=fusion, feed_segmentation=False, **options))
    reference = shapes_of(AutoFuseTrans(**options))
    assert shapes['single_branch'] == reference['single_branch']
    links = {name for name in shapes['fusion_branch'] if name.split('_')[0] in ('gate', 'sum', 'concat')}
    assert links == (set() if fusion == 'none' else {f'{fusion}_{number}' for number in range(1, 8)})
    assert shapes['fusion_branch']['patch_embedding']['kernel'].shape[3] == 2
    output = output_of(AutoFuseTrans(fusion=fusion, feed_segmentation=False, **options))
    assert output.gate_weights == {} and output.displacement.shape == (1, 16, 16, 16, 3)
