"""Values and options of RSegNet's objective; what it shares with other objectives is in test_label_objectives.py."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from autofuse_jax.fields import warp_linear
from autofuse_jax.losses.overlap import dice_loss
from tests.losses.label_objectives import RSEGNET, rsegnet_output
from tests.losses.labelled_pairs import batch_of, one_hot

INPUTS = RSEGNET.inputs
LABEL_TERMS = set(RSEGNET.with_labels['both'])


@pytest.mark.parametrize('kind', ['both', 'moving'])
def test_values_of_the_label_terms(kind):
    batch = batch_of(kind)
    output, (_, diagnostics) = rsegnet_output(INPUTS, batch), RSEGNET.loss(INPUTS, batch)
    fixed, moving = (one_hot(batch, role)[0] for role in ('fixed', 'moving'))
    # An unlabelled fixed image has its segmentation warped back in its labels' place.
    back = fixed if kind == 'both' else output.fixed_segmentation[0]
    expected = {
        'segmentation_moving': dice_loss(moving, output.moving_segmentation[0]),
        'inverse': dice_loss(moving, warp_linear(back, output.inverse_displacement[0])),
    }
    if kind == 'both':
        warped = warp_linear(output.moving_segmentation[0], output.displacement[0])
        expected |= {
            'segmentation_fixed': dice_loss(fixed, output.fixed_segmentation[0]),
            'forward': dice_loss(fixed, warped),
        }
    for name, value in expected.items():
        assert -1 < value < -0.1
        np.testing.assert_allclose(diagnostics[f'term/{name}'], value, rtol=1e-5)


def test_dice_without_its_factor_counts_half():
    batch = batch_of('both')
    _, default = RSEGNET.loss(INPUTS, batch)
    _, half = RSEGNET.terms(INPUTS, batch, dataclasses.replace(RSEGNET.weights, dice_factor=1.0))
    for name in LABEL_TERMS:
        np.testing.assert_allclose(half[f'weighted/{name}'], default[f'weighted/{name}'] / 2, rtol=1e-5)


def test_a_perfect_pair_has_perfect_overlap():
    batch = batch_of('both')
    batch['moving_labels'] = batch['fixed_labels']
    truth = jnp.where(one_hot(batch, 'fixed')[..., 1:] > 0, 50.0, -50.0)
    still = jnp.zeros_like(INPUTS['velocity'])
    inputs = INPUTS | {'velocity': still, 'fixed_logits': truth, 'moving_logits': truth}
    _, diagnostics = RSEGNET.loss(inputs, batch)
    for name in LABEL_TERMS:
        np.testing.assert_allclose(diagnostics[f'weighted/{name}'], -1, rtol=1e-5)
