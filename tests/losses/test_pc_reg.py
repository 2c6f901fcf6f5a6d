"""The objectives of PC-Reg: which terms a pair has in each stage, their values, and what each trains."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autofuse_jax.fields import warp_linear
from autofuse_jax.losses.cross_entropy import cross_entropy
from autofuse_jax.losses.pc_reg import (
    PCRegWeights,
    correspondence_objective,
    perception_objective,
    teaching_objective,
)
from autofuse_jax.losses.region_similarity import region_ncc
from autofuse_jax.losses.regularity import gradient_penalty
from autofuse_jax.losses.similarity import local_ncc
from tests.losses.labelled_pairs import KINDS, SHAPE, active, batch_of, field, logits, one_hot, trained
from tests.quick import quick_jit

WEIGHTS = PCRegWeights(ncc_window=3)
# The other segmentation is the moving image's in the first stage, the warped image's in the second.
INPUTS = {'displacement': field(0.5), 'fixed_logits': logits(3), 'other_logits': logits(4)}
# Stage, kind of pair: its terms, and the segmentation that each trains.
FIXED, OTHER = {'fixed_logits'}, {'other_logits'}
TABLE = {
    ('first', 'both'): {'segmentation_fixed': FIXED, 'segmentation_moving': OTHER},
    ('first', 'fixed'): {'segmentation_fixed': FIXED},
    ('first', 'moving'): {'segmentation_moving': OTHER},
    ('first', 'none'): {},
    ('second', 'both'): {'segmentation_fixed': FIXED, 'segmentation_warped': OTHER, 'teaching_warped': OTHER},
    ('second', 'fixed'): {'segmentation_fixed': FIXED, 'teaching_warped': OTHER},
    ('second', 'moving'): {'segmentation_warped': OTHER, 'teaching_fixed': FIXED},
    ('second', 'none'): {},
}


def stage_loss(stage, inputs, batch, weights=WEIGHTS):
    fixed, other = jax.nn.softmax(inputs['fixed_logits']), jax.nn.softmax(inputs['other_logits'])
    if stage == 'first':
        return perception_objective((fixed, other), batch, weights)
    return teaching_objective(inputs['displacement'], fixed, other, batch, weights)


def contributions(stage):
    def of(inputs, batch):
        values = stage_loss(stage, inputs, batch)[1]
        return {name: value for name, value in values.items() if name.startswith('weighted/')}

    return of


@pytest.fixture(scope='module')
def loss():
    return {stage: quick_jit(lambda *args, stage=stage: stage_loss(stage, *args)) for stage in ('first', 'second')}


@pytest.fixture(scope='module')
def jacobian():
    return {stage: quick_jit(jax.jacrev(contributions(stage))) for stage in ('first', 'second')}


@pytest.mark.parametrize(('stage', 'kind'), TABLE)
def test_terms_of_each_kind_of_pair_and_what_they_train(loss, jacobian, stage, kind):
    expected = TABLE[stage, kind]
    value, diagnostics = loss[stage](INPUTS, batch_of(kind))
    assert active(diagnostics) == set(expected)
    np.testing.assert_allclose(value, sum(diagnostics[f'weighted/{name}'] for name in expected), rtol=1e-5)
    # The displacement is never among what is trained.
    found = trained(jacobian[stage](INPUTS, batch_of(kind)))
    assert found == {name: expected.get(name, set()) for name in found}


def test_values_of_the_second_stage(loss):
    fixed, other = (jax.nn.softmax(INPUTS[name][0]) for name in ('fixed_logits', 'other_logits'))
    batch = batch_of('both')
    target, carried = one_hot(batch, 'fixed')[0], warp_linear(one_hot(batch, 'moving')[0], INPUTS['displacement'][0])
    own_fixed, own_warped = cross_entropy(target, fixed), cross_entropy(carried, other)
    to_warped, to_fixed = cross_entropy(target, other), cross_entropy(carried, fixed)
    expected = {
        'both': own_warped + own_fixed + 0.5 * to_warped,
        'fixed': own_fixed + 0.5 * to_warped,
        'moving': own_warped + 0.5 * to_fixed,
        'none': 0.0,
    }
    for kind, value in expected.items():
        np.testing.assert_allclose(loss['second'](INPUTS, batch_of(kind))[0], value, rtol=1e-5)


@pytest.mark.parametrize('stage', ['first', 'second'])
@pytest.mark.parametrize('kind', ['fixed', 'moving', 'none'])
def test_missing_labels_have_no_effect(loss, jacobian, stage, kind):
    clean, garbage = batch_of(kind), batch_of(kind, garbage_seed=5)
    for function in (loss[stage], jacobian[stage]):
        jax.tree.map(np.testing.assert_array_equal, function(INPUTS, clean), function(INPUTS, garbage))


def test_labelled_pairs_are_left_out_of_teaching_as_in_the_official_code():
    weights = dataclasses.replace(WEIGHTS, teach_labelled_pairs=False)
    for kind in KINDS:
        names = active(stage_loss('second', INPUTS, batch_of(kind), weights)[1])
        assert names == (set() if kind == 'both' else set(TABLE['second', kind]))


def test_teaching_is_weighted_relative_to_the_cross_entropy():
    weights = dataclasses.replace(WEIGHTS, cross_entropy=10.0, teaching=0.25)
    _, diagnostics = stage_loss('second', INPUTS, batch_of('fixed'), weights)
    for name, weight in (('segmentation_fixed', 10.0), ('teaching_warped', 2.5)):
        np.testing.assert_allclose(diagnostics[f'weighted/{name}'], weight * diagnostics[f'term/{name}'], rtol=1e-5)


def regions(seed):
    """Two regions that do not overlap."""
    rng = np.random.default_rng(seed)
    inside = np.indices(SHAPE)[0] < 4
    image = rng.random(SHAPE)
    return jnp.asarray(np.stack([inside * image, ~inside * image], axis=-1), jnp.float32)


def test_regions_are_compared_one_by_one():
    fixed, moving = regions(1), regions(2)
    expected = [local_ncc(fixed[..., k, None], moving[..., k, None], window=3) for k in range(2)]
    np.testing.assert_allclose(region_ncc(fixed, moving, window=3), expected, rtol=1e-5)
    np.testing.assert_array_equal(region_ncc(fixed, jnp.zeros_like(moving), window=3), 0)


def test_correspondence_sums_over_regions():
    fixed, moving, u = regions(1), regions(2), field(0.5)
    weights = dataclasses.replace(WEIGHTS, smoothness=2.0)
    value, diagnostics = correspondence_objective(u, fixed[None], moving[None], weights)
    dissimilarity = jnp.sum(1 - region_ncc(fixed, warp_linear(moving, u[0]), window=3))
    np.testing.assert_allclose(diagnostics['weighted/region_dissimilarity'], dissimilarity, rtol=1e-5)
    np.testing.assert_allclose(value, dissimilarity + 2 * gradient_penalty(u[0]), rtol=1e-5)
