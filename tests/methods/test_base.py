"""The interface of methods: splitting parameters, and building a method by its name."""

import jax
import numpy as np
import pytest

from autofuse_jax.errors import UserError
from autofuse_jax.methods.base import Objective, Prediction, split_params
from autofuse_jax.methods.registry import METHODS, make_method

PARAMS = {'segmenter': {'kernel': np.ones(2)}, 'registrar': {'kernel': np.zeros(3), 'bias': np.zeros(1)}}


def test_no_keys_named_means_all():
    trained, frozen = split_params(PARAMS, None)
    assert trained is PARAMS and frozen == {}


@pytest.mark.parametrize('trains', [('segmenter',), ('registrar',), ('segmenter', 'registrar'), ()])
def test_the_two_parts_make_up_the_whole(trains):
    trained, frozen = split_params(PARAMS, trains)
    assert set(trained) == set(trains)
    assert set(trained) | set(frozen) == set(PARAMS) and not set(trained) & set(frozen)
    # Whole subtrees, not copies.
    assert all(({**frozen, **trained})[key] is PARAMS[key] for key in PARAMS)


def test_unknown_keys_are_named():
    with pytest.raises(ValueError, match=r"trains \['decoder'\].*\['registrar', 'segmenter'\]"):
        split_params(PARAMS, ('segmenter', 'decoder'))


def test_an_objective_trains_everything_by_default():
    assert Objective('registration', lambda params, batch, key: (0.0, {})).trains is None


def test_a_prediction_is_a_tree_of_its_arrays():
    prediction = Prediction(displacement=np.zeros((1, 2, 2, 2, 3)), gate_means={'gate_2': np.zeros(1)})
    assert len(jax.tree.leaves(prediction)) == 2
    # Each prediction has a dictionary of its own.
    assert Prediction(np.zeros(1)).gate_means == {} and Prediction(np.zeros(1)).gate_means is not prediction.gate_means


def test_methods_are_built_by_name():
    assert set(METHODS) >= {'autofuse'}
    method = make_method('autofuse', {'base_channels': 2, 'num_classes': 4}, {'kl': 0.5})
    assert method.name == 'autofuse' and method.uses_labels
    assert not make_method('autofuse', {'num_classes': 0}, {}).uses_labels


def test_unknown_methods_and_options_are_refused():
    with pytest.raises(UserError, match="unknown method 'demons'.*autofuse"):
        make_method('demons', {}, {})
    with pytest.raises(UserError, match='no option no_such_option'):
        make_method('autofuse', {'no_such_option': 1}, {})
