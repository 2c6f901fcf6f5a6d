"""Checkpoints of a tiny state: which are kept, who may remove what, and what a failed save says."""

import contextlib
import dataclasses
import logging
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autofuse_jax.errors import UserError
from autofuse_jax.training import checkpoint_folders, checkpoints, storage_words
from autofuse_jax.training.checkpoint_folders import BEST, LATEST
from autofuse_jax.training.state import TrainState

LAYOUT = jax.sharding.SingleDeviceSharding(jax.devices()[0])
STRUCTURE = {'w': jax.ShapeDtypeStruct((4,), np.float32)}


def state_of(step):
    return TrainState(np.int32(step), {'w': jnp.full(4, float(step))}, {'m': jnp.ones(4)}, jax.random.key(0), None)


def bests(workdir):
    return sorted(int(path.name) for path in (workdir / 'checkpoints' / BEST).iterdir())


def loaded(workdir):
    params, record, step = checkpoints.load_params(workdir, STRUCTURE, LAYOUT)
    assert float(params['w'][0]) == step == record['step']
    return step


def save_best(workdir, step):
    checkpoints.save_best(workdir, state_of(step), {'step': step})


def save(workdir, step):
    checkpoints.save(workdir, state_of(step), {'step': step})


def test_after_a_rollback_the_best_of_the_run_that_goes_on_counts(tmp_path):
    save_best(tmp_path, 50)
    with pytest.raises(OSError, match='step 20 was not written.*a later step'):
        save_best(tmp_path, 20)
    assert bests(tmp_path) == [50]
    checkpoint_folders.begin(tmp_path, 10)
    assert bests(tmp_path) == []
    save_best(tmp_path, 20)
    assert loaded(tmp_path) == 20


def test_the_best_of_the_latest_checkpoint_is_kept_until_that_has_caught_up(tmp_path):
    save_best(tmp_path, 10)
    save(tmp_path, 10)
    for step in (12, 14):
        save_best(tmp_path, step)
    # Killed here, training goes on from step 10.
    assert bests(tmp_path) == [10, 14] and loaded(tmp_path) == 14
    checkpoint_folders.begin(tmp_path, 10)
    assert bests(tmp_path) == [10] and loaded(tmp_path) == 10
    save_best(tmp_path, 12)
    save(tmp_path, 12)
    save_best(tmp_path, 14)
    assert bests(tmp_path) == [12, 14]


def test_readers_change_nothing_and_whoever_begins_removes_remains(tmp_path):
    save(tmp_path, 3)
    remains = tmp_path / 'checkpoints' / LATEST / '4.orbax-checkpoint-tmp'
    remains.mkdir()
    before = sorted(tmp_path.rglob('*'))
    assert loaded(tmp_path) == 3
    assert sorted(tmp_path.rglob('*')) == before
    checkpoint_folders.begin(tmp_path, 3)
    assert not remains.exists() and loaded(tmp_path) == 3


def test_a_checkpoint_that_is_replaced_while_it_is_read_is_no_error(tmp_path, monkeypatch):
    save(tmp_path, 3)
    load = checkpoints.ocp.load_checkpointables

    def replaced_before(path, *arguments):
        if path.name == '3':
            save(tmp_path, 5)
        return load(path, *arguments)

    monkeypatch.setattr(checkpoints.ocp, 'load_checkpointables', replaced_before)
    assert loaded(tmp_path) == 5


def test_an_average_that_was_not_kept_before_is_no_damage(tmp_path):
    state = dataclasses.replace(state_of(3), key=jax.random.key_data(jax.random.key(0)))
    checkpoints.save(tmp_path, state, {})
    structure = jax.eval_shape(lambda: state)
    with pytest.raises(UserError, match='holds no average of the parameters.*set optimizer.average_decay to 0'):
        checkpoints.restore(tmp_path, dataclasses.replace(structure, average=structure.params), LAYOUT)
    assert int(checkpoints.restore(tmp_path, structure, LAYOUT)[0].step) == 3


def test_a_damaged_checkpoint_is_still_an_error(tmp_path):
    save(tmp_path, 3)
    (tmp_path / 'checkpoints' / LATEST / '3' / '_CHECKPOINT_METADATA').unlink()
    (tmp_path / 'checkpoints' / LATEST / '3' / 'params' / 'manifest.ocdbt').write_bytes(b'')
    with pytest.raises(UserError, match='cannot be read'):
        loaded(tmp_path)


def test_a_full_disk_is_told_in_one_line_and_the_checkpoint_before_stays(tmp_path):
    """A limit on the size of files stands for the disk."""
    save(tmp_path, 3)
    program = """
import resource, signal, sys
import numpy as np
from autofuse_jax.errors import run_command
from autofuse_jax.training import checkpoints
from autofuse_jax.training.state import TrainState
import jax
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
noise = jax.device_put(np.random.default_rng(0).random(500_000))
state = TrainState(np.int32(4), {'w': noise}, {'m': noise + 1}, jax.random.key(0), None)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
sys.exit(run_command(lambda: checkpoints.save(sys.argv[1], state, {'step': 4})))
"""
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, '-c', program, tmp_path], cwd=root, env=os.environ, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert 'the checkpoint of step 4 could not be written: File too large' in done.stderr
    assert 'Traceback' not in done.stderr and len(done.stderr.strip().splitlines()) == 1
    assert os.listdir(tmp_path / 'checkpoints' / LATEST) == ['3'] and loaded(tmp_path) == 3


@pytest.mark.parametrize('fails', [True, False])
def test_what_the_storage_warns_of_is_told_only_where_the_save_succeeds(fails, monkeypatch):
    """Threads of a save that failed may warn of what they leave undone after the error was raised."""
    logger, told = logging.getLogger(storage_words.STORAGE_LOGGER), []
    monkeypatch.setattr(logger, 'filters', [])
    monkeypatch.setattr(logger, 'handle', lambda record: logger.filter(record) and told.append(record.getMessage()))
    with contextlib.suppress(OSError), storage_words.quiet_storage():
        logger.warning('merge skipped')
        if fails:
            raise OSError('disk full')
    logger.warning('late')
    assert told == ([] if fails else ['merge skipped', 'late'])
