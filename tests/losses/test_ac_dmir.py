"""The objective of AC-DMiR: which terms a pair has, their values, and what each trains."""

import jax
import numpy as np
import pytest

from autofuse_jax.errors import UserError
from autofuse_jax.fields import warp_linear
from autofuse_jax.losses.ac_dmir import ACDMiRWeights, ac_dmir_objective
from autofuse_jax.losses.overlap import dice_loss, focal_dice_loss
from autofuse_jax.losses.regularity import gradient_penalty
from autofuse_jax.losses.similarity import local_ncc
from tests.losses.labelled_pairs import KINDS, active, batch_of, field, logits, one_hot, trained
from tests.quick import quick_jit

WEIGHTS = ACDMiRWeights(ncc_window=3)
INPUTS = {
    'initial': field(0.5),
    'final': field(0.3, seed=2),
    'warped_logits': logits(3),
    'fixed_logits': logits(4),
    'moving_logits': logits(5),
}
ALWAYS = {
    'negative_ncc_initial': {'initial'},
    'negative_ncc_final': {'final'},
    'smoothness_initial': {'initial'},
    'smoothness_final': {'final'},
}
# Kind of pair: its terms with labels, and what each trains. In the network the warped image's logits depend on phi_0.
TABLE = {
    'both': {
        'dice_initial': {'initial'},
        'dice_final': {'final'},
        'constraint': {'warped_logits'},
        'segmentation_fixed': {'fixed_logits'},
        'segmentation_moving': {'moving_logits'},
    },
    'fixed': {
        'dice_predicted': {'final'},
        'constraint': {'warped_logits'},
        'segmentation_fixed': {'fixed_logits'},
    },
    'moving': {'constraint': {'warped_logits'}, 'segmentation_moving': {'moving_logits'}},
    'none': {},
}


def loss_of(inputs, batch, weights=WEIGHTS):
    warped = jax.vmap(warp_linear)(batch['moving'], inputs['initial'])
    classes = {name: jax.nn.softmax(inputs[f'{name}_logits']) for name in ('warped', 'fixed', 'moving')}
    both = classes['fixed'], classes['moving']
    return ac_dmir_objective((inputs['initial'], inputs['final']), warped, classes['warped'], both, batch, weights)


def contributions(inputs, batch):
    return {name: value for name, value in loss_of(inputs, batch)[1].items() if name.startswith('weighted/')}


@pytest.fixture(scope='module')
def loss():
    return quick_jit(loss_of)


@pytest.fixture(scope='module')
def jacobian():
    return quick_jit(jax.jacrev(contributions))


@pytest.mark.parametrize('kind', list(KINDS))
def test_terms_of_each_kind_of_pair_and_what_they_train(loss, jacobian, kind):
    expected = ALWAYS | TABLE[kind]
    value, diagnostics = loss(INPUTS, batch_of(kind))
    assert active(diagnostics) == set(expected)
    np.testing.assert_allclose(value, sum(diagnostics[f'weighted/{name}'] for name in expected), rtol=1e-5)
    found = trained(jacobian(INPUTS, batch_of(kind)))
    assert found == {name: expected.get(name, set()) for name in found}


@pytest.mark.parametrize('kind', ['both', 'fixed', 'moving'])
def test_contributions_of_the_terms(loss, kind):
    batch = batch_of(kind)
    fixed, moving = one_hot(batch, 'fixed')[0], one_hot(batch, 'moving')[0]
    classes = {name: jax.nn.softmax(INPUTS[f'{name}_logits'])[0] for name in ('warped', 'fixed', 'moving')}
    maps = {stage: INPUTS[stage][0] for stage in ('initial', 'final')}
    expected = {f'smoothness_{stage}': gradient_penalty(u) for stage, u in maps.items()}
    for stage, u in maps.items():
        ncc = local_ncc(batch['fixed'][0], warp_linear(batch['moving'][0], u), window=3)
        expected[f'negative_ncc_{stage}'] = -0.5 * ncc
    target = warp_linear(moving, maps['initial']) if kind == 'moving' else fixed
    expected['constraint'] = focal_dice_loss(target, classes['warped'])
    if kind == 'both':
        expected |= {f'dice_{stage}': 0.5 * dice_loss(fixed, warp_linear(moving, u)) for stage, u in maps.items()}
    if kind == 'fixed':
        expected['dice_predicted'] = dice_loss(fixed, warp_linear(classes['moving'], maps['final']))
    if kind != 'moving':
        expected['segmentation_fixed'] = focal_dice_loss(fixed, classes['fixed'])
    if kind != 'fixed':
        expected['segmentation_moving'] = focal_dice_loss(moving, classes['moving'])
    assert set(expected) == set(ALWAYS | TABLE[kind])
    _, diagnostics = loss(INPUTS, batch)
    for name, value in expected.items():
        np.testing.assert_allclose(diagnostics[f'weighted/{name}'], value, rtol=1e-5)


@pytest.mark.parametrize('kind', ['fixed', 'moving', 'none'])
def test_missing_labels_have_no_effect(loss, jacobian, kind):
    clean, garbage = batch_of(kind), batch_of(kind, garbage_seed=5)
    for function in (loss, jacobian):
        jax.tree.map(np.testing.assert_array_equal, function(INPUTS, clean), function(INPUTS, garbage))


def test_weights_multiply_terms_and_zero_leaves_them_out():
    batch = batch_of('both')
    values = {'smoothness': 2.0, 'dice': 3.0, 'constraint': 4.0, 'segmentation': 5.0}
    _, diagnostics = loss_of(INPUTS, batch, ACDMiRWeights(**values))
    weights = {'smoothness_final': 2.0, 'dice_initial': 1.5, 'constraint': 4.0, 'segmentation_moving': 5.0}
    for name, weight in weights.items():
        np.testing.assert_allclose(diagnostics[f'weighted/{name}'], weight * diagnostics[f'term/{name}'], rtol=1e-5)
    _, few = loss_of(INPUTS, batch, ACDMiRWeights(dice=0, constraint=0, segmentation=0))
    assert {name for name in few if name.startswith('term/')} == {f'term/{name}' for name in ALWAYS}


@pytest.mark.parametrize('options', [{'constraint': -1}, {'smoothness': float('nan')}, {'ncc_window': 4}])
def test_impossible_options(options):
    with pytest.raises(UserError, match=f'loss.{next(iter(options))}'):
        ACDMiRWeights(**options)
