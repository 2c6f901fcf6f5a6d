"""Training of the branch that registers beside one that is held: what it is given, that it learns, and resuming."""

import argparse
import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autofuse_jax.data.augment import Augmentation
from autofuse_jax.data.batches import pair_to_arrays
from autofuse_jax.data.frame_store import FrameStore
from autofuse_jax.data.pair_policies import pair_source
from autofuse_jax.data.phantom import make_phantom_dataset
from autofuse_jax.methods.autofuse import FUSION_BRANCH
from autofuse_jax.models.autofuse import AutoFuse
from autofuse_jax.models.descent import descend
from autofuse_jax.models.field_outputs import of_velocity
from autofuse_jax.porting.convert import check_shapes, unflatten
from autofuse_jax.storage.locks import locked
from autofuse_jax.weights.released import Description, read_released, write_released
from experiments.weights import perceived_pairs, train_fusion
from experiments.weights.perceived_pairs import PerceivedPairs, perceive
from experiments.weights.train_fusion import LABELLED_POLICIES, FusionWeights, fusion_loss, main, with_fresh_fusion
from tests.experiments.interrupted_training import changed_branches, parameters_in, train_twice
from tests.experiments.random_weights import write_random_weights
from tests.quick import hurried, quick_jit

MODEL = {
    'base_channels': 2,
    'num_classes': 4,
    'fusion_channels': 2,
    'fusion_pooling': (2, 2, 1),
    'fine_pooling': (1, 1, 1),
    'large_kernel': False,
}
REFINED = MODEL | {'refining_channels': 2}
DESCENDING = MODEL | {'descent_channels': 2, 'descent_steps': 2}
STEPS = 4
ROLES = ('fixed', 'moving')
NETWORK = AutoFuse(**MODEL)


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp('phantom')
    sizes = {'train': 2, 'validation': 1, 'test': 1}
    return make_phantom_dataset(root, **sizes, frames=3, shape=(32, 32, 16), spacing=(3.0, 3.0, 6.0), seed=0)


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    return write_random_weights(tmp_path_factory.mktemp('weights') / 'start.npz', MODEL)


@pytest.fixture(scope='module')
def perceived(data, weights):
    """The first pair as it is, perceived."""
    store = FrameStore(data, data.shape, 1.0)
    arrays = pair_to_arrays(store, pairs_of(data).anchors[0])
    batch = {name: array[None] for name, array in arrays.items()}
    params = unflatten(read_released(weights)[0])
    return batch, quick_jit(lambda batch: perceive(NETWORK, params, batch))(batch)


def pairs_of(data, policy='ed_es_labelled'):
    everyone = frozenset(subject.id for subject in data.subjects)
    return pair_source(policy, data, 'train', everyone)


def arguments(weights, data, work, *more):
    paths = [f'--weights={weights}', f'--data={data.root}', f'--work={work}', f'--out={work}.npz']
    return [*paths, f'--steps={STEPS}', '--kept=2', '--uses=2', '--learning-rate=1e-2', *more]


def test_the_branch_is_given_what_the_whole_network_gives_it(perceived, weights):
    batch, example = perceived
    params = unflatten(read_released(weights)[0])
    _, branch = NETWORK.branches()

    def velocities(batch, example):
        whole = NETWORK.apply({'params': params}, batch['fixed'], batch['moving']).velocity_mean
        inputs = jax.tree.map(lambda array: array.astype(jnp.float32), example['inputs'])
        return whole, branch.apply({'params': params[FUSION_BRANCH]}, *inputs)[0]

    whole, alone = quick_jit(velocities)(batch, example)
    assert np.ptp(whole) > 0.1
    np.testing.assert_allclose(alone, whole, atol=0.01 * np.ptp(whole))
    # The share of each class on the grid of the finest features, which here is the images'.
    np.testing.assert_array_equal(np.argmax(example['fixed_labels'], axis=-1), batch['fixed_labels'])
    assert example['inputs'][0].dtype == np.float16


