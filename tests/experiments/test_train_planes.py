"""Training of the branch that segments plane by plane: what it learns from, that it learns, and resuming."""

import dataclasses
import functools

import jax
import numpy as np
import pytest

from autofuse_jax.data.augment import Augmentation
from autofuse_jax.data.frame_store import FrameStore
from autofuse_jax.data.pair_policies import LABELLED_FRAMES, pair_source
from autofuse_jax.data.phantom import make_phantom_dataset
from autofuse_jax.models.plane_branch import OFFSETS, PlaneBranch
from autofuse_jax.weights.pretrained import load_model
from autofuse_jax.weights.released import Description, read_released, write_released
from experiments.weights import train_planes
from experiments.weights.labelled_planes import LabelledPlanes
from experiments.weights.train_planes import fresh_params, main, planes_loss
from tests.experiments.interrupted_training import changed_branches, parameters_in, train_twice
from tests.experiments.random_weights import write_random_weights
from tests.quick import hurried, quick_jit

MODEL = {'base_channels': 2, 'num_classes': 4, 'fusion_channels': 2, 'large_kernel': False}
STEPS = 6
UNCHANGED = Augmentation()


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp('phantom')
    sizes = {'train': 2, 'validation': 1, 'test': 1}
    return make_phantom_dataset(root, **sizes, frames=3, shape=(32, 32, 16), spacing=(3.0, 3.0, 6.0), seed=0)


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    return write_random_weights(tmp_path_factory.mktemp('weights') / 'start.npz', MODEL)


def frames_of(data):
    everyone = frozenset(subject.id for subject in data.subjects)
    return [anchor.frame for anchor in pair_source(LABELLED_FRAMES, data, 'train', everyone).anchors]


def planes_from(data, augmentation=UNCHANGED, **options):
    store = FrameStore(data, data.shape, 1.0)
    options = {'count': 3, 'part': 16, 'whole_from': 4, 'seed': 1} | options
    return LabelledPlanes(store, frames_of(data), augmentation, **options)


def arguments(weights, data, work, *more):
    paths = [f'--weights={weights}', f'--data={data.root}', f'--work={work}', f'--out={work}.npz']
    sizes = ['--channels=2', f'--steps={STEPS}', '--planes=2', '--part=16', '--whole-from=3', '--learning-rate=1e-2']
    return [*paths, *sizes, *more]


def test_planes_are_those_of_the_frames_with_their_labels(data):
    store = FrameStore(data, data.shape, 1.0)
    batch = planes_from(data, part=0).at(0)
    assert batch['planes'].shape == (3, 32, 32, len(OFFSETS))
    found = 0
    for frame in frames_of(data):
        image, labels = store.load(frame)
        for number, index in np.ndindex(3, image.shape[2]):
            if np.allclose(batch['fixed'][0, :, :, number, 0], image[..., index], atol=1e-6):
                around = np.clip(index + np.array(OFFSETS), 0, image.shape[2] - 1)
                np.testing.assert_allclose(batch['planes'][number], image[..., around], atol=1e-6)
                np.testing.assert_array_equal(batch['fixed_labels'][0, :, :, number], labels[..., index])
                found += 1
    assert found >= 3


def test_planes_follow_from_seed_and_step_alone_and_are_whole_in_the_end(data):
    changed = Augmentation(rotation=20.0, scale=0.1, gamma=0.2, elastic=0.3)
    one, other = (planes_from(data, changed) for _ in range(2))
    for step in range(3):
        one.at(step)
    jax.tree.map(np.testing.assert_array_equal, one.at(3), other.at(3))
    assert one.at(3)['planes'].shape == (3, 16, 16, len(OFFSETS))
    assert one.at(4)['fixed_labels'].shape == (1, 32, 32, 3)
    assert not np.array_equal(one.at(4)['planes'], one.at(5)['planes'])
    # More planes than frames: some frames give two.
    assert planes_from(data, count=20).at(0)['planes'].shape[0] == 20


def test_the_loss_is_lowest_where_the_labels_are_met(data, monkeypatch):
    batch, branch = planes_from(data, part=0).at(0), PlaneBranch(2, 4)
    params = fresh_params(branch, 0)
    value, terms = quick_jit(lambda batch: planes_loss(branch, params, batch, None))(batch)
    # A branch that has not learned anything is as sure of each class as of another.
    assert 1.0 < terms['term/frame_cross_entropy'] < 2.0 and -0.5 < terms['term/frame_dice'] < 0.0
    np.testing.assert_allclose(value, terms['term/frame_cross_entropy'] + terms['term/frame_dice'], rtol=1e-5)
    perfect = jax.nn.one_hot(np.moveaxis(batch['fixed_labels'][0], -1, 0), 4)
    monkeypatch.setattr('experiments.weights.train_planes.apply_network', lambda *_: perfect)
    np.testing.assert_allclose(planes_loss(branch, params, batch, None)[0], -1.0, atol=1e-4)


def test_a_training_that_was_interrupted_ends_with_the_same_weights(data, weights, tmp_path, capsys):
    command = functools.partial(arguments, weights, data)
    trained, description = train_twice(main, command, tmp_path, '--planes=3', capsys, steps=STEPS)
    assert changed_branches(parameters_in(weights), trained) == ['plane_branch']
    assert description.model['plane_channels'] == 2
    assert description.origin['segmenting planes']['step'] == STEPS
    assert load_model(tmp_path / 'whole.npz').num_parameters == sum(array.size for array in trained.values())


def test_a_branch_that_is_there_goes_on_from_what_it_is(data, tmp_path):
    start = write_random_weights(tmp_path / 'start.npz', MODEL | {'plane_channels': 2})
    # So slowly that it stays where it begins.
    with hurried():
        assert main(arguments(start, data, tmp_path / 'more', '--channels=4', '--learning-rate=1e-9', '--seed=5')) == 0
    (before, _), (after, description) = (read_released(tmp_path / f'{name}.npz') for name in ('start', 'more'))
    assert description.model['plane_channels'] == 2
    assert any(np.any(array != after[name]) for name, array in before.items() if name.startswith('plane_branch'))
    for name, array in before.items():
        np.testing.assert_allclose(after[name], array, atol=1e-6)


def test_weights_that_segment_nothing_are_one_line(weights, data, tmp_path, capsys):
    params, description = read_released(weights)
    other = tmp_path / 'other.npz'
    write_released(other, params, Description('autofuse', description.model | {'num_classes': 0}))
    assert main(arguments(other, data, tmp_path / 'run')) == 2
    assert 'holds no AutoFuse that segments' in capsys.readouterr().err


def test_planes_are_of_voxels_as_in_training(weights, data, tmp_path, monkeypatch):
    """A branch beside others that know a coarser grid than that of the data learns on such a grid."""
    flat, description = read_released(weights)
    write_released(tmp_path / 'coarse.npz', flat, dataclasses.replace(description, spacing_mm=[6.0, 6.0, 6.0]))
    grids = []

    def train_branch(options, examples, *others):
        grids.append(next(iter(examples(3).values())).shape)

    monkeypatch.setattr(train_planes, 'train_branch', train_branch)
    with hurried():
        assert main(arguments(tmp_path / 'coarse.npz', data, tmp_path / 'work')) == 0
    assert grids == [(2, 16, 16, len(OFFSETS))]
