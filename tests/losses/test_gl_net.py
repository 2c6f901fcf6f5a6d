"""The objective of GL-Net: which terms a pair has, their values, and what each trains."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autofuse_jax.errors import UserError
from autofuse_jax.fields import warp_linear
from autofuse_jax.losses.gl_net import GLNetWeights, gl_net_objective
from autofuse_jax.losses.overlap import dice_loss, focal_dice_loss
from autofuse_jax.losses.region_similarity import region_ncc
from autofuse_jax.losses.regularity import gradient_penalty
from tests.losses.labelled_pairs import KINDS, active, batch_of, field, logits, one_hot, trained
from tests.quick import quick_jit

WEIGHTS = GLNetWeights(ncc_window=3)
INPUTS = {
    'of_images': field(0.5),
    'of_regions': field(0.3, seed=2),
    'fixed_logits': logits(3),
    'moving_logits': logits(4),
}
MAPS = {'of_images', 'of_regions'}
ALWAYS = {
    'negative_ncc': MAPS,
    'smoothness_global': {'of_images'},
    'smoothness_local': {'of_regions'},
    'negative_region_ncc': MAPS,
}
# Kind of pair: its terms with labels, and what each trains.
TABLE = {
    'both': {'dice': MAPS, 'segmentation_fixed': {'fixed_logits'}, 'segmentation_moving': {'moving_logits'}},
    'fixed': {'dice': MAPS | {'moving_logits'}, 'segmentation_fixed': {'fixed_logits'}},
    'moving': {'dice': MAPS | {'fixed_logits'}, 'segmentation_moving': {'moving_logits'}},
    'none': {},
}


def segmentations_of(inputs):
    return jax.nn.softmax(inputs['fixed_logits']), jax.nn.softmax(inputs['moving_logits'])


def regions_of(inputs, batch):
    # As the method cuts them out: without gradient.
    return tuple(
        jax.lax.stop_gradient(classes)[..., 1:] * batch[role]
        for role, classes in zip(('fixed', 'moving'), segmentations_of(inputs), strict=True)
    )


def loss_of(inputs, batch, weights=WEIGHTS):
    parts = inputs['of_images'], inputs['of_regions']
    return gl_net_objective(sum(parts), parts, regions_of(inputs, batch), segmentations_of(inputs), batch, weights)


def contributions(weights):
    def of(inputs, batch):
        values = loss_of(inputs, batch, weights)[1]
        return {name: value for name, value in values.items() if name.startswith('weighted/')}

    return of


@pytest.fixture(scope='module')
def loss():
    return quick_jit(loss_of)


@pytest.fixture(scope='module')
def jacobian():
    return quick_jit(jax.jacrev(contributions(WEIGHTS)))


@pytest.mark.parametrize('kind', list(KINDS))
def test_terms_of_each_kind_of_pair_and_what_they_train(loss, jacobian, kind):
    expected = ALWAYS | TABLE[kind]
    value, diagnostics = loss(INPUTS, batch_of(kind))
    assert active(diagnostics) == set(expected)
    np.testing.assert_allclose(value, sum(diagnostics[f'weighted/{name}'] for name in expected), rtol=1e-5)
    found = trained(jacobian(INPUTS, batch_of(kind)))
    assert found == {name: expected.get(name, set()) for name in found}


@pytest.mark.parametrize('kind', ['both', 'fixed', 'moving'])
def test_values_of_the_terms(loss, kind):
    batch, u = batch_of(kind), (INPUTS['of_images'] + INPUTS['of_regions'])[0]
    _, diagnostics = loss(INPUTS, batch)
    fixed_regions, moving_regions = regions_of(INPUTS, batch)
    of_each = region_ncc(fixed_regions[0], warp_linear(moving_regions[0], u), window=3)
    np.testing.assert_allclose(diagnostics['term/negative_region_ncc'], -of_each.mean(), rtol=1e-5)
    np.testing.assert_allclose(
        diagnostics['term/smoothness_local'], gradient_penalty(INPUTS['of_regions'][0]), rtol=1e-5
    )
    labels = [one_hot(batch, role)[0] for role in ('fixed', 'moving')]
    fixed, moving = (
        label if flag else classes[0]
        for label, flag, classes in zip(labels, KINDS[kind], segmentations_of(INPUTS), strict=True)
    )
    np.testing.assert_allclose(diagnostics['term/dice'], dice_loss(fixed, warp_linear(moving, u)), rtol=1e-5)
    for role, label, flag, classes in zip(
        ('fixed', 'moving'), labels, KINDS[kind], segmentations_of(INPUTS), strict=True
    ):
        expected = focal_dice_loss(label, classes[0]) if flag else 0
        np.testing.assert_allclose(diagnostics[f'term/segmentation_{role}'], expected, rtol=1e-5)


def test_a_class_that_the_only_label_map_lacks_does_not_count(loss):
    batch = batch_of('moving')
    batch['moving_labels'] = batch['moving_labels'] % 2
    u = (INPUTS['of_images'] + INPUTS['of_regions'])[0]
    p, q = warp_linear(one_hot(batch, 'moving')[0], u)[..., 1], segmentations_of(INPUTS)[0][0, ..., 1]
    np.testing.assert_allclose(loss(INPUTS, batch)[1]['term/dice'], -2 * (p * q).sum() / (p.sum() + q.sum()), rtol=1e-5)


@pytest.mark.parametrize('kind', ['fixed', 'moving', 'none'])
def test_missing_labels_have_no_effect(loss, jacobian, kind):
    clean, garbage = batch_of(kind), batch_of(kind, garbage_seed=5)
    for function in (loss, jacobian):
        jax.tree.map(np.testing.assert_array_equal, function(INPUTS, clean), function(INPUTS, garbage))


def test_the_overlap_can_be_kept_from_training_the_segmentations():
    weights = dataclasses.replace(WEIGHTS, loss_fusion_to_seg=False, unlabelled_overlap=True)
    jacobian = quick_jit(jax.jacrev(contributions(weights)))
    for kind in ('fixed', 'none'):
        assert trained(jacobian(INPUTS, batch_of(kind)))['dice'] == MAPS


def test_unlabelled_pairs_are_compared_on_request():
    weights = dataclasses.replace(WEIGHTS, unlabelled_overlap=True)
    _, diagnostics = loss_of(INPUTS, batch_of('none'), weights)
    fixed, moving = segmentations_of(INPUTS)
    warped = warp_linear(moving[0], (INPUTS['of_images'] + INPUTS['of_regions'])[0])
    np.testing.assert_allclose(diagnostics['term/dice'], dice_loss(warped, fixed[0]), rtol=1e-5)


def test_weights_multiply_terms_and_zero_leaves_them_out():
    batch = batch_of('both')
    values = {'smoothness': 2.0, 'regions': 3.0, 'dice': 4.0, 'segmentation': 5.0}
    _, diagnostics = loss_of(INPUTS, batch, GLNetWeights(**values))
    terms = ('smoothness_local', 'negative_region_ncc', 'dice', 'segmentation_moving')
    for name, weight in zip(terms, values.values(), strict=True):
        np.testing.assert_allclose(diagnostics[f'weighted/{name}'], weight * diagnostics[f'term/{name}'], rtol=1e-5)
    _, few = loss_of(INPUTS, batch, GLNetWeights(regions=0, dice=0, segmentation=0))
    kept = {'negative_ncc', 'smoothness_global', 'smoothness_local'}
    assert {name for name in few if name.startswith('term/')} == {f'term/{name}' for name in kept}


@pytest.mark.parametrize('options', [{'regions': -1}, {'smoothness': float('nan')}, {'ncc_window': 4}])
def test_impossible_options(options):
    with pytest.raises(UserError, match=f'loss.{next(iter(options))}'):
        GLNetWeights(**options)


def test_half_precision_segmentations_are_compared_in_float32():
    inputs = {name: value.astype(jnp.bfloat16) if 'logits' in name else value for name, value in INPUTS.items()}
    value, diagnostics = loss_of(inputs, batch_of('fixed'))
    assert value.dtype == jnp.float32 and np.isfinite(value)
    np.testing.assert_allclose(diagnostics['term/dice'], loss_of(INPUTS, batch_of('fixed'))[1]['term/dice'], atol=1e-2)
