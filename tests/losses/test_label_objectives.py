"""What holds of every objective with labels: which terms a pair has, what they train, missing labels, weights."""

import dataclasses

import jax
import numpy as np
import pytest

from tests.losses.label_objectives import OBJECTIVES
from tests.losses.labelled_pairs import KINDS, active, batch_of, trained


@pytest.fixture(params=OBJECTIVES)
def objective(request):
    return OBJECTIVES[request.param]


@pytest.mark.parametrize('kind', KINDS)
def test_terms_of_each_kind_of_pair_and_what_they_train(objective, kind):
    expected = objective.expected(kind)
    value, diagnostics = objective.loss(objective.inputs, batch_of(kind))
    assert active(diagnostics) == set(expected)
    np.testing.assert_allclose(value, sum(diagnostics[f'weighted/{name}'] for name in expected), rtol=1e-5)
    found = trained(objective.jacobian(objective.inputs, batch_of(kind)))
    assert found == {name: expected.get(name, set()) for name in found}
    assert set(found) == set(objective.always).union(*objective.with_labels.values())


@pytest.mark.parametrize('kind', ['fixed', 'moving', 'none'])
def test_missing_labels_have_no_effect(objective, kind):
    clean, garbage = batch_of(kind), batch_of(kind, garbage_seed=5)
    for function in (objective.loss, objective.jacobian):
        jax.tree.map(
            np.testing.assert_array_equal, function(objective.inputs, clean), function(objective.inputs, garbage)
        )


def test_weights_multiply_terms_and_zero_leaves_them_out(objective):
    batch = batch_of(objective.weighed_kind)
    weights = dict(zip(objective.weighs, (2.0, 3.0, 4.0, 5.0), strict=True))
    _, diagnostics = objective.terms(objective.inputs, batch, dataclasses.replace(objective.weights, **weights))
    for option, (name, share) in objective.weighs.items():
        expected = weights[option] * share * diagnostics[f'term/{name}']
        np.testing.assert_allclose(diagnostics[f'weighted/{name}'], expected, rtol=1e-5)
    without = dataclasses.replace(objective.weights, **dict.fromkeys(objective.optional, 0.0))
    _, few = objective.terms(objective.inputs, batch, without)
    assert {name.removeprefix('term/') for name in few if name.startswith('term/')} == objective.kept
