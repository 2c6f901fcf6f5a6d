"""How the trainer stops and goes on: alike for all methods, so that nearly all is seen on one that compiles quickly."""

import dataclasses
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

from autofuse_jax.data.pair_policies import LABELLED_FRAMES
from autofuse_jax.errors import UserError
from autofuse_jax.sharding import replicated
from autofuse_jax.training import checkpoint_folders, checkpoints, loop
from autofuse_jax.training.experiment import Experiment
from autofuse_jax.training.loop import evaluate, train_and_evaluate
from autofuse_jax.training.phases import Phase
from autofuse_jax.training.run_record import SEGMENTATION_MEASURE
from tests.light import light_arguments, light_config
from tests.quick import quick_jit
from tests.tiny import tiny_config
from tests.training.loop_runs import TOTAL_STEPS, final_state, loss_curve, trainer_of

REPOSITORY = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.usefixtures('programs')


@pytest.fixture(scope='module')
def light(phantom, tmp_path_factory) -> Path:
    """An uninterrupted run of the light config."""
    workdir = tmp_path_factory.mktemp('light')
    means = train_and_evaluate(light_config(phantom), workdir)
    assert set(means) == {'dsc_before', 'dsc_after', 'njd_percent', 'sdlogj'}
    return workdir


def _assert_same_run(phantom: Path, one: Path, other: Path) -> None:
    states = [final_state(light_config(phantom), workdir)[0] for workdir in (one, other)]
    assert int(states[0].step) == int(states[1].step) == TOTAL_STEPS
    for left, right in zip(*(jax.tree.leaves(state) for state in states), strict=True):
        np.testing.assert_array_equal(left, right)
    assert loss_curve(one) == loss_curve(other)


def test_the_light_run_has_what_can_go_wrong_in_a_continuation(phantom, light):
    """Two phases, draws and labels, validations, a best and a latest checkpoint."""
    experiment = Experiment(light_config(phantom), light)
    assert [(phase.pairs, phase.end) for phase in experiment.phases] == [('semi', 4), ('ed_es', TOTAL_STEPS)]
    assert experiment.method.uses_labels
    rows = loss_curve(light)
    assert [row['step'] for row in rows if row['kind'] == 'train'] == [2, 4, 6, 8, 9]
    assert [row['step'] for row in rows if row['kind'] == 'validation'] == [6, 9]
    assert all({'term/kl', 'term/dice'} <= set(row) for row in rows if row['kind'] == 'train')
    state, record = final_state(light_config(phantom), light)
    assert int(state.step) == int(state.optimizer['registration'][0].count) == TOTAL_STEPS
    assert record['best'] == max(row['dsc_after'] for row in rows if row['kind'] == 'validation')
    assert checkpoint_folders.latest_step(light, checkpoint_folders.BEST) in (6, 9)
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
    assert 0 < checkpoint_folders.latest_step(tmp_path) < TOTAL_STEPS
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
    assert checkpoint_folders.latest_step(tmp_path) == 1  # however short: the next invocation must get further
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


def test_loss_that_is_not_finite_names_step_and_term(phantom, tmp_path):
    config = light_config(phantom, optimizer__learning_rate=1e12)
    problem = r'at step \d+ these are not finite any more: term/'
    with pytest.raises(UserError, match=problem) as raised:
        train_and_evaluate(config, tmp_path)
    assert 'lower optimizer.learning_rate' in str(raised.value)
    step = checkpoint_folders.latest_step(tmp_path)
    if step is not None:  # whatever was saved before is finite
        state, _ = final_state(config, tmp_path)
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
    assert checkpoint_folders.latest_step(tmp_path) == 3
    assert int(final_state(config, tmp_path)[0].step) == 3


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
    trainer = trainer_of(config, tmp_path)
    assert len(trainer._data.labelled_ids) == 1


def test_a_run_that_was_rolled_back_ends_with_a_best_of_its_own(phantom, light, tmp_path):
    workdir = tmp_path / 'run'
    shutil.copytree(light, workdir)
    config = light_config(phantom)
    state, record = final_state(config, workdir)
    # As if the latest checkpoint of step 8 had been put back: no best one is of its time.
    shutil.rmtree(workdir / 'checkpoints')
    checkpoints.save_best(workdir, state, record)
    checkpoints.save(workdir, dataclasses.replace(state, step=np.int32(8)), record)
    trainer = trainer_of(config, workdir)
    assert checkpoint_folders.latest_step(workdir, checkpoint_folders.BEST) is None
    assert trainer._best == float('-inf')


def test_speed_counts_the_steps_of_this_invocation_only(phantom, light, tmp_path, monkeypatch):
    shutil.copytree(light, tmp_path / 'run')
    trainer = trainer_of(light_config(phantom), tmp_path / 'run')
    reports = []
    trainer._progress = types.SimpleNamespace(report=lambda *arguments: reports.append(arguments))
    # The window of the invocation before has nine steps.
    trainer._window, trainer._row_steps = [{'loss': 1.0}] * 11, 2
    monkeypatch.setattr(loop.time, 'monotonic', lambda: 100.0)
    trainer._row_started = 96.0
    assert trainer._show({'loss': 1.0}) == reports[0][1] == 2 * light_config(phantom).training.batch_size / 4.0


def test_frames_alone_may_be_validated_without_labels(phantom, light, tmp_path):
    """As with pairs, there is no best then, and training goes on."""
    shutil.copytree(light, tmp_path / 'run')
    trainer = trainer_of(light_config(phantom), tmp_path / 'run')
    names = ('note_validation', 'say', 'pause')
    trainer._progress = types.SimpleNamespace(**dict.fromkeys(names, lambda *arguments: None))
    trainer._writer = types.SimpleNamespace(write=lambda *arguments: None)
    trainer._experiment = types.SimpleNamespace(score=lambda predictor, params: [{'njd_percent': 0.0}])
    trainer._row_started = 0.0
    trainer._validate(Phase('phase_0', LABELLED_FRAMES, 0, TOTAL_STEPS))
    assert (trainer._best, trainer._measure) == (float('-inf'), SEGMENTATION_MEASURE)


def test_a_row_may_hold_steps_of_a_config_with_other_terms(phantom, tmp_path):
    """Stopped between two rows and continued without one of the terms."""
    train_and_evaluate(light_config(phantom, training__max_minutes=1e-9), tmp_path)
    train_and_evaluate(light_config(phantom, training__max_minutes=1e-9, loss__dice=0.0), tmp_path)
    (row,) = loss_curve(tmp_path)
    assert row['step'] == 2 and np.isfinite([row['loss'], row['term/dice'], row['term/kl']]).all()


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
    states = [final_state(tiny_config(phantom, **fields), workdir) for workdir in (whole, parts)]
    for one, other in zip(*(jax.tree.leaves(state) for state, _ in states), strict=True):
        np.testing.assert_array_equal(one, other)
    state, record = states[0]
    assert set(state.optimizer) == {'segmentation', 'fusion'}
    average, params = (np.concatenate([np.ravel(x) for x in jax.tree.leaves(t)]) for t in (state.average, state.params))
    assert 0 < np.abs(average - params).max() < 0.1
    # What frames alone are measured by is not compared with what pairs are.
    assert record['measure'] == 'dsc_after'
    validations = [row for row in loss_curve(whole) if row['kind'] == 'validation']
    assert (
        record['best'] == validations[-1]['dsc_after']
        and checkpoint_folders.latest_step(whole, checkpoint_folders.BEST) == 6
    )
