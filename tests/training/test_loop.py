"""The whole path on a tiny phantom: training, interruption, resumption, evaluation, reports.

What a run leaves is seen on AutoFuse with segmentation; how the trainer stops and goes on is the same for all methods
and seen on one that compiles quickly.
"""

import dataclasses
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import types
from pathlib import Path

import jax
import numpy as np
import pytest

from autofuse_jax.commands.port_weights import port
from autofuse_jax.errors import UserError
from autofuse_jax.porting.convert import flatten
from autofuse_jax.sharding import replicated
from autofuse_jax.training import checkpoints, loop
from autofuse_jax.training.experiment import Experiment
from autofuse_jax.training.loop import Trainer, evaluate, train_and_evaluate
from autofuse_jax.training.metrics_log import read_rows
from autofuse_jax.weights.released import read_released
from tests.light import light_arguments, light_config
from tests.programs import remembered_programs
from tests.quick import quick_jit
from tests.tiny import tiny_config

REPOSITORY = Path(__file__).resolve().parents[2]
TOTAL_STEPS = 9
# Depends on how busy the machine is, not on the run.
NOT_REPRODUCIBLE = ('pairs_per_second',)


@pytest.fixture(scope='module', autouse=True)
def programs():
    """Most runs differ in when they are stopped and continued, not in what they compile."""
    with remembered_programs():
        yield


