"""PC-Reg as a method: two stages, two optimisers, and what each step leaves as it is."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from autofuse_jax.methods.registry import make_method
from autofuse_jax.training.state import TrainState
from autofuse_jax.training.step import make_train_step
from tests.methods.small_pairs import CLASSES, SHAPE, batch_of, moved, params_of, reached
from tests.quick import quick_jit, quick_key

KEY = quick_key()
OPTIONS = {'num_classes': CLASSES, 'base_channels': 4}
ADAM = optax.adam(1e-2)


@pytest.fixture(scope='module')
def method():
    return make_method('pc_reg', OPTIONS, {})


@pytest.fixture(scope='module')
def state(method):
    params = params_of(method)
    optimizer = {name: ADAM.init({name: params[name]}) for name in params}
    return TrainState(jnp.zeros((), jnp.int32), params, optimizer, jax.random.key_data(jax.random.key(0)))


@pytest.fixture(scope='module')
def gradients(method):
    """Compile (params, batch) -> gradient of each objective for all parameters."""
    losses = {'correspondence': method.objectives('phase_1')[0].loss}
    losses |= {phase: method.objectives(phase)[1].loss for phase in ('phase_1', 'phase_2')}

    def all_of_them(params, batch):
        return {name: jax.grad(lambda p, loss=loss: loss(p, batch, KEY)[0])(params) for name, loss in losses.items()}

    return quick_jit(all_of_them)


@pytest.fixture(scope='module')
def correspondence_step(method):
    return quick_jit(make_train_step(method.objectives('phase_1')[:1], ADAM))


@pytest.fixture(scope='module')
def perception_step(method):
    return quick_jit(make_train_step(method.objectives('phase_1')[1:], ADAM))


@pytest.fixture(scope='module')
def second_step(method):
    return quick_jit(make_train_step(method.objectives('phase_2'), ADAM))


def test_two_objectives_in_two_stages(method):
    first, second = method.objectives('phase_1'), method.objectives('phase_2')
    assert [objective.name for objective in first] == [objective.name for objective in second]
    # Correspondence comes first: it sees the masks of the perception network before its step.
    assert [objective.trains for objective in first] == [('correspondence',), ('perception',)]
    assert first[0] is second[0] and first[1].loss is not second[1].loss
    assert second == method.objectives('phase_3') and method.uses_labels


def test_the_names_of_the_first_stage_are_an_option():
    method = make_method('pc_reg', OPTIONS, {'first_stage': ('alone_1', 'alone_2')})
    assert method.objectives('alone_1') == method.objectives('alone_2') != method.objectives('phase_1')


@pytest.mark.slow
def test_each_objective_reaches_its_network_alone(state, gradients):
    """Even where the other network's parameters are not held back: masks and maps are constants."""
    found = {name: reached(gradient) for name, gradient in gradients(state.params, batch_of()).items()}
    assert found == {'correspondence': {'correspondence'}, 'phase_1': {'perception'}, 'phase_2': {'perception'}}


@pytest.mark.slow
@pytest.mark.parametrize(('fixed', 'moving'), [(1, 0), (0, 1), (0, 0)])
def test_gradients_without_labels(state, gradients, fixed, moving):
    clean, garbage = (batch_of(fixed, moving, labels_seed=seed) for seed in (0, 1))
    for role, flag in (('fixed', fixed), ('moving', moving)):
        if flag:
            garbage[f'{role}_labels'] = clean[f'{role}_labels']
    one, other = gradients(state.params, clean), gradients(state.params, garbage)
    jax.tree.map(np.testing.assert_array_equal, one, other)
    trained = {'perception'} if fixed or moving else set()
    assert reached(one['correspondence']) == {'correspondence'}
    assert reached(one['phase_1']) == reached(one['phase_2']) == trained


@pytest.mark.slow
def test_a_correspondence_step_leaves_perception_as_it_is(state, correspondence_step):
    after, _ = correspondence_step(state, batch_of())
    assert moved(state.params, after.params) == {'correspondence'}
    jax.tree.map(np.testing.assert_array_equal, state.optimizer['perception'], after.optimizer['perception'])


@pytest.mark.slow
def test_a_perception_step_leaves_correspondence_as_it_is(state, perception_step):
    after, _ = perception_step(state, batch_of())
    assert moved(state.params, after.params) == {'perception'}
    jax.tree.map(np.testing.assert_array_equal, state.optimizer['correspondence'], after.optimizer['correspondence'])


@pytest.mark.slow
def test_the_second_stage_trains_both_and_unlabelled_pairs_one(state, second_step):
    assert moved(state.params, second_step(state, batch_of())[0].params) == {'perception', 'correspondence'}
    unlabelled, metrics = second_step(state, batch_of(0, 0))
    assert moved(state.params, unlabelled.params) == {'correspondence'}
    assert metrics['perception/grad_norm'] == metrics['perception/loss'] == 0


@pytest.mark.slow
def test_a_pair_without_labels_leaves_perception_alone_even_when_its_optimiser_has_momentum(state, second_step):
    labelled, _ = second_step(state, batch_of())
    unlabelled, metrics = second_step(labelled, batch_of(0, 0))
    assert moved(labelled.params, unlabelled.params) == {'correspondence'}
    jax.tree.map(np.testing.assert_array_equal, labelled.optimizer['perception'], unlabelled.optimizer['perception'])
    assert metrics['perception/update_norm'] == 0


@pytest.mark.slow
def test_the_correspondence_network_is_trained_on_masks_before_the_perception_step(
    state, second_step, correspondence_step
):
    both, alone = second_step(state, batch_of())[0].params, correspondence_step(state, batch_of())[0].params
    for one, other in zip(*(jax.tree.leaves(p['correspondence']) for p in (both, alone)), strict=True):
        # Adam's first step is the sign of the gradient, which rounding changes where the gradient is about zero.
        assert np.mean(np.abs(one - other) > 1e-4) < 0.02


def test_prediction_is_deterministic(method, state):
    batch = batch_of()
    predict = quick_jit(method.predict)
    one, again = (predict(state.params, batch['fixed'], batch['moving'], quick_key(seed)) for seed in (0, 1))
    jax.tree.map(np.testing.assert_array_equal, one, again)
    assert one.displacement.shape == (1, *SHAPE, 3) and one.velocity is None
    assert one.fixed_segmentation.shape == one.moving_segmentation.shape == (1, *SHAPE, CLASSES)
