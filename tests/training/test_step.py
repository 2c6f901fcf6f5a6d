"""The training step: two networks trained in turn by hand, and the same numbers on one device as on four."""

import collections
import types

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from autofuse_jax.losses.autofuse_weights import ObjectiveWeights
from autofuse_jax.methods.autofuse import AutoFuseInference, autofuse_method
from autofuse_jax.methods.base import Method, Objective, Prediction
from autofuse_jax.methods.registry import make_method
from autofuse_jax.models.autofuse import AutoFuse
from autofuse_jax.sharding import make_mesh, put_batch, replicated
from autofuse_jax.training.optimizers import make_optimizer
from autofuse_jax.training.state import TrainState, create_train_state
from autofuse_jax.training.step import compile_train_step, make_train_step, options_for
from tests.quick import HASTE, quick_jit

SHAPE = (16, 16, 16)
BATCH = {'fixed': np.full((4, *SHAPE, 1), 3.0, np.float32)}


class Toy:
    """A method with two networks of one number each, a third that nobody trains, and two objectives.

    The losses read both networks, so that only `trains` keeps an objective from changing the other's.
    """

    def __init__(self):
        self.traces = collections.Counter()
        self.segmentation = Objective('segmentation', self._segmentation_loss, trains=('segmenter',))
        self.registration = Objective('registration', self._registration_loss, trains=('registrar',))
        self.method = Method('toy', self._init, self._objectives, self._predict, uses_labels=False)

    def _init(self, key, shape):
        return {
            'segmenter': {'s': jnp.ones(1)},
            'registrar': {'r': 2.0 * jnp.ones(1)},
            'idle': jax.random.normal(key, (2,)),
        }

    def _objectives(self, phase):
        return {'joint': (self.segmentation, self.registration), 'warm_up': (self.segmentation,)}[phase]

    def _segmentation_loss(self, params, batch, key):
        self.traces['segmentation'] += 1
        s, r = params['segmenter']['s'][0], params['registrar']['r'][0]
        return s * r * jnp.mean(batch['fixed']), {'draw': jax.random.normal(key)}

    def _registration_loss(self, params, batch, key):
        self.traces['registration'] += 1
        s, r = params['segmenter']['s'][0], params['registrar']['r'][0]
        return s**2 * r, {'draw': jax.random.normal(key)}

    def _predict(self, params, fixed, moving, key):
        return Prediction(displacement=jnp.zeros((*fixed.shape[:-1], 3)))

    def state(self, optimizer, phases=('warm_up', 'joint'), seed=0) -> TrainState:
        return create_train_state(self.method, optimizer, phases, SHAPE, jax.random.key(seed))


def leaves_equal(one, other):
    return all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True))


def test_state_at_the_start():
    toy = Toy()
    state = toy.state(optax.adam(0.1))
    assert state.step.dtype == jnp.int32 and int(state.step) == 0
    # One optimiser state for each objective of any phase, over the keys that it trains only.
    assert set(state.optimizer) == {'segmentation', 'registration'}
    assert set(state.optimizer['segmentation'][0].mu) == {'segmenter'}
    assert set(state.optimizer['registration'][0].mu) == {'registrar'}
    assert set(toy.state(optax.adam(0.1), phases=('warm_up',)).optimizer) == {'segmentation'}


def test_the_rate_is_that_of_the_step_of_training_in_later_phases_too():
    toy = Toy()
    # Adam's update is the rate itself where the gradient stays the same.
    optimizer = make_optimizer(lambda count: 0.1 - 0.01 * count)
    state = toy.state(optimizer)
    for objective, network, rates in (
        (toy.segmentation, 'segmenter', (0.1, 0.09)),
        (toy.registration, 'registrar', (0.08, 0.07)),
        (toy.segmentation, 'segmenter', (0.06,)),
    ):
        step = jax.jit(make_train_step((objective,), optimizer))
        for rate in rates:
            before = state.params[network]
            state, _ = step(state, BATCH)
            moved = jax.tree.map(jnp.subtract, before, state.params[network])
            np.testing.assert_allclose(jax.tree.leaves(moved)[0], rate, rtol=0.02)


def test_the_seed_decides():
    toy = Toy()
    one, again, other = (toy.state(optax.sgd(0.1), seed=seed) for seed in (0, 0, 1))
    assert leaves_equal(one, again)
    assert not np.array_equal(one.params['idle'], other.params['idle'])
    assert not np.array_equal(one.key, other.key)