@pytest.fixture(scope='module')
def phantom(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp('phantom')


@pytest.fixture(scope='module')
def uninterrupted(phantom, tmp_path_factory) -> Path:
    workdir = tmp_path_factory.mktemp('uninterrupted')
    means = train_and_evaluate(tiny_config(phantom), workdir)
    gates = {f'gate_{level}' for level in range(2, 9)}
    assert set(means) == {'dsc_before', 'dsc_after', 'njd_percent', 'sdlogj', 'segmentation_dsc'} | gates
    # Later tests compare with them.
    (workdir / 'means.json').write_text(json.dumps(means))
    return workdir


@pytest.fixture(scope='module')
def light(phantom, tmp_path_factory) -> Path:
    """An uninterrupted run of the light config."""
    workdir = tmp_path_factory.mktemp('light')
    means = train_and_evaluate(light_config(phantom), workdir)
    assert set(means) == {'dsc_before', 'dsc_after', 'njd_percent', 'sdlogj'}
    return workdir


def _means(workdir: Path) -> dict[str, float]:
    """What `train_and_evaluate` returned."""
    return json.loads((workdir / 'means.json').read_text())


def _trainer(config, workdir: Path) -> Trainer:
    """Made as `train_and_evaluate` makes it, so that what was compiled there is found in the cache."""
    experiment = Experiment(config, workdir)
    with jax.set_mesh(experiment.mesh):
        return Trainer(experiment)


def _loss_curve(workdir: Path) -> list[dict]:
    rows = read_rows(workdir / 'metrics.jsonl')
    return [{name: value for name, value in row.items() if name not in NOT_REPRODUCIBLE} for row in rows]


def _final_state(config, workdir: Path):
    experiment = Experiment(config, workdir)
    layout = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    state, record = checkpoints.restore(workdir, experiment.state_structure(), layout)
    return jax.device_get(state), record


def _assert_same_run(phantom: Path, one: Path, other: Path) -> None:
    states = [_final_state(light_config(phantom), workdir)[0] for workdir in (one, other)]
    assert int(states[0].step) == int(states[1].step) == TOTAL_STEPS
    for left, right in zip(*(jax.tree.leaves(state) for state in states), strict=True):
        np.testing.assert_array_equal(left, right)
    assert _loss_curve(one) == _loss_curve(other)


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
    rows = _loss_curve(uninterrupted)
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
    state, _ = _final_state(tiny_config(phantom), uninterrupted)
    assert set(state.optimizer) == {'registration'}
    # Adam counts its steps: a state made anew at the phase change would have counted the second phase only.
    assert int(state.optimizer['registration'][0].count) == TOTAL_STEPS


def test_best_parameters_are_those_of_the_best_validation(phantom, uninterrupted):
    scores = {row['step']: row['dsc_after'] for row in _loss_curve(uninterrupted) if row['kind'] == 'validation'}
    best = max(scores, key=scores.get)
    assert checkpoints.latest_step(uninterrupted, checkpoints.BEST) == best
    assert _final_state(tiny_config(phantom), uninterrupted)[1]['best'] == scores[best]


def test_the_light_run_has_what_can_go_wrong_in_a_continuation(phantom, light):
    """Two phases, draws and labels, validations, a best and a latest checkpoint."""
    experiment = Experiment(light_config(phantom), light)
    assert [(phase.pairs, phase.end) for phase in experiment.phases] == [('semi', 4), ('ed_es', TOTAL_STEPS)]
    assert experiment.method.uses_labels
    rows = _loss_curve(light)
    assert [row['step'] for row in rows if row['kind'] == 'train'] == [2, 4, 6, 8, 9]
    assert [row['step'] for row in rows if row['kind'] == 'validation'] == [6, 9]
    assert all({'term/kl', 'term/dice'} <= set(row) for row in rows if row['kind'] == 'train')
    state, record = _final_state(light_config(phantom), light)
    assert int(state.step) == int(state.optimizer['registration'][0].count) == TOTAL_STEPS
    assert record['best'] == max(row['dsc_after'] for row in rows if row['kind'] == 'validation')
    assert checkpoints.latest_step(light, checkpoints.BEST) in (6, 9)
    # Its loss depends on the random key, so that a continuation with other draws would be another run.
    objective = experiment.method.objectives('phase_2')[0]
    image = np.random.default_rng(0).random((1, 32, 32, 16, 1), np.float32)
    labels, flag = np.zeros((1, 32, 32, 16), np.int32), np.ones(1, np.float32)
    batch = {'fixed': image, 'moving': image[:, ::-1]}
    batch |= {f'{role}_labels': labels for role in ('fixed', 'moving')}
    batch |= {f'{role}_has_labels': flag for role in ('fixed', 'moving')}
    loss = quick_jit(lambda key: objective.loss(state.params, batch, key)[0])
    assert loss(jax.random.key(0)) == loss(jax.random.key(0)) != loss(jax.random.key(1))


def test_killed_and_continued_run_equals_the_uninterrupted_one(phantom, light, tmp_path):
    """SIGKILL at a random moment, then SIGTERM in the first step of the continuation, then to the end."""
    moment = random.choice(['step 2/', 'step 4/', 'validation at step 6'])
    print(f'killed at: {moment}')  # shown where the test fails
    status, _ = _start_and_signal(phantom, tmp_path, at_line=moment, number=signal.SIGKILL)
    assert status == -signal.SIGKILL
    status, output = _start_and_signal(phantom, tmp_path, at_line='compiling', number=signal.SIGTERM)
    assert status == 143
    assert 'received SIGTERM; the same command continues from here' in output
    assert 0 < checkpoints.latest_step(tmp_path) < TOTAL_STEPS
    train_and_evaluate(light_config(phantom), tmp_path)
    _assert_same_run(phantom, light, tmp_path)


def _start_and_signal(phantom: Path, workdir: Path, *, at_line: str, number: int) -> tuple[int, str]:
    """Start the program and send it a signal as soon as it prints a line with that beginning."""
    command = [sys.executable, '-m', 'autofuse_jax.main', *light_arguments(phantom, workdir)]
    # Rounding depends on the number of devices, also on those that are not used.
    environment = os.environ | {'JAX_NUM_CPU_DEVICES': str(jax.device_count())}
    process = subprocess.Popen(command, cwd=REPOSITORY, env=environment, stderr=subprocess.PIPE, text=True)
    lines = []
    for line in process.stderr:
        lines.append(line)
        if line.startswith(at_line):
            process.send_signal(number)
            break
    lines += process.stderr.readlines()
    process.stderr.close()
    return process.wait(), ''.join(lines)


def test_time_budget_ends_with_a_checkpoint_and_a_report(phantom, light, tmp_path):
    means = train_and_evaluate(light_config(phantom, training__max_minutes=1e-9), tmp_path)
    assert means is not None  # the budget ends training, not the evaluation
    assert checkpoints.latest_step(tmp_path) == 1  # however short: the next invocation must get further
    train_and_evaluate(light_config(phantom), tmp_path)
    _assert_same_run(phantom, light, tmp_path)


def test_training_and_its_report_share_one_experiment(phantom, light, tmp_path, monkeypatch):
    """A complete run, so that only the report is left to do."""
    made = []
    monkeypatch.setattr(loop, 'Experiment', lambda *arguments: made.append(Experiment(*arguments)) or made[-1])
    shutil.copytree(light, tmp_path / 'run')
    means = train_and_evaluate(light_config(phantom), tmp_path / 'run')
    assert len(made) == 1
    assert means == evaluate(light_config(phantom), light)


@pytest.mark.slow
def test_evaluation_is_deterministic(phantom, light):
    config = light_config(phantom)
    assert evaluate(config, light) == evaluate(config, light)


def test_other_architecture_is_refused_by_name(phantom, uninterrupted):
    before = (uninterrupted / 'config.json').read_bytes()
    config = tiny_config(phantom, model__large_kernel=False)
    for run in (lambda: train_and_evaluate(config, uninterrupted), lambda: evaluate(config, uninterrupted)):
        with pytest.raises(UserError, match='large_kernel.*absent in the config.*same architecture'):
            run()
    assert checkpoints.latest_step(uninterrupted) == TOTAL_STEPS
    assert (uninterrupted / 'config.json').read_bytes() == before


def test_loss_that_is_not_finite_names_step_and_term(phantom, tmp_path):
    config = light_config(phantom, optimizer__learning_rate=1e12)
    problem = r'at step \d+ these are not finite any more: term/'
    with pytest.raises(UserError, match=problem) as raised:
        train_and_evaluate(config, tmp_path)
    assert 'lower optimizer.learning_rate' in str(raised.value)
    step = checkpoints.latest_step(tmp_path)
    if step is not None:  # whatever was saved before is finite
        state, _ = _final_state(config, tmp_path)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.params))


