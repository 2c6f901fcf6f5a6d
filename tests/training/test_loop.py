"""What a run on a tiny phantom leaves: rows, reports, weights; seen on AutoFuse with segmentation."""

import json
import types
from pathlib import Path

import jax
import numpy as np
import pytest

from autofuse_jax.commands.port_weights import port
from autofuse_jax.errors import UserError
from autofuse_jax.porting.convert import flatten
from autofuse_jax.training import checkpoint_folders
from autofuse_jax.training.experiment import Experiment
from autofuse_jax.training.loop import evaluate, train_and_evaluate
from autofuse_jax.weights.released import read_released
from tests.light import light_config
from tests.tiny import tiny_config
from tests.training.loop_runs import TOTAL_STEPS, final_state, loss_curve, trainer_of

pytestmark = pytest.mark.usefixtures('programs')


@pytest.fixture(scope='module')
def uninterrupted(phantom, tmp_path_factory) -> Path:
    workdir = tmp_path_factory.mktemp('uninterrupted')
    means = train_and_evaluate(tiny_config(phantom), workdir)
    gates = {f'gate_{level}' for level in range(2, 9)}
    assert set(means) == {'dsc_before', 'dsc_after', 'njd_percent', 'sdlogj', 'segmentation_dsc'} | gates
    # Later tests compare with them.
    (workdir / 'means.json').write_text(json.dumps(means))
    return workdir


def _means(workdir: Path) -> dict[str, float]:
    """What `train_and_evaluate` returned."""
    return json.loads((workdir / 'means.json').read_text())


def test_run_leaves_what_it_promises(uninterrupted):
    folder = uninterrupted / 'evaluation_test'
    for name in ('pairs.csv', 'structures.csv', 'pairs.json', 'summary.md', 'summary.tex', 'result.json'):
        assert (folder / name).stat().st_size > 100
    assert len(list((folder / 'pictures').glob('*.png'))) == 1
    assert (uninterrupted / 'curves.png').stat().st_size > 1000
    result = json.loads((folder / 'result.json').read_text())
    assert result['config']['model']['base_channels'] == 2
    assert result['data']['labelled_train_subjects'] == 2
    assert result['scores']['pairs'] == 2
    assert result['parameters'] > 1000
    assert {'command', 'commit', 'machine', 'date', 'versions'} <= set(result)
    assert json.loads((uninterrupted / 'config.json').read_text()) == result['config']


def test_rows_name_every_term(uninterrupted):
    rows = loss_curve(uninterrupted)
    assert [row['step'] for row in rows if row['kind'] == 'train'] == [2, 4, 6, 8, 9]
    assert [row['step'] for row in rows if row['kind'] == 'validation'] == [6, 9]
    terms = {
        'negative_ncc',
        'jacobian',
        'kl',
        'segmentation_moving',
        'segmentation_fixed',
        'fusion_warped_segmentation',
        'fusion_fixed_segmentation',
        'fusion_warped_labels',
    }
    for row in rows:
        if row['kind'] == 'train':
            assert {f'term/{term}' for term in terms} | {f'weighted/{term}' for term in terms} <= set(row)
            assert row['loss'] == pytest.approx(sum(row[f'weighted/{term}'] for term in terms), abs=1e-5)


def test_phase_change_keeps_the_optimiser_state(phantom, uninterrupted):
    state, _ = final_state(tiny_config(phantom), uninterrupted)
    assert set(state.optimizer) == {'registration'}
    # Adam counts its steps: a state made anew at the phase change would have counted the second phase only.
    assert int(state.optimizer['registration'][0].count) == TOTAL_STEPS


def test_best_parameters_are_those_of_the_best_validation(phantom, uninterrupted):
    scores = {row['step']: row['dsc_after'] for row in loss_curve(uninterrupted) if row['kind'] == 'validation'}
    best = max(scores, key=scores.get)
    assert checkpoint_folders.latest_step(uninterrupted, checkpoint_folders.BEST) == best
    assert final_state(tiny_config(phantom), uninterrupted)[1]['best'] == scores[best]


