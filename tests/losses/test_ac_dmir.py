"""The values of the terms of AC-DMiR; what it shares with other objectives is in test_label_objectives.py."""

import jax
import numpy as np
import pytest

from autofuse_jax.fields import warp_linear
from autofuse_jax.losses.overlap import dice_loss, focal_dice_loss
from autofuse_jax.losses.regularity import gradient_penalty
from autofuse_jax.losses.similarity import local_ncc
from tests.losses.label_objectives import AC_DMIR
from tests.losses.labelled_pairs import batch_of, one_hot


@pytest.mark.parametrize('kind', ['both', 'fixed', 'moving'])
def test_contributions_of_the_terms(kind):
    batch, inputs = batch_of(kind), AC_DMIR.inputs
    fixed, moving = one_hot(batch, 'fixed')[0], one_hot(batch, 'moving')[0]
    classes = {name: jax.nn.softmax(inputs[f'{name}_logits'])[0] for name in ('warped', 'fixed', 'moving')}
    maps = {stage: inputs[stage][0] for stage in ('initial', 'final')}
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
    assert set(expected) == set(AC_DMIR.expected(kind))
    _, diagnostics = AC_DMIR.loss(inputs, batch)
    for name, value in expected.items():
        np.testing.assert_allclose(diagnostics[f'weighted/{name}'], value, rtol=1e-5)