def test_two_objectives_by_hand():
    toy = Toy()
    optimizer = optax.sgd(0.1)
    state = toy.state(optimizer)
    after, metrics = make_train_step(toy.method.objectives('joint'), optimizer)(state, BATCH)
    # First: loss s r x = 1 * 2 * 3 = 6, gradient in s is r x = 6, so s = 1 - 0.1 * 6 = 0.4.
    # Second, with the new s: loss s^2 r = 0.16 * 2 = 0.32, gradient in r is 0.16, so r = 2 - 0.016 = 1.984.
    np.testing.assert_allclose(after.params['segmenter']['s'], [0.4], rtol=1e-6)
    np.testing.assert_allclose(after.params['registrar']['r'], [1.984], rtol=1e-6)
    np.testing.assert_array_equal(after.params['idle'], state.params['idle'])
    expected = {
        'segmentation/loss': 6,
        'segmentation/grad_norm': 6,
        'segmentation/update_norm': 0.6,
        'registration/loss': 0.32,
        'registration/grad_norm': 0.16,
        'registration/update_norm': 0.016,
    }
    assert set(metrics) == set(expected) | {'segmentation/draw', 'registration/draw'}
    for name, value in expected.items():
        np.testing.assert_allclose(metrics[name], value, rtol=1e-5, err_msg=name)
    assert int(after.step) == 1
    np.testing.assert_array_equal(after.key, state.key)


def test_an_objective_leaves_what_it_does_not_train_bit_identical():
    toy = Toy()
    optimizer = optax.adam(0.1)
    state = toy.state(optimizer)
    for trains, name in (('segmenter', 'segmentation'), ('registrar', 'registration')):
        after, _ = make_train_step((getattr(toy, name),), optimizer)(state, BATCH)
        for key in state.params:
            assert leaves_equal(after.params[key], state.params[key]) == (key != trains), (name, key)
        for key in state.optimizer:
            assert leaves_equal(after.optimizer[key], state.optimizer[key]) == (key != name), (name, key)


def test_a_single_objective_reports_without_prefix():
    toy = Toy()
    optimizer = optax.sgd(0.1)
    _, metrics = make_train_step(toy.method.objectives('warm_up'), optimizer)(toy.state(optimizer), BATCH)
    assert set(metrics) == {'loss', 'draw', 'grad_norm', 'update_norm'}


def test_draws_differ_between_steps_and_objectives_and_repeat_from_the_same_state():
    toy = Toy()
    optimizer = optax.sgd(0.1)
    step = make_train_step(toy.method.objectives('joint'), optimizer)
    first = toy.state(optimizer)
    second, metrics = step(first, BATCH)
    later = step(second, BATCH)[1]
    draws = [float(m[f'{name}/draw']) for m in (metrics, later) for name in ('segmentation', 'registration')]
    assert len(set(draws)) == 4
    assert leaves_equal(step(first, BATCH)[1], metrics)


def test_the_compiled_step_is_traced_once_and_takes_its_state():
    toy = Toy()
    optimizer = optax.adam(0.1)
    mesh = make_mesh(2)
    state = jax.device_put(toy.state(optimizer), replicated(mesh))
    step = compile_train_step(toy.method.objectives('joint'), optimizer, mesh)
    before = state
    for number in range(4):
        batch = put_batch({'fixed': BATCH['fixed'] + number}, mesh)
        state, metrics = step(state, batch)
        # s r x with s and r of this step: both networks arrived.
        assert np.isfinite(metrics['segmentation/loss'])
    assert toy.traces == {'segmentation': 1, 'registration': 1}
    assert step._cache_size() == 1
    assert int(state.step) == 4
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(before))
    assert not batch['fixed'].is_deleted()
    assert all(leaf.sharding.is_fully_replicated for leaf in jax.tree.leaves((state, metrics)))


def autofuse():
    """AutoFuse with segmentation."""
    model = AutoFuse(base_channels=2, num_classes=3, large_kernel=False)
    return autofuse_method('autofuse', model, ObjectiveWeights(inverse=1.0), AutoFuseInference())


def voxelmorph():
    """A network that samples its velocity and looks at labels, too, and compiles in a sixth of the time."""
    return make_method('voxelmorph_diff', {'base_channels': 4}, {'num_classes': 3, 'dice': 1.0})


@pytest.fixture(scope='module')
def batch():
    """Four pairs, of which one has labels on both sides, two on one and one on none."""
    rng = np.random.default_rng(0)
    batch = {}
    for role, flags in (('fixed', (1, 1, 0, 0)), ('moving', (1, 0, 1, 0))):
        batch[role] = rng.random((4, *SHAPE, 1), np.float32)
        batch[f'{role}_labels'] = rng.integers(0, 3, (4, *SHAPE)).astype(np.uint8)
        batch[f'{role}_has_labels'] = np.array(flags, np.float32)
    return batch