def test_full_disk_keeps_the_checkpoint_before(phantom, tmp_path, monkeypatch):
    config = light_config(phantom)
    real_save, steps = checkpoints._save, []

    def save_until_full(workdir, kind, step, arrays, record):
        steps.append(step)
        if step > 3:
            raise OSError(28, 'No space left on device', str(workdir))
        real_save(workdir, kind, step, arrays, record)

    monkeypatch.setattr(checkpoints, '_save', save_until_full)
    with pytest.raises(OSError, match='No space left'):
        train_and_evaluate(config, tmp_path)
    assert steps[0] == 3
    assert checkpoints.latest_step(tmp_path) == 3
    assert int(_final_state(config, tmp_path)[0].step) == 3


def test_damaged_checkpoint_is_named(phantom, light, tmp_path):
    config = light_config(phantom)
    experiment = Experiment(config, tmp_path)
    with jax.set_mesh(experiment.mesh):
        state = experiment.create_state(replicated(experiment.mesh))
    checkpoints.save(tmp_path, state, {'config': experiment.resolved})
    for path in (tmp_path / 'checkpoints' / 'latest' / '0').rglob('*'):
        if path.is_file() and 'ocdbt' in str(path):
            path.write_bytes(b'')
    with pytest.raises(UserError, match='checkpoints/latest/0 cannot be read'):
        train_and_evaluate(config, tmp_path)


def test_record_of_a_checkpoint_without_checksums_that_is_damaged_is_named(phantom, light, tmp_path, monkeypatch):
    config = light_config(phantom)
    experiment = Experiment(config, tmp_path)
    with jax.set_mesh(experiment.mesh):
        state = experiment.create_state(replicated(experiment.mesh))
    monkeypatch.setattr(checkpoints, 'sealed', lambda record, arrays: record)
    checkpoints.save(tmp_path, state, {'config': experiment.resolved, 'best': None})
    with pytest.raises(UserError, match='the record of a checkpoint in .* train_seconds is missing'):
        train_and_evaluate(config, tmp_path)


