"""AutoFuse as a method: sampling in training, a deterministic prediction, and a loss that falls."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from autofuse_jax.errors import UserError
from autofuse_jax.losses.autofuse import autofuse_objective
from autofuse_jax.losses.autofuse_weights import ObjectiveWeights
from autofuse_jax.methods.autofuse import AutoFuseInference, autofuse_method
from autofuse_jax.methods.base import split_params
from autofuse_jax.models.autofuse import AutoFuse
from autofuse_jax.models.early_fuse import EarlyFuse
from autofuse_jax.porting.convert import parameter_structure
from autofuse_jax.training.state import TrainState, create_train_state
from autofuse_jax.training.step import make_train_step
from tests.fields.inverse_consistency import inverse_consistency_error
from tests.methods.small_pairs import CLASSES, batch_of, moved, params_of
from tests.quick import quick_jit, quick_key

SHAPE = (16, 16, 16)
MODEL = AutoFuse(base_channels=2, large_kernel=False)
WEIGHTS = ObjectiveWeights()
KEY = quick_key()
GATES = [f'gate_{number}' for number in range(2, 9)]


def blob(centre, radius):
    position = np.stack(np.indices(SHAPE), axis=-1) - np.array(centre)
    return np.exp(-np.square(np.linalg.norm(position, axis=-1) / radius))[None, ..., None].astype(np.float32)


@pytest.fixture(scope='module')
def batch():
    return {'fixed': blob((8, 8, 8), 4), 'moving': blob((9, 7, 8), 5)}


@pytest.fixture(scope='module')
def method():
    return autofuse_method('autofuse', MODEL, WEIGHTS, AutoFuseInference())


@pytest.fixture(scope='module')
def training(method, batch):
    """The states at the start and after some steps on one pair, and the loss of each step."""
    optimizer = optax.adam(3e-3)
    start = quick_jit(lambda: create_train_state(method, optimizer, ('phase_1',), SHAPE, jax.random.key(0)))()
    step = quick_jit(make_train_step(method.objectives('phase_1'), optimizer))
    state, losses = start, []
    for _ in range(40):
        state, metrics = step(state, batch)
        losses.append(float(metrics['loss']))
    return start, state, losses


@pytest.fixture(scope='module')
def predict(method):
    return quick_jit(method.predict)


def test_training_lowers_the_loss(training):
    _, _, losses = training
    assert np.mean(losses[-3:]) < losses[0] - 0.01


def test_every_parameter_is_trained(training):
    start, state, _ = training
    still = jax.tree.map(lambda a, b: bool(np.array_equal(a, b)), start.params, state.params)
    # At 16 voxels block 5 works on one voxel, which instance norm sets to zero; what only leads there learns nothing.
    stuck = {jax.tree_util.keystr(path) for path, same in jax.tree_util.tree_leaves_with_path(still) if same}
    assert all("['conv_5']" in path or "['gate_5']" in path for path in stuck), stuck


def test_one_objective_trains_everything_in_every_phase(method):
    (objective,) = method.objectives('phase_1')
    assert objective.name == 'registration' and objective.trains is None
    assert method.objectives('phase_2') == method.objectives('phase_1')


@pytest.mark.parametrize(('classes', 'uses_labels'), [(0, False), (4, True)])
def test_labels_are_used_with_classes_only(classes, uses_labels):
    assert (
        autofuse_method('autofuse', AutoFuse(num_classes=classes), WEIGHTS, AutoFuseInference()).uses_labels
        == uses_labels
    )


def test_prediction_is_deterministic(training, predict, batch):
    _, state, _ = training
    one, again = (predict(state.params, batch['fixed'], batch['moving'], quick_key(seed)) for seed in range(2))
    np.testing.assert_array_equal(one.displacement, again.displacement)
    assert one.displacement.shape == (1, *SHAPE, 3)
    assert np.abs(one.displacement).max() > 1e-3
    assert one.fixed_segmentation is None and one.moving_segmentation is None


def test_a_sampled_prediction_depends_on_the_key_alone(training, predict, batch):
    _, state, _ = training
    sampling = quick_jit(autofuse_method('autofuse', MODEL, WEIGHTS, AutoFuseInference(sample_velocity=True)).predict)
    pair = state.params, batch['fixed'], batch['moving']
    first, again, other = (sampling(*pair, quick_key(seed)).displacement for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    mean = predict(*pair, KEY).displacement
    # After a few steps of training the deviation is still a fraction of a voxel.
    assert 1e-3 < np.abs(first - other).max() < 0.5 and 1e-3 < np.abs(first - mean).max() < 0.5


def test_gate_means(training, predict, batch):
    start, state, _ = training
    for params in (start.params, state.params):
        means = predict(params, batch['fixed'], batch['moving'], KEY).gate_means
        assert sorted(means) == GATES
        assert all(mean.shape == (1,) and 0 <= float(mean[0]) <= 1 for mean in means.values())
        balanced = [float(mean[0]) == 0.5 for mean in means.values()]
        # Zero kernels and biases weigh both sides alike; training changes that.
        assert all(balanced) if params is start.params else not all(balanced)


def test_training_samples_the_velocity(method, batch, training):
    _, state, _ = training
    (objective,) = method.objectives('phase_1')
    rows = jax.tree.map(jnp.asarray, batch)

    def both(params, key):
        # The noise has the shape of the velocity.
        noise = jax.random.normal(key, (1, 8, 8, 8, 3))
        output = MODEL.apply({'params': params}, rows['fixed'], rows['moving'], noise)
        return objective.loss(params, rows, key)[0], autofuse_objective(output, rows, WEIGHTS)[0]

    loss = quick_jit(both)
    sampled, expected = loss(state.params, jax.random.key(3))
    np.testing.assert_allclose(sampled, expected, rtol=1e-5)
    assert loss(state.params, jax.random.key(3))[0] == sampled
    # exp(-10 / 2) voxels of noise hardly change the loss, but they do change it.
    assert loss(state.params, jax.random.key(4))[0] != sampled


def test_symmetric_prediction_is_exchanged_with_its_inverse(training, batch):
    _, state, _ = training
    predict = quick_jit(autofuse_method('autofuse', MODEL, WEIGHTS, AutoFuseInference(symmetric=True)).predict)
    one = predict(state.params, batch['fixed'], batch['moving'], KEY).displacement[0]
    other = predict(state.params, batch['moving'], batch['fixed'], KEY).displacement[0]
    assert np.abs(one).max() > 0.01
    # Away from the border, where the composition would read zeros outside the grid.
    error = np.asarray(inverse_consistency_error(one, other))[2:-2, 2:-2, 2:-2]
    assert error.mean() < 0.05 * np.abs(one).max()


@pytest.mark.parametrize('model', [MODEL, EarlyFuse(base_channels=2)], ids=['autofuse', 'early_fuse'])
def test_symmetric_velocity_is_the_mean_of_both_orders(model, batch):
    plain, symmetric = (
        autofuse_method('any', model, WEIGHTS, AutoFuseInference(symmetric=symmetric)) for symmetric in (False, True)
    )
    params = quick_jit(lambda: plain.init(jax.random.key(0), SHAPE))()
    fixed, moving = batch['fixed'], batch['moving']
    predict = quick_jit(plain.predict)
    forward, backward = (predict(params, *pair, KEY).velocity for pair in ((fixed, moving), (moving, fixed)))
    both = quick_jit(symmetric.predict)(params, fixed, moving, KEY).velocity
    largest = float(np.abs(both).max())
    assert largest > 0
    np.testing.assert_allclose(both, 0.5 * (forward - backward), atol=1e-3 * largest)


def test_symmetric_prediction_cannot_sample():
    with pytest.raises(UserError, match='symmetric and inference.sample_velocity are both on'):
        AutoFuseInference(symmetric=True, sample_velocity=True)
    with pytest.raises(UserError, match='inference.symmetric is 1. Expected: True or False'):
        AutoFuseInference(symmetric=1)


def test_symmetric_prediction_needs_a_velocity():
    with pytest.raises(UserError, match="inference.symmetric is on with model.output 'displacement'"):
        autofuse_method('autofuse', MODEL.clone(output='displacement'), WEIGHTS, AutoFuseInference(symmetric=True))


PHASES = {'segmentation_phases': ('one',), 'teacher_phases': ('two',), 'fusion_phases': ('three',)}


@pytest.fixture(scope='module')
def staged():
    model = AutoFuse(base_channels=2, num_classes=CLASSES, fusion_channels=2, large_kernel=False)
    return autofuse_method('autofuse', model, ObjectiveWeights(**PHASES), AutoFuseInference())


def test_phases_train_what_they_are_named_for(staged):
    kinds = {phase: staged.objectives(phase) for phase in ('one', 'two', 'three', 'four')}
    assert {phase: (o.name, o.trains) for phase, (o,) in kinds.items()} == {
        'one': ('segmentation', ('single_branch',)),
        'two': ('teacher', ('fusion_branch',)),
        'three': ('fusion', ('fusion_branch',)),
        'four': ('registration', None),
    }
    # The same objects every time, so that nothing is compiled twice.
    assert all(staged.objectives(phase) is objectives for phase, objectives in kinds.items())


@pytest.mark.parametrize(
    ('phase', 'changed'),
    [('one', {'single_branch'}), pytest.param('two', {'fusion_branch'}, marks=pytest.mark.slow)],
)
def test_a_step_changes_the_branch_of_its_phase_and_lowers_its_loss(staged, phase, changed):
    batch = batch_of()
    if phase == 'one':
        batch = {name: value for name, value in batch.items() if name.startswith('fixed')}
    else:
        batch |= {'teacher_velocity': jnp.full((1, 4, 4, 4, 3), 0.5)}
    optimizer = optax.adam(1e-2)
    params = params_of(staged, gentle=())
    states = {o.name: optimizer.init(split_params(params, o.trains)[0]) for o in staged.objectives(phase)}
    state = TrainState(jnp.zeros((), jnp.int32), params, states, jax.random.key_data(jax.random.key(0)))
    step, losses = quick_jit(make_train_step(staged.objectives(phase), optimizer)), []
    for _ in range(8):
        state, metrics = step(state, batch)
        losses.append(float(metrics['loss']))
    assert moved(params, state.params) == changed
    assert losses[-1] < losses[0]


def test_a_teacher_of_another_grid_is_resampled(staged):
    """A constant motion of half a coarse voxel is one of a whole voxel on the grid that is twice as fine."""
    (objective,) = staged.objectives('two')
    params = params_of(staged, gentle=())
    head = params['fusion_branch']['registration_head']
    head['mean'] = {'kernel': jnp.zeros_like(head['mean']['kernel']), 'bias': jnp.ones(3)}
    batch = batch_of() | {'teacher_velocity': jnp.full((1, 4, 4, 4, 3), 0.5)}
    loss, diagnostics = quick_jit(objective.loss)(params, batch, KEY)
    assert loss == diagnostics['term/teacher'] == 0


def test_phases_that_segment_need_a_segmentation():
    with pytest.raises(UserError, match='a network with a segmentation'):
        autofuse_method('autofuse', MODEL, ObjectiveWeights(segmentation_phases=('one',)), AutoFuseInference())


@pytest.mark.parametrize('options', [{'inverse': 1.0}, {'teacher': 1.0}, {'teacher_phases': ('one',)}])
def test_what_a_velocity_is_needed_for_is_refused_for_a_displacement(options):
    """A displacement has no inverse map, and compared with a velocity it would learn the wrong field."""
    model = AutoFuse(base_channels=2, output='displacement')
    with pytest.raises(UserError, match=f"loss.{next(iter(options))} .*model.output 'displacement'"):
        autofuse_method('autofuse', model, ObjectiveWeights(**options), AutoFuseInference())
    autofuse_method('autofuse', model, ObjectiveWeights(), AutoFuseInference())


@pytest.mark.parametrize('kind', ['fusion_phases', 'teacher_phases'])
def test_phases_that_train_the_fusion_branch_need_one(kind):
    with pytest.raises(UserError, match=r"loss.teacher_phases names \('one',\), and early_fuse has no fusion branch"):
        autofuse_method('early_fuse', EarlyFuse(base_channels=2), ObjectiveWeights(**{kind: ('one',)}))


@pytest.mark.parametrize(
    ('option', 'branch'), [('refining_channels', 'refining_branch'), ('descent_channels', 'descent_branch')]
)
def test_phases_of_the_fusion_branch_train_what_corrects_it(option, branch):
    """No other phase of a training of such phases would, and it would stay as it was drawn."""
    model = AutoFuse(base_channels=2, num_classes=CLASSES, **{option: 2})
    method = autofuse_method('autofuse', model, ObjectiveWeights(**PHASES))
    for phase in ('two', 'three'):
        (objective,) = method.objectives(phase)
        assert objective.trains == ('fusion_branch', branch)
        split_params(parameter_structure(method), objective.trains)
