"""The objective of JPR-Net: which terms a pair has, their values, and what each trains."""

import dataclasses

import jax
import numpy as np
import pytest

from autofuse_jax.errors import UserError
from autofuse_jax.fields import warp_linear
from autofuse_jax.losses.cross_entropy import cross_entropy
from autofuse_jax.losses.jpr_net import JPRNetWeights, jpr_net_objective
from autofuse_jax.losses.overlap import dice_loss
from autofuse_jax.losses.regularity import gradient_penalty
from autofuse_jax.models.field_outputs import of_displacement
from tests.losses.labelled_pairs import KINDS, active, batch_of, field, logits, one_hot, trained
from tests.quick import quick_jit

WEIGHTS = JPRNetWeights(ncc_window=3)
INPUTS = {'displacement': field(0.5), 'fixed_logits': logits(3), 'moving_logits': logits(4)}
ALWAYS = {'negative_ncc', 'smoothness'}
# Kind of pair: the terms with labels that it has.
TABLE = {
    'both': {'parcellation_fixed', 'parcellation_moving', 'map_similarity'},
    'fixed': {'parcellation_fixed', 'map_similarity', 'augmentation_moving'},
    'moving': {'parcellation_moving', 'map_similarity', 'augmentation_fixed'},
    'none': set(),
}


def output_of(inputs, batch):
    return of_displacement(
        inputs['displacement'],
        batch['moving'],
        fixed_segmentation=jax.nn.softmax(inputs['fixed_logits']),
        moving_segmentation=jax.nn.softmax(inputs['moving_logits']),
    )


def loss_of(inputs, batch):
    return jpr_net_objective(output_of(inputs, batch), batch, WEIGHTS)


def contributions(inputs, batch):
    return {name: value for name, value in loss_of(inputs, batch)[1].items() if name.startswith('weighted/')}


@pytest.fixture(scope='module')
def loss():
    return quick_jit(loss_of)


@pytest.fixture(scope='module')
def jacobian():
    return quick_jit(jax.jacrev(contributions))


@pytest.mark.parametrize('kind', list(KINDS))
def test_terms_of_each_kind_of_pair(loss, kind):
    value, diagnostics = loss(INPUTS, batch_of(kind))
    assert active(diagnostics) == ALWAYS | TABLE[kind]
    np.testing.assert_allclose(value, sum(diagnostics[f'weighted/{name}'] for name in ALWAYS | TABLE[kind]), rtol=1e-5)


@pytest.mark.parametrize('kind', ['both', 'fixed', 'moving'])
def test_values_of_the_terms(loss, kind):
    batch = batch_of(kind)
    output, (_, diagnostics) = output_of(INPUTS, batch), loss(INPUTS, batch)
    u = output.displacement[0]
    labels = {role: one_hot(batch, role)[0] for role in ('fixed', 'moving')}
    predicted = {'fixed': output.fixed_segmentation[0], 'moving': output.moving_segmentation[0]}
    expected = {f'parcellation_{role}': cross_entropy(labels[role], predicted[role]) for role in labels}
    if kind == 'both':
        expected['map_similarity'] = dice_loss(labels['fixed'], warp_linear(labels['moving'], u))
    if kind == 'fixed':
        warped = warp_linear(predicted['moving'], u)
        expected['map_similarity'] = dice_loss(labels['fixed'], warped)
        expected['augmentation_moving'] = cross_entropy(labels['fixed'], warped)
    if kind == 'moving':
        warped = warp_linear(labels['moving'], u)
        expected['map_similarity'] = dice_loss(warped, predicted['fixed'])
        expected['augmentation_fixed'] = cross_entropy(warped, predicted['fixed'])
    expected['smoothness'] = gradient_penalty(u)
    for name in ALWAYS - {'negative_ncc'} | TABLE[kind]:
        np.testing.assert_allclose(diagnostics[f'term/{name}'], expected[name], rtol=1e-5)