def test_the_loss_is_that_of_both_directions(perceived, weights):
    _, example = perceived
    params = unflatten(read_released(weights)[0])
    factors = FusionWeights(similarity=2.0, overlap=5.0, kl=0.0, jacobian=0.0)
    params = {FUSION_BRANCH: jax.tree.map(jnp.zeros_like, params[FUSION_BRANCH])}
    loss = quick_jit(lambda example: fusion_loss(NETWORK, factors, params, example, jax.random.key(0)))
    value, terms = loss(example)
    # Parameters of zero predict a mean of zero and a variance of one: the maps of the noise alone.
    noise = jax.random.normal(jax.random.key(0), (1, 8, 8, 8, 3))
    output = of_velocity(jnp.zeros_like(noise), example['moving'], jnp.zeros_like(noise), noise)
    dice = []
    for fixed, moving, u in (
        ('fixed', 'moving', output.displacement),
        ('moving', 'fixed', output.inverse_displacement),
    ):
        warped = train_fusion.warp_linear(jnp.float32(example[f'{moving}_labels'][0]), u[0])
        target = np.float32(example[f'{fixed}_labels'][0])
        both = 2 * np.sum(target * warped, axis=(0, 1, 2)) / np.sum(target + warped, axis=(0, 1, 2))
        dice.append(np.mean(both[1:]))
    np.testing.assert_allclose(terms['term/overlap'], -np.mean(dice), rtol=1e-4)
    expected = 2.0 * terms['term/negative_ncc'] + 5.0 * terms['term/overlap']
    np.testing.assert_allclose(value, expected, rtol=1e-5)


@pytest.mark.parametrize('policy', LABELLED_POLICIES)
def test_pairs_follow_from_seed_and_step_alone(data, policy, monkeypatch):
    # What the network makes of a pair is the same for the same pair; here the pair itself.
    monkeypatch.setattr(perceived_pairs, 'perceive', lambda network, params, batch: {'fixed': batch['fixed']})
    augmentation = Augmentation(rotation=20.0, scale=0.1, gamma=0.2)

    def source():
        store = FrameStore(data, data.shape, 1.0)
        return PerceivedPairs(NETWORK, {}, store, pairs_of(data, policy), augmentation, kept=3, uses=2, seed=1)

    there = source()
    passed = [there.at(step)['fixed'] for step in range(9)]
    np.testing.assert_array_equal(source().at(8)['fixed'], passed[8])
    # Nine steps see more than one of the seven pairs that are kept meanwhile, and no two changes of a pair are alike.
    different = {float(np.sum(image, dtype=np.float64)) for image in passed}
    assert 2 < len(different) <= 7