def test_other_architecture_is_refused_by_name(phantom, uninterrupted):
    before = (uninterrupted / 'config.json').read_bytes()
    config = tiny_config(phantom, model__large_kernel=False)
    for run in (lambda: train_and_evaluate(config, uninterrupted), lambda: evaluate(config, uninterrupted)):
        with pytest.raises(UserError, match='large_kernel.*absent in the config.*same architecture'):
            run()
    assert checkpoint_folders.latest_step(uninterrupted) == TOTAL_STEPS
    assert (uninterrupted / 'config.json').read_bytes() == before


@pytest.fixture(scope='module')
def released(uninterrupted, tmp_path_factory) -> Path:
    """The best parameters of the run in the released format."""
    path = tmp_path_factory.mktemp('released') / 'params.npz'
    port(uninterrupted, path, naming='ours')
    return path


def test_released_weights_are_evaluated_like_the_run_they_come_from(phantom, uninterrupted, released, tmp_path):
    means = evaluate(tiny_config(phantom, weights=str(released)), tmp_path)
    assert means == _means(uninterrupted)
    record = json.loads((tmp_path / 'evaluation_test' / 'result.json').read_text())
    assert record['weights']['file'] == str(released) and len(record['weights']['sha256']) == 64
    assert record['steps'] is None and record['config']['weights'] == str(released)


def test_official_weights_are_evaluated(phantom, uninterrupted, released, tmp_path):
    """There and back through PyTorch's names; argmax feedback has the shapes of the official network."""
    official, again = tmp_path / 'official.npz', tmp_path / 'again.npz'
    port(released, official)
    port(official, again)
    means = evaluate(tiny_config(phantom, weights=str(again)), tmp_path / 'run')
    assert means == _means(uninterrupted)


def test_training_starts_from_released_weights(phantom, released, tmp_path):
    config = tiny_config(phantom, weights=str(released))
    trainer = trainer_of(config, tmp_path)
    flat = flatten(jax.device_get(trainer._state.params))
    params, _ = read_released(released)
    assert flat.keys() == params.keys()
    for name, array in params.items():
        np.testing.assert_array_equal(flat[name], array)
    assert int(trainer._state.step) == 0


def test_weights_of_another_class_count_are_refused(phantom, released, tmp_path):
    config = tiny_config(phantom, weights=str(released), model__num_classes=0)
    with pytest.raises(UserError, match='segmentation_head/conv/bias'):
        evaluate(config, tmp_path)


def test_weights_made_with_another_option_are_mentioned(phantom, released, tmp_path, capsys):
    config = tiny_config(phantom, weights=str(released), model__random_gate_bias=True)
    layout = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    Experiment(config, tmp_path).read_weights(layout)
    assert 'another option than the config: model.random_gate_bias: False -> True' in capsys.readouterr().err


def test_official_behaviour_is_in_the_resolved_config(phantom, uninterrupted, tmp_path):
    config = tiny_config(phantom, reproduce_official=True)
    resolved = Experiment(config, tmp_path).resolved
    assert resolved['loss']['label_warp'] == 'nearest' and resolved['inference']['sample_velocity']


def test_memory_is_estimated_as_the_compiler_for_the_devices_keeps_it(phantom, tmp_path):
    """On a GPU another AutoFuse; VoxelMorph has nothing to compute again."""
    gpu = types.SimpleNamespace(devices=np.array([types.SimpleNamespace(platform='gpu')]))
    for config, another in ((tiny_config(phantom), True), (light_config(phantom), False)):
        experiment = Experiment(config, tmp_path)
        assert experiment.method_in_memory() is experiment.method
        experiment.mesh = gpu
        assert (experiment.method_in_memory() is not experiment.method) == another
