"""AC-DMiR as a method: what its terms reach through both passes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autofuse_jax.methods.registry import METHODS, make_method
from tests.methods.small_pairs import CLASSES, SHAPE, batch_of, params_of, reached
from tests.quick import quick_jit, quick_key

KEY = quick_key()
OPTIONS = {'num_classes': CLASSES, 'base_channels': 2}
GENTLE = ('registration/decoder/output', 'final_decoder/output')
ALL = {'registration', 'segmentation', 'cross_task_attention', 'final_decoder'}
# Terms whose gradients are taken one by one, and what they reach with both label maps.
TERMS = {
    'negative_ncc_initial': {'registration'},
    'negative_ncc_final': ALL,
    'dice_final': ALL,
    'constraint': {'registration', 'segmentation'},
    'segmentation_moving': {'segmentation'},
}


@pytest.fixture(scope='module')
def method():
    return make_method('ac_dmir', OPTIONS, {})


@pytest.fixture(scope='module')
def params(method):
    return params_of(method, gentle=GENTLE)


@pytest.fixture(scope='module')
def gradients(method):
    """Compile (params, batch) -> gradient of each term for all parameters."""
    (objective,) = method.objectives('phase_1')

    def terms(params, batch):
        _, diagnostics = objective.loss(params, batch, KEY)
        return {name: diagnostics[f'weighted/{name}'] for name in (*TERMS, 'dice_predicted')}

    return quick_jit(jax.jacrev(terms))


def test_one_objective_trains_everything_in_every_phase(method):
    assert method.objectives('phase_1') == method.objectives('phase_2')
    assert method.objectives('phase_1')[0].trains is None and method.uses_labels


@pytest.mark.slow
def test_which_parts_each_term_trains(params, gradients):
    found = {name: reached(gradient) for name, gradient in gradients(params, batch_of()).items()}
    # The constraint reaches the registration network through the warped image.
    assert found == TERMS | {'dice_predicted': set()}


@pytest.mark.slow
@pytest.mark.parametrize(
    ('fixed', 'moving', 'changed'),
    [
        (1, 0, {'dice_final': set(), 'segmentation_moving': set(), 'dice_predicted': ALL}),
        (0, 1, {'dice_final': set()}),
        (0, 0, {'dice_final': set(), 'segmentation_moving': set(), 'constraint': set()}),
    ],
)
def test_terms_with_labels_missing(params, gradients, fixed, moving, changed):
    clean, garbage = (batch_of(fixed, moving, labels_seed=seed) for seed in (0, 1))
    for role, flag in (('fixed', fixed), ('moving', moving)):
        if flag:
            garbage[f'{role}_labels'] = clean[f'{role}_labels']
    one, other = gradients(params, clean), gradients(params, garbage)
    assert {name: reached(gradient) for name, gradient in one.items()} == TERMS | {'dice_predicted': set()} | changed
    jax.tree.map(np.testing.assert_array_equal, one, other)


def test_prediction_is_the_second_map(method, params):
    batch = batch_of()
    predict = quick_jit(method.predict)
    one, again = (predict(params, batch['fixed'], batch['moving'], quick_key(seed)) for seed in (0, 1))
    jax.tree.map(np.testing.assert_array_equal, one, again)
    assert one.displacement.shape == (1, *SHAPE, 3) and one.velocity is None
    assert one.fixed_segmentation.shape == (1, *SHAPE, CLASSES)
    zeroed = params | {'final_decoder': jax.tree.map(jnp.zeros_like, params['final_decoder'])}
    np.testing.assert_array_equal(predict(zeroed, batch['fixed'], batch['moving'], KEY).displacement, 0)
    network = METHODS['ac_dmir'].network(**OPTIONS)
    passes = quick_jit(lambda: network.apply({'params': params}, batch['fixed'], batch['moving'], method='register'))()
    np.testing.assert_allclose(one.displacement, passes.displacement, atol=1e-4)
    assert np.abs(passes.initial_displacement - passes.displacement).max() > 1e-3
