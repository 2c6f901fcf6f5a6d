"""The objective of RSegNet: which terms a pair has, their values, and what each trains."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autofuse_jax.errors import UserError
from autofuse_jax.fields import warp_linear
from autofuse_jax.losses.overlap import dice_loss
from autofuse_jax.losses.rsegnet import PAPER_WEIGHTS, RSegNetWeights, rsegnet_objective
from autofuse_jax.models.class_probabilities import with_background
from autofuse_jax.models.field_outputs import of_velocity
from tests.losses.labelled_pairs import KINDS, SHAPE, active, batch_of, field, logits, one_hot, trained
from tests.quick import quick_jit

WEIGHTS = RSegNetWeights(ncc_window=3)
HALF = tuple(size // 2 for size in SHAPE)
INPUTS = {
    'velocity': field(0.5)[:, : HALF[0], : HALF[1], : HALF[2]],
    'log_variance': field(0.1, 2)[:, : HALF[0], : HALF[1], : HALF[2]] - 5.0,
    'fixed_logits': logits(3)[..., 1:],
    'moving_logits': logits(4)[..., 1:],
}
ALWAYS = {'negative_ncc', 'kl'}
LABEL_TERMS = {'segmentation_moving', 'segmentation_fixed', 'forward', 'inverse'}


def output_of(inputs, batch):
    return of_velocity(
        inputs['velocity'],
        batch['moving'],
        inputs['log_variance'],
        fixed_segmentation=with_background(jax.nn.sigmoid(inputs['fixed_logits'])),
        moving_segmentation=with_background(jax.nn.sigmoid(inputs['moving_logits'])),
    )


def loss_of(inputs, batch):
    return rsegnet_objective(output_of(inputs, batch), batch, WEIGHTS)


def contributions(inputs, batch):
    return {name: value for name, value in loss_of(inputs, batch)[1].items() if name.startswith('weighted/')}


@pytest.fixture(scope='module')
def loss():
    return quick_jit(loss_of)


@pytest.fixture(scope='module')
def jacobian():
    return quick_jit(jax.jacrev(contributions))


# Unlabelled fixed images have their segmentation warped back in their labels' place.
@pytest.mark.parametrize(
    ('kind', 'terms'),
    [
        ('both', LABEL_TERMS),
        ('fixed', {'segmentation_fixed', 'forward'}),
        ('moving', {'segmentation_moving', 'inverse'}),
        ('none', set()),
    ],
)
def test_terms_of_each_kind_of_pair(loss, kind, terms):
    value, diagnostics = loss(INPUTS, batch_of(kind))
    assert active(diagnostics) == ALWAYS | terms
    np.testing.assert_allclose(value, sum(diagnostics[f'weighted/{name}'] for name in ALWAYS | terms), rtol=1e-5)


@pytest.mark.parametrize('kind', ['both', 'moving'])
def test_values_of_the_label_terms(loss, kind):
    batch = batch_of(kind)
    output, (_, diagnostics) = output_of(INPUTS, batch), loss(INPUTS, batch)
    fixed, moving = (one_hot(batch, role)[0] for role in ('fixed', 'moving'))
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


@pytest.mark.parametrize('kind', ['fixed', 'moving', 'none'])
def test_missing_labels_have_no_effect(loss, jacobian, kind):
    clean, garbage = batch_of(kind), batch_of(kind, garbage_seed=5)
    for function in (loss, jacobian):
        jax.tree.map(np.testing.assert_array_equal, function(INPUTS, clean), function(INPUTS, garbage))


@pytest.mark.parametrize('kind', list(KINDS))
def test_what_each_term_trains(jacobian, kind):
    by_term = trained(jacobian(INPUTS, batch_of(kind)))
    fixed, moving = KINDS[kind]
    assert by_term == {
        'negative_ncc': {'velocity'},
        'kl': {'velocity', 'log_variance'},
        'segmentation_moving': {'moving_logits'} if moving else set(),
        'segmentation_fixed': {'fixed_logits'} if fixed else set(),
        'forward': {'velocity', 'moving_logits'} if fixed else set(),
        # Never the segmentation, not even where it stands in for the fixed labels.
        'inverse': {'velocity'} if moving else set(),
    }


def test_weights_multiply_terms_and_zero_leaves_them_out():
    batch = batch_of('both')
    output = output_of(INPUTS, batch)
    _, default = rsegnet_objective(output, batch, WEIGHTS)
    _, paper = rsegnet_objective(output, batch, RSegNetWeights(ncc_window=3, **PAPER_WEIGHTS))
    shares = {'segmentation_fixed': 0.05, 'segmentation_moving': 0.05, 'forward': 0.1, 'inverse': 0.2}
    for name, share in shares.items():
        # Without factor 2, a perfect match gives -1/2.
        np.testing.assert_allclose(paper[f'weighted/{name}'], share * default[f'term/{name}'] / 2, rtol=1e-5)
    np.testing.assert_allclose(default['weighted/kl'], 0.01 * default['term/kl'], rtol=1e-6)
    _, nothing = rsegnet_objective(output, batch, RSegNetWeights(alpha=0, beta_forward=0, beta_inverse=0))
    assert not LABEL_TERMS & {name.removeprefix('term/') for name in nothing}


def test_a_perfect_pair_has_perfect_overlap():
    batch = batch_of('both')
    batch['moving_labels'] = batch['fixed_labels']
    truth = jnp.where(one_hot(batch, 'fixed')[..., 1:] > 0, 50.0, -50.0)
    still = jnp.zeros_like(INPUTS['velocity'])
    inputs = INPUTS | {'velocity': still, 'fixed_logits': truth, 'moving_logits': truth}
    _, diagnostics = rsegnet_objective(output_of(inputs, batch), batch, WEIGHTS)
    for name in LABEL_TERMS:
        np.testing.assert_allclose(diagnostics[f'weighted/{name}'], -1, rtol=1e-5)


@pytest.mark.parametrize('options', [{'alpha': -1}, {'beta_inverse': float('inf')}, {'ncc_window': 4}])
def test_impossible_options(options):
    with pytest.raises(UserError, match=f'loss.{next(iter(options))}'):
        RSegNetWeights(**options)