def test_classes_are_counted_where_labels_are(loss):
    """A class that the only label map lacks counts neither in the one nor in the other role."""
    for kind in ('fixed', 'moving'):
        batch = batch_of(kind)
        batch[f'{kind}_labels'] = batch[f'{kind}_labels'] % 2
        output = output_of(INPUTS, batch)
        other = output.moving_segmentation if kind == 'fixed' else output.fixed_segmentation
        known = one_hot(batch, kind)
        target, prediction = (
            (known[0], warp_linear(other[0], output.displacement[0]))
            if kind == 'fixed'
            else (warp_linear(known[0], output.displacement[0]), other[0])
        )
        p, q = target[..., 1], prediction[..., 1]
        _, diagnostics = loss(INPUTS, batch)
        np.testing.assert_allclose(
            diagnostics['term/map_similarity'], -2 * (p * q).sum() / (p.sum() + q.sum()), rtol=1e-5
        )


@pytest.mark.parametrize('kind', ['fixed', 'moving', 'none'])
def test_missing_labels_have_no_effect(loss, jacobian, kind):
    clean, garbage = batch_of(kind), batch_of(kind, garbage_seed=5)
    for function in (loss, jacobian):
        jax.tree.map(np.testing.assert_array_equal, function(INPUTS, clean), function(INPUTS, garbage))


@pytest.mark.parametrize(
    ('kind', 'similarity'),
    [
        ('both', {'displacement'}),
        ('fixed', {'displacement', 'moving_logits'}),
        ('moving', {'displacement', 'fixed_logits'}),
        ('none', set()),
    ],
)
def test_what_each_term_trains(jacobian, kind, similarity):
    fixed, moving = KINDS[kind]
    assert trained(jacobian(INPUTS, batch_of(kind))) == {
        'negative_ncc': {'displacement'},
        'smoothness': {'displacement'},
        'parcellation_fixed': {'fixed_logits'} if fixed else set(),
        'parcellation_moving': {'moving_logits'} if moving else set(),
        'map_similarity': similarity,
        # The map is a constant in both.
        'augmentation_fixed': {'fixed_logits'} if moving and not fixed else set(),
        'augmentation_moving': {'moving_logits'} if fixed and not moving else set(),
    }


def test_unlabelled_pairs_are_compared_on_request():
    weights = dataclasses.replace(WEIGHTS, unlabelled_similarity=True)

    def similarity(inputs):
        batch = batch_of('none')
        return jpr_net_objective(output_of(inputs, batch), batch, weights)[1]['weighted/map_similarity']

    gradient = quick_jit(jax.grad(similarity))(INPUTS)
    assert all(np.any(np.asarray(one)) for one in gradient.values())
    output = output_of(INPUTS, batch_of('none'))
    warped = warp_linear(output.moving_segmentation[0], output.displacement[0])
    expected = dice_loss(warped, output.fixed_segmentation[0])
    np.testing.assert_allclose(similarity(INPUTS), expected, rtol=1e-5)


def test_weights_multiply_terms_and_zero_leaves_them_out():
    batch = batch_of('fixed')
    output = output_of(INPUTS, batch)
    values = {'smoothness': 2.0, 'parcellation': 3.0, 'map_similarity': 4.0, 'augmentation': 5.0}
    _, diagnostics = jpr_net_objective(output, batch, JPRNetWeights(**values))
    terms = ('smoothness', 'parcellation_fixed', 'map_similarity', 'augmentation_moving')
    for name, weight in zip(terms, values.values(), strict=True):
        np.testing.assert_allclose(diagnostics[f'weighted/{name}'], weight * diagnostics[f'term/{name}'], rtol=1e-5)
    _, few = jpr_net_objective(output, batch, JPRNetWeights(parcellation=0, map_similarity=0, augmentation=0))
    assert {name for name in few if name.startswith('term/')} == {f'term/{name}' for name in ALWAYS}


@pytest.mark.parametrize('options', [{'map_similarity': -1}, {'smoothness': float('nan')}, {'ncc_window': 4}])
def test_impossible_options(options):
    with pytest.raises(UserError, match=f'loss.{next(iter(options))}'):
        JPRNetWeights(**options)