@pytest.fixture(scope='module', params=[voxelmorph, pytest.param(autofuse, marks=pytest.mark.slow)])
def runs(request, batch):
    """States and losses after two steps, by number of devices; of four, two share each volume.

    Plain gradient descent, because Adam divides each derivative by its own size and so turns the rounding of one that
    is nearly zero into a step of full length.
    """
    method, optimizer = request.param(), optax.sgd(1e-2)
    start = jax.device_get(
        quick_jit(lambda: create_train_state(method, optimizer, ('phase_1',), SHAPE, jax.random.key(0)))()
    )
    results = {}
    for devices in (1, 4):
        mesh = make_mesh(devices, depth=min(2, devices))
        step = compile_train_step(method.objectives('phase_1'), optimizer, mesh)
        state, losses, rows = jax.device_put(start, replicated(mesh)), [], put_batch(batch, mesh)
        assert len(rows['fixed'].sharding.device_set) == devices
        with jax.set_mesh(mesh):
            compiled = step.lower(state, rows).compile(HASTE)
        for _ in range(2):
            state, metrics = compiled(state, rows)
            losses.append(jax.device_get(metrics))
        results[devices] = jax.device_get(state), losses
    return start, results


def test_the_initial_state_has_the_types_of_later_ones():
    # A weakly typed array comes out of the first step strongly typed, and the step would be compiled again for it.
    state = jax.eval_shape(
        lambda key: create_train_state(autofuse(), optax.adam(1e-4), ('phase_1',), SHAPE, key), jax.random.key(0)
    )
    weak = [path for path, leaf in jax.tree_util.tree_leaves_with_path(state) if leaf.weak_type]
    assert not weak and all(leaf.dtype in (jnp.float32, jnp.int32, jnp.uint32) for leaf in jax.tree.leaves(state))


def test_the_loss_does_not_depend_on_the_number_of_devices(runs):
    _, results = runs
    for one, four in zip(results[1][1], results[4][1], strict=True):
        np.testing.assert_allclose(one['loss'], four['loss'], rtol=1e-5)
        for name in one:
            np.testing.assert_allclose(one[name], four[name], rtol=1e-3, atol=1e-6, err_msg=name)
    # The second loss is that of other parameters and other noise.
    first, second = results[1][1]
    assert first['loss'] != second['loss']


def test_the_parameters_do_not_depend_on_the_number_of_devices(runs):
    start, results = runs
    one, four = results[1][0].params, results[4][0].params

    # Each tensor as a whole, because single kernel values pass close to zero.
    def difference(a, b):
        return float(np.linalg.norm(a - b) / (np.linalg.norm(a) + 0.1))

    assert max(jax.tree.leaves(jax.tree.map(difference, one, four))) < 1e-4
    # They moved, and by far more than the tolerance.
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), one, start.params)
    assert max(jax.tree.leaves(moved)) > 4e-4


def test_metrics_name_every_term(batch):
    method, key = autofuse(), jax.random.key(0)
    shapes = jax.eval_shape(lambda: method.init(key, SHAPE))
    _, metrics = jax.eval_shape(lambda params: method.objectives('phase_1')[0].loss(params, batch, key), shapes)
    terms = {'negative_ncc', 'jacobian', 'kl', 'segmentation_fixed', 'segmentation_moving'}
    terms |= {'fusion_warped_segmentation', 'fusion_fixed_segmentation', 'fusion_warped_labels'}
    names = {f'{kind}/{term}' for kind in ('term', 'weighted') for term in terms}
    assert set(metrics) == names


def test_the_loss_is_the_sum_of_its_terms(runs):
    _, results = runs
    first = results[1][1][0]
    assert {'loss', 'grad_norm', 'update_norm'} < set(first)
    total = sum(value for name, value in first.items() if name.startswith('weighted/'))
    np.testing.assert_allclose(total, first['loss'], rtol=1e-5)


@pytest.mark.parametrize(('platform', 'depth', 'told'), [('gpu', 2, True), ('gpu', 1, False), ('tpu', 2, False)])
def test_gpus_that_share_volumes_send_sums_one_by_one(platform, depth, told):
    device = types.SimpleNamespace(platform=platform)
    mesh = types.SimpleNamespace(devices=np.array([device] * depth), shape={'data': 1, 'depth': depth})
    assert bool(options_for(mesh)) == told
