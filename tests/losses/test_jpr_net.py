"""Values and options of JPR-Net's objective; what it shares with other objectives is in test_label_objectives.py."""

import dataclasses

import jax
import numpy as np
import pytest

from autofuse_jax.fields import warp_linear
from autofuse_jax.losses.cross_entropy import cross_entropy
from autofuse_jax.losses.overlap import dice_loss
from autofuse_jax.losses.regularity import gradient_penalty
from tests.losses.label_objectives import JPR_NET, jpr_net_output
from tests.losses.labelled_pairs import batch_of, one_hot
from tests.quick import quick_jit

INPUTS = JPR_NET.inputs


@pytest.mark.parametrize('kind', ['both', 'fixed', 'moving'])
def test_values_of_the_terms(kind):
    batch = batch_of(kind)
    output, (_, diagnostics) = jpr_net_output(INPUTS, batch), JPR_NET.loss(INPUTS, batch)
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
    for name in set(JPR_NET.expected(kind)) - {'negative_ncc'}:
        np.testing.assert_allclose(diagnostics[f'term/{name}'], expected[name], rtol=1e-5)


@pytest.mark.parametrize('kind', ['fixed', 'moving'])
def test_classes_are_counted_where_labels_are(kind):
    """A class that the only label map lacks counts neither in the one nor in the other role."""
    batch = batch_of(kind)
    batch[f'{kind}_labels'] = batch[f'{kind}_labels'] % 2
    output, known = jpr_net_output(INPUTS, batch), one_hot(batch, kind)[0]
    if kind == 'fixed':
        target, prediction = known, warp_linear(output.moving_segmentation[0], output.displacement[0])
    else:
        target, prediction = warp_linear(known, output.displacement[0]), output.fixed_segmentation[0]
    p, q = target[..., 1], prediction[..., 1]
    value = JPR_NET.loss(INPUTS, batch)[1]['term/map_similarity']
    np.testing.assert_allclose(value, -2 * (p * q).sum() / (p.sum() + q.sum()), rtol=1e-5)


def test_unlabelled_pairs_are_compared_on_request():
    weights = dataclasses.replace(JPR_NET.weights, unlabelled_similarity=True)
    batch = batch_of('none')

    def similarity(inputs):
        return JPR_NET.terms(inputs, batch, weights)[1]['weighted/map_similarity']

    gradient = quick_jit(jax.grad(similarity))(INPUTS)
    assert all(np.any(np.asarray(one)) for one in gradient.values())
    output = jpr_net_output(INPUTS, batch)
    warped = warp_linear(output.moving_segmentation[0], output.displacement[0])
    expected = dice_loss(warped, output.fixed_segmentation[0])
    np.testing.assert_allclose(similarity(INPUTS), expected, rtol=1e-5)
