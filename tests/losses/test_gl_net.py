"""Values and options of GL-Net's objective; what it shares with other objectives is in test_label_objectives.py."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from autofuse_jax.fields import warp_linear
from autofuse_jax.losses.overlap import dice_loss, focal_dice_loss
from autofuse_jax.losses.region_similarity import region_ncc
from autofuse_jax.losses.regularity import gradient_penalty
from tests.losses.label_objectives import GL_NET, MAPS, regions_of, segmentations_of
from tests.losses.labelled_pairs import KINDS, batch_of, one_hot, trained

INPUTS = GL_NET.inputs


@pytest.mark.parametrize('kind', ['both', 'fixed', 'moving'])
def test_values_of_the_terms(kind):
    batch, u = batch_of(kind), (INPUTS['of_images'] + INPUTS['of_regions'])[0]
    _, diagnostics = GL_NET.loss(INPUTS, batch)
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


def test_a_class_that_the_only_label_map_lacks_does_not_count():
    batch = batch_of('moving')
    batch['moving_labels'] = batch['moving_labels'] % 2
    u = (INPUTS['of_images'] + INPUTS['of_regions'])[0]
    p, q = warp_linear(one_hot(batch, 'moving')[0], u)[..., 1], segmentations_of(INPUTS)[0][0, ..., 1]
    value = GL_NET.loss(INPUTS, batch)[1]['term/dice']
    np.testing.assert_allclose(value, -2 * (p * q).sum() / (p.sum() + q.sum()), rtol=1e-5)


def test_the_overlap_can_be_kept_from_training_the_segmentations():
    weights = dataclasses.replace(GL_NET.weights, loss_fusion_to_seg=False, unlabelled_overlap=True)
    jacobian = GL_NET.jacobian_with(weights)
    for kind in ('fixed', 'none'):
        assert trained(jacobian(INPUTS, batch_of(kind)))['dice'] == MAPS


def test_unlabelled_pairs_are_compared_on_request():
    weights = dataclasses.replace(GL_NET.weights, unlabelled_overlap=True)
    _, diagnostics = GL_NET.terms(INPUTS, batch_of('none'), weights)
    fixed, moving = segmentations_of(INPUTS)
    warped = warp_linear(moving[0], (INPUTS['of_images'] + INPUTS['of_regions'])[0])
    np.testing.assert_allclose(diagnostics['term/dice'], dice_loss(warped, fixed[0]), rtol=1e-5)


def test_half_precision_segmentations_are_compared_in_float32():
    inputs = {name: value.astype(jnp.bfloat16) if 'logits' in name else value for name, value in INPUTS.items()}
    value, diagnostics = GL_NET.terms(inputs, batch_of('fixed'), GL_NET.weights)
    assert value.dtype == jnp.float32 and np.isfinite(value)
    _, expected = GL_NET.loss(INPUTS, batch_of('fixed'))
    np.testing.assert_allclose(diagnostics['term/dice'], expected['term/dice'], atol=1e-2)