def test_hidden_labels_are_counted(phantom, tmp_path):
    config = light_config(phantom, data__labelled_subjects=1)
    trainer = _trainer(config, tmp_path)
    assert len(trainer._data.labelled_ids) == 1


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
    trainer = _trainer(config, tmp_path)
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


@pytest.mark.slow
def test_frames_alone_then_pairs_resume_exactly_with_averages(phantom, tmp_path):
    """Stopped inside the first kind of phase and between the kinds; the average of the parameters goes on as well."""
    fields = {
        'phases__phase_0__steps': 4,
        'phases__phase_0__pairs': 'labelled_frames',
        'phases__phase_0__crop': (16, 16, 0),
        'phases__phase_1__steps': 0,
        'phases__phase_2__steps': 2,
        'loss__segmentation_phases': ('phase_0',),
        'loss__fusion_phases': ('phase_2',),
        'model__large_kernel': False,
        'optimizer__average_decay': 0.9,
        'training__checkpoint_every': 1,
        'training__validate_every': 3,
    }
    whole, parts = tmp_path / 'whole', tmp_path / 'parts'
    train_and_evaluate(tiny_config(phantom, **fields), whole)
    for _ in range(2):
        # At least a step each.
        train_and_evaluate(tiny_config(phantom, **fields, training__max_minutes=1e-9), parts)
    train_and_evaluate(tiny_config(phantom, **fields), parts)
    states = [_final_state(tiny_config(phantom, **fields), workdir) for workdir in (whole, parts)]
    for one, other in zip(*(jax.tree.leaves(state) for state, _ in states), strict=True):
        np.testing.assert_array_equal(one, other)
    state, record = states[0]
    assert set(state.optimizer) == {'segmentation', 'fusion'}
    average, params = (np.concatenate([np.ravel(x) for x in jax.tree.leaves(t)]) for t in (state.average, state.params))
    assert 0 < np.abs(average - params).max() < 0.1
    # What frames alone are measured by is not compared with what pairs are.
    assert record['measure'] == 'dsc_after'
    validations = [row for row in _loss_curve(whole) if row['kind'] == 'validation']
    assert record['best'] == validations[-1]['dsc_after'] and checkpoints.latest_step(whole, checkpoints.BEST) == 6


def test_a_run_that_was_rolled_back_ends_with_a_best_of_its_own(phantom, light, tmp_path):
    workdir = tmp_path / 'run'
    shutil.copytree(light, workdir)
    config = light_config(phantom)
    state, record = _final_state(config, workdir)
    # As if the latest checkpoint of step 8 had been put back: no best one is of its time.
    shutil.rmtree(workdir / 'checkpoints')
    checkpoints.save_best(workdir, state, record)
    checkpoints.save(workdir, dataclasses.replace(state, step=np.int32(8)), record)
    trainer = _trainer(config, workdir)
    assert checkpoints.latest_step(workdir, checkpoints.BEST) is None
    assert trainer._best == float('-inf')


def test_speed_counts_the_steps_of_this_invocation_only(phantom, light, tmp_path, monkeypatch):
    shutil.copytree(light, tmp_path / 'run')
    trainer = _trainer(light_config(phantom), tmp_path / 'run')
    reports = []
    trainer._progress = types.SimpleNamespace(report=lambda *arguments: reports.append(arguments))
    # The window of the invocation before has nine steps.
    trainer._window, trainer._row_steps = [{'loss': 1.0}] * 11, 2
    monkeypatch.setattr(loop.time, 'monotonic', lambda: 100.0)
    trainer._row_started = 96.0
    assert trainer._show({'loss': 1.0}) == reports[0][1] == 2 * light_config(phantom).training.batch_size / 4.0
