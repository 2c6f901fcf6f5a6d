"""RSegNet and JPR-Net as methods: stages and predictions."""

import jax
import numpy as np
import pytest

from autofuse_jax.errors import UserError
from autofuse_jax.methods.registry import make_method
from tests.methods.small_pairs import CLASSES, SHAPE, batch_of, params_of
from tests.quick import quick_jit, quick_key

KEY = quick_key()
OPTIONS = {'num_classes': CLASSES, 'base_channels': 2}


@pytest.fixture(scope='module')
def rsegnet():
    return make_method('rsegnet', OPTIONS, {})


def test_rsegnet_trains_everything_in_both_stages_with_one_state(rsegnet):
    (first,), (second,) = rsegnet.objectives('phase_1'), rsegnet.objectives('phase_2')
    assert first.name == second.name and first.trains is second.trains is None
    assert first.loss is not second.loss
    # Compiled steps are found again by their objectives.
    assert rsegnet.objectives('phase_1') == rsegnet.objectives('phase_1')
    assert rsegnet.uses_labels


def test_the_names_of_the_first_stage_are_an_option():
    method = make_method('rsegnet', OPTIONS, {'first_stage': ('alone_1', 'alone_2')})
    assert method.objectives('alone_1') == method.objectives('alone_2') != method.objectives('phase_1')


def test_the_subnets_are_independent_in_the_first_stage(rsegnet):
    (objective,) = rsegnet.objectives('phase_1')
    gradient_of = quick_jit(jax.grad(lambda params, batch: objective.loss(params, batch, KEY)[0]))
    params, others, batch = params_of(rsegnet, gentle=()), params_of(rsegnet, seed=1, gentle=()), batch_of()
    gradient = gradient_of(params, batch)
    for part, other in (('registration', 'segmentation'), ('segmentation', 'registration')):
        assert any(np.any(np.asarray(leaf)) for leaf in jax.tree.leaves(gradient[part]))
        exchanged = gradient_of({part: params[part], other: others[other]}, batch)
        jax.tree.map(np.testing.assert_array_equal, gradient[part], exchanged[part])


def test_the_terms_that_join_the_subnets_come_with_the_second_stage(rsegnet):
    params, batch = params_of(rsegnet, gentle=()), batch_of()
    names = {}
    for phase in ('phase_1', 'phase_2'):
        (objective,) = rsegnet.objectives(phase)
        _, diagnostics = jax.eval_shape(objective.loss, params, batch, KEY)
        names[phase] = {name for name in diagnostics if name.startswith('term/')}
    assert names['phase_2'] - names['phase_1'] == {'term/forward', 'term/inverse'}
    assert 'term/segmentation_fixed' in names['phase_1']


@pytest.mark.parametrize('name', ['rsegnet', 'jpr_net'])
def test_predictions(name):
    method = make_method(name, OPTIONS, {})
    params, batch = params_of(method, gentle=()), batch_of()
    predict = quick_jit(method.predict)
    one, again = (predict(params, batch['fixed'], batch['moving'], quick_key(seed)) for seed in range(2))
    jax.tree.map(np.testing.assert_array_equal, one, again)
    for segmentation in (one.fixed_segmentation, one.moving_segmentation):
        assert segmentation.shape == (1, *SHAPE, CLASSES) and np.all(np.asarray(segmentation) >= 0)
        np.testing.assert_allclose(segmentation.sum(axis=-1), 1, rtol=1e-5)
    assert one.displacement.shape == (1, *SHAPE, 3)
    assert (one.velocity is None) == (name == 'jpr_net')


@pytest.mark.parametrize('name', ['rsegnet', 'jpr_net'])
@pytest.mark.parametrize('classes', [0, 1])
def test_methods_with_labels_need_classes(name, classes):
    with pytest.raises(UserError, match='model.num_classes'):
        make_method(name, {'num_classes': classes}, {})
