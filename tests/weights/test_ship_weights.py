"""Shipping weights that were evaluated as a file, such as those of joined branches."""

import dataclasses
import json

import numpy as np
import pytest

from autofuse_jax.errors import UserError
from autofuse_jax.weights.released import Description, file_hash, read_released, write_released
from autofuse_jax.weights.shipped import weights_file
from experiments.weights.ship_weights import ship

OPTIONS = {'base_channels': 2}


@pytest.fixture
def run(tmp_path):
    """A run whose record is the evaluation of a file of weights."""
    weights = tmp_path / 'joined.npz'
    write_released(weights, {'a/kernel': np.ones((2, 3), np.float32)}, Description('voxelmorph_diff', OPTIONS))
    mean = {'mean': 0.5}
    record = {
        'command': 'python -m autofuse_jax.main --mode=evaluate',
        'commit': 'abc',
        'machine': {'devices': '1 x cpu'},
        'config': {'method': 'voxelmorph_diff', 'model': OPTIONS, 'inference': {'symmetric': True}},
        'steps': None,
        'weights': {'file': str(weights), 'sha256': file_hash(weights)},
        'parameters': 6,
        'data': {
            'dataset': 'phantom',
            'train_subjects': 2,
            'labelled_train_subjects': None,
            'spacing_mm': [1.5, 1.5, 3.0],
            'evaluated_subjects': ['a'],
        },
        'scores': {'pairs': 2, 'structures': {}}
        | dict.fromkeys(('dsc_before', 'dsc_after', 'njd_percent', 'sdlogj'), mean),
    }
    folder = tmp_path / 'run' / 'evaluation_test'
    folder.mkdir(parents=True)
    (folder / 'result.json').write_text(json.dumps(record))
    return tmp_path / 'run'


def test_the_file_that_was_evaluated_is_shipped_with_the_commands_that_made_it(run, tmp_path):
    ship(run, tmp_path / 'out' / 'hearts.npz', split='test', hours=None, before=['train both', 'join them'])
    params, description = read_released(tmp_path / 'out' / 'hearts.npz')
    np.testing.assert_array_equal(params['a/kernel'], 1.0)
    assert description.spacing_mm == [1.5, 1.5, 3.0]
    assert description.inference == {'symmetric': True}
    card = (tmp_path / 'out' / 'hearts.md').read_text()
    assert '    train both\n    join them\n\n' in card and 'processor hours were not measured' in card
    assert '--mode=evaluate' not in card and 'None' not in card
    assert 'base_channels=2.\nPrediction: symmetric=True.' in card


def test_the_card_asks_for_the_voxels_of_the_network_not_of_the_data(run, tmp_path):
    weights = tmp_path / 'joined.npz'
    description = dataclasses.replace(read_released(weights)[1], spacing_mm=[3.0, 3.0, 6.0])
    write_released(weights, read_released(weights)[0], description)
    path = run / 'evaluation_test' / 'result.json'
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {'weights': {'file': str(weights), 'sha256': file_hash(weights)}}))
    ship(run, tmp_path / 'hearts.npz', split='test', hours=None)
    assert 'voxels should be about\n3 x 3 x 6 mm.' in (tmp_path / 'hearts.md').read_text()


def test_weights_that_were_evaluated_by_their_name_are_shipped(run, tmp_path):
    path = run / 'evaluation_test' / 'result.json'
    record = json.loads(path.read_text())
    named = {'file': 'phantom', 'sha256': file_hash(weights_file('phantom'))}
    path.write_text(json.dumps(record | {'weights': named}))
    ship(run, tmp_path / 'hearts.npz', split='test', hours=None)
    assert read_released(tmp_path / 'hearts.npz')[1].method == 'autofuse'


def test_another_file_than_was_evaluated_is_refused(run, tmp_path):
    write_released(tmp_path / 'joined.npz', {'a/kernel': np.zeros(6, np.float32)}, Description('voxelmorph_diff', {}))
    with pytest.raises(UserError, match='is not the file that the evaluation'):
        ship(run, tmp_path / 'out' / 'hearts.npz', split='test', hours=1.0)
    assert not (tmp_path / 'out').exists()
