"""Gates that are held: the same everywhere, at a half or at their mean; everything else as it was."""

import dataclasses

import numpy as np
import pytest

from autofuse_jax.data.batches import pair_to_arrays
from autofuse_jax.data.frame_store import FrameStore
from autofuse_jax.data.pair_policies import pair_source
from autofuse_jax.data.phantom import make_phantom_dataset
from autofuse_jax.methods.registry import predicting_method
from autofuse_jax.porting.convert import unflatten
from autofuse_jax.weights.released import read_released
from experiments.weights import hold_gates
from experiments.weights.hold_gates import gate_names, main, mean_shares
from tests.experiments.random_weights import write_random_weights
from tests.quick import hurried, quick_jit

MODEL = {'base_channels': 2, 'large_kernel': False}


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp('phantom')
    sizes = {'train': 1, 'validation': 1, 'test': 1}
    return make_phantom_dataset(root, **sizes, frames=2, shape=(32, 32, 16), spacing=(3.0, 3.0, 6.0), seed=0)


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    return write_random_weights(tmp_path_factory.mktemp('weights') / 'trained.npz', MODEL)


@pytest.fixture(scope='module')
def gates_of(data):
    """What a file's gates take on the training pairs, by gate: (pairs, d, h, w, C)."""
    method = predicting_method('autofuse', MODEL)
    measure = quick_jit(method.gate_weights)
    store = FrameStore(data, data.shape, 1.0)
    pairs = [pair_to_arrays(store, pair) for pair in pair_source('ed_es', data, 'train', frozenset()).anchors]

    def gates(path):
        params = unflatten(read_released(path)[0])
        found = [measure(params, arrays['fixed'][None], arrays['moving'][None]) for arrays in pairs]
        return {name: np.concatenate([one[name] for one in found]) for name in found[0]}

    return gates


def test_held_gates_are_the_same_everywhere_and_nothing_else_changes(weights, data, gates_of, tmp_path):
    trained = gates_of(weights)
    with hurried():
        assert main([f'--weights={weights}', '--at=half', f'--out={tmp_path / "half.npz"}']) == 0
        command = [f'--weights={weights}', '--at=mean', f'--data={data.root}', f'--out={tmp_path / "mean.npz"}']
        assert main(command) == 0
    half, mean = (gates_of(tmp_path / f'{name}.npz') for name in ('half', 'mean'))
    assert len(trained) == 7
    for name, weight in trained.items():
        assert np.ptp(weight, axis=(0, 1, 2, 3)).min() > 0.01
        np.testing.assert_array_equal(half[name], 0.5)
        # Of each channel, its mean over voxels and both pairs.
        expected = np.broadcast_to(weight.mean(axis=(0, 1, 2, 3)), weight.shape)
        np.testing.assert_allclose(mean[name], expected, atol=1e-5)
    before, (after, description) = read_released(weights)[0], read_released(tmp_path / 'mean.npz')
    changed = {name for name in before if np.any(before[name] != after[name])}
    assert changed and all('/gate_fusion/' in name or '/gate_single/' in name for name in changed)
    assert len(gate_names(before)) == 7 and 'mean over training pairs' in description.origin['gates']


def test_the_mean_is_of_voxels_as_in_training(weights, data, monkeypatch):
    """Images that were resampled to a coarser grid for the training are measured on such a grid."""
    grids = []

    def store(manifest, shape, cache_gib):
        grids.append(shape)
        return FrameStore(manifest, shape, cache_gib)

    monkeypatch.setattr(hold_gates, 'FrameStore', store)
    params, description = read_released(weights)
    with hurried():
        mean_shares(params, dataclasses.replace(description, spacing_mm=[6.0, 6.0, 6.0]), data.root, 1)
    assert grids == [(16, 16, 16)]


def test_what_cannot_be_held_is_one_line(weights, tmp_path, capsys):
    assert main([f'--weights={weights}', '--at=mean', f'--out={tmp_path / "held.npz"}']) == 2
    assert 'add --data' in capsys.readouterr().err
    path = write_random_weights(tmp_path / 'sum.npz', MODEL | {'fusion': 'sum'})
    assert main([f'--weights={path}', '--at=half', f'--out={tmp_path / "held.npz"}']) == 2
    assert 'has no gates' in capsys.readouterr().err