def test_a_pair_is_perceived_when_it_is_wanted_and_once(data, monkeypatch):
    perceived = []
    store = FrameStore(data, data.shape, 1.0)
    pairs = PerceivedPairs(NETWORK, {}, store, pairs_of(data), Augmentation(), kept=3, uses=4, seed=1)
    monkeypatch.setattr(pairs, '_example', lambda number: perceived.append(number) or number)
    shown = [pairs.at(step) for step in range(24)]
    assert len(set(perceived)) == len(perceived) and perceived[0] == shown[0]
    assert all(step // 4 <= number < step // 4 + 3 for step, number in enumerate(shown))


def test_a_training_that_was_interrupted_ends_with_the_same_weights(data, weights, tmp_path, capsys):
    command = functools.partial(arguments, weights, data)
    trained, description = train_twice(main, command, tmp_path, '--overlap=1', capsys, steps=STEPS)
    assert changed_branches(parameters_in(weights), trained) == ['fusion_branch']
    assert description.origin['registering']['step'] == STEPS


def test_weights_of_another_kind_are_one_line(weights, data, tmp_path, capsys):
    params, description = read_released(weights)
    other = tmp_path / 'other.npz'
    write_released(other, params, Description('autofuse', description.model | {'num_classes': 0}))
    assert main(arguments(other, data, tmp_path / 'run')) == 2
    assert 'holds no AutoFuse that segments' in capsys.readouterr().err


def test_a_fresh_branch_of_another_kind_is_drawn(weights, data, tmp_path, capsys):
    start, description = read_released(weights)
    options = argparse.Namespace(fusion='sum', without_segmentations=True, seed=3)
    with hurried():
        params = with_fresh_fusion(start, description, options)
    assert description.model['fusion'] == 'sum' and not description.model['feed_segmentation']
    check_shapes(params, 'autofuse', description.model)
    for name, array in params.items():
        if name.startswith('single_branch'):
            np.testing.assert_array_equal(array, start[name])
    assert main(arguments(weights, data, tmp_path / 'other', '--fusion=sum')) == 2
    assert 'add --fresh' in capsys.readouterr().err


@pytest.fixture(scope='module')
def refined(tmp_path_factory):
    return write_random_weights(tmp_path_factory.mktemp('weights') / 'refined.npz', REFINED)


def test_a_branch_that_refines_learns_alone(refined, data, tmp_path):
    with hurried():
        assert main(arguments(refined, data, tmp_path / 'more')) == 0
    assert changed_branches(parameters_in(refined), parameters_in(tmp_path / 'more.npz')) == ['refining_branch']


def test_what_refines_is_given_what_the_whole_network_gives_it(perceived, refined):
    batch, _ = perceived
    network = AutoFuse(**REFINED)
    params = unflatten(read_released(refined)[0])
    refining = network.refining_branch()

    def velocities(batch):
        whole = network.apply({'params': params}, batch['fixed'], batch['moving'], symmetric=True).velocity_mean
        there, back = ({'fixed': batch[one], 'moving': batch[two]} for one, two in (ROLES, ROLES[::-1]))
        examples = [perceive(network, params, batch | order) for order in (there, back)]
        corrections = [
            refining.apply({'params': params['refining_branch']}, *jax.tree.map(jnp.float32, example['inputs']))[0]
            for example in examples
        ]
        return whole, examples[0]['start'] + 0.5 * (corrections[0] - corrections[1])

    whole, parts = quick_jit(velocities)(batch)
    np.testing.assert_allclose(parts, whole, atol=0.01 * np.ptp(whole))


@pytest.fixture(scope='module', params=[{}, {'refining_channels': 2}], ids=['alone', 'refined'])
def descending(request, tmp_path_factory):
    options = DESCENDING | request.param
    return options, write_random_weights(tmp_path_factory.mktemp('weights') / 'descending.npz', options)


def test_a_branch_that_descends_learns_alone(descending, data, tmp_path):
    _, path = descending
    with hurried():
        assert main(arguments(path, data, tmp_path / 'more')) == 0
    assert changed_branches(parameters_in(path), parameters_in(tmp_path / 'more.npz')) == ['descent_branch']


def test_what_descends_is_given_what_the_whole_network_gives_it(perceived, descending):
    batch, _ = perceived
    options, path = descending
    network, params = AutoFuse(**options), unflatten(read_released(path)[0])
    branch = functools.partial(network.descent_branch().apply, {'params': params['descent_branch']})

    def velocities(batch):
        whole = network.apply({'params': params}, batch['fixed'], batch['moving'], symmetric=True).velocity_mean
        examples = [
            perceive(network, params, batch | {'fixed': batch[one], 'moving': batch[two]})
            for one, two in (ROLES, ROLES[::-1])
        ]
        examples = jax.tree.map(jnp.float32, examples)
        orders = [example['inputs'][0] for example in examples]
        start = examples[0]['start']
        return whole, descend(branch, orders, start, 2)[-1], start, examples[1]['start']

    whole, parts, start, opposite = quick_jit(velocities)(batch)
    np.testing.assert_allclose(parts, whole, atol=0.01 * np.ptp(whole))
    np.testing.assert_allclose(opposite, -start, atol=0.01 * np.ptp(start))
    assert np.max(np.abs(whole - start)) > 0.02 * np.ptp(whole)


def test_the_loss_of_a_descent_is_the_mean_over_its_steps(perceived, descending):
    batch, _ = perceived
    options, path = descending
    params = unflatten(read_released(path)[0])
    learning = {'descent_branch': params['descent_branch']}

    def losses(batch):
        network = AutoFuse(**options)
        example = perceive(network, params, batch)
        once = dataclasses.replace(network, descent_steps=1)
        key = jax.random.key(0)
        first, _ = fusion_loss(once, FusionWeights(), learning, example, key)
        branch = functools.partial(network.descent_branch().apply, {'params': params['descent_branch']})
        wide = jax.tree.map(jnp.float32, example)
        further = wide | {'start': descend(branch, wide['inputs'], wide['start'], 1)[0]}
        second, _ = fusion_loss(once, FusionWeights(), learning, further, key)
        return 0.5 * (first + second), fusion_loss(network, FusionWeights(), learning, example, key)

    expected, (loss, terms) = quick_jit(losses)(batch)
    np.testing.assert_allclose(loss, expected, rtol=1e-4)
    assert {'term/overlap', 'term/kl', 'term/jacobian', 'term/negative_ncc'} <= set(terms)


def test_a_folder_in_use_is_left_alone(data, weights, tmp_path, capsys):
    with locked(tmp_path / 'work'):
        assert main(arguments(weights, data, tmp_path / 'work')) == 2
    assert 'work' in (error := capsys.readouterr().err) and 'in use' in error
    assert not (tmp_path / 'work.npz').exists()


def test_pairs_are_of_voxels_as_in_training(weights, data, tmp_path, monkeypatch):
    """A branch beside one that knows another grid than that of the data learns on such a grid."""
    flat, description = read_released(weights)
    write_released(tmp_path / 'fine.npz', flat, dataclasses.replace(description, spacing_mm=[3.0, 3.0, 3.0]))
    grids = []

    def store(manifest, shape, cache_gib):
        grids.append(shape)
        return FrameStore(manifest, shape, cache_gib)

    monkeypatch.setattr(train_fusion, 'FrameStore', store)
    monkeypatch.setattr(train_fusion, 'train_branch', lambda *arguments: None)
    assert main(arguments(tmp_path / 'fine.npz', data, tmp_path / 'work')) == 0
    assert grids == [(32, 32, 32)]
