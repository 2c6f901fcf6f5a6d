"""A checkpoint that was damaged on disk is told, whatever part of it; one without checksums still loads."""

import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autofuse_jax.errors import UserError
from autofuse_jax.training import checkpoints
from autofuse_jax.training.checksums import DamageError, check_arrays, opened, sealed
from autofuse_jax.training.state import TrainState

RECORD = {'best': 0.5, 'data': {'epoch': 3, 'position': (1, 2)}, 'config': {'seed': 7}, 'train_seconds': 1.25}
FLIPS = 24


@pytest.fixture(scope='module')
def layout():
    return jax.sharding.SingleDeviceSharding(jax.devices()[0])


def example_state():
    rng = np.random.default_rng(0)
    params = {'conv': {'kernel': rng.normal(size=(8, 9, 10)), 'bias': rng.normal(size=10)}, 'scale': 1.5}
    params = jax.tree.map(lambda values: jnp.asarray(values, jnp.float32), params)
    moments = (jnp.asarray(3, jnp.int32), jax.tree.map(jnp.zeros_like, params))
    return TrainState(jnp.asarray(5, jnp.int32), params, {'main': moments}, jnp.asarray([1, 2], jnp.uint32))


def same(tree, other):
    return all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(tree), jax.tree.leaves(other), strict=True))


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp('run')
    checkpoints.save(folder, example_state(), RECORD)
    return folder


def test_what_was_saved_comes_back_without_the_checksums(workdir, layout):
    state, record = checkpoints.restore(workdir, jax.eval_shape(lambda: example_state()), layout)
    assert same(state, example_state())
    assert record == RECORD | {'data': {'epoch': 3, 'position': [1, 2]}}


def test_no_flipped_bit_of_a_checkpoint_loads_as_something_else(workdir, layout, tmp_path):
    structure, rng = jax.eval_shape(lambda: example_state()), np.random.default_rng(0)
    files = sorted(path.relative_to(workdir) for path in workdir.rglob('*') if path.is_file())
    # Every file, and most often the largest, which holds the values.
    sizes = np.array([(workdir / file).stat().st_size for file in files])
    told = 0
    for turn in range(FLIPS):
        file = files[turn] if turn < len(files) else files[int(sizes.argmax())]
        shutil.copytree(workdir, tmp_path / str(turn))
        content = bytearray((tmp_path / str(turn) / file).read_bytes())
        content[rng.integers(len(content))] ^= 1 << rng.integers(8)
        (tmp_path / str(turn) / file).write_bytes(content)
        try:
            state, record = checkpoints.restore(tmp_path / str(turn), structure, layout)
        except UserError as error:
            assert 'cannot be read' in str(error) or 'no checkpoint' in str(error) or 'holds other' in str(error), file
            told += 1
        else:
            assert same(state, example_state()) and record['best'] == RECORD['best'], file
    # Some bits change nothing that is read, such as the date.
    assert told >= FLIPS // 2


def test_a_flipped_value_is_told_by_the_name_of_its_array():
    arrays = {'params': {'kernel': np.arange(6.0).reshape(2, 3)}, 'list': [np.zeros(2)]}
    record, checksums = opened(sealed({'step': 1}, arrays))
    assert record == {'step': 1} and sorted(checksums) == ['list/0', 'params/kernel']
    check_arrays(arrays, checksums)
    check_arrays({'params': arrays['params']}, checksums)
    arrays['params']['kernel'].reshape(-1).view(np.uint8)[17] ^= 4
    with pytest.raises(DamageError, match='the checksum of params/kernel differs'):
        check_arrays(arrays, checksums)
    with pytest.raises(DamageError, match='kernel'):
        check_arrays({'params': {'kernel': np.arange(6.0).reshape(3, 2)}}, checksums)


@pytest.mark.parametrize('change', ['value', 'record_checksum', 'array_checksums', 'added'])
def test_a_changed_record_is_told(change):
    record = sealed({'best': 0.5}, {'a': np.zeros(3)})
    if change in record:
        record[change + '_'] = record.pop(change)
    else:
        record['best' if change == 'value' else 'more'] = 0.25
    with pytest.raises(DamageError, match='its record'):
        opened(record)


def test_types_of_low_precision_have_checksums():
    arrays = {'a': jnp.arange(4, dtype=jnp.bfloat16)}
    _, checksums = opened(sealed({}, arrays))
    check_arrays(arrays, checksums)
    with pytest.raises(DamageError):
        check_arrays({'a': arrays['a'].at[0].set(1)}, checksums)


def test_checkpoints_from_before_there_were_checksums_load(tmp_path, layout, monkeypatch):
    monkeypatch.setattr(checkpoints, 'sealed', lambda record, arrays: record)
    checkpoints.save(tmp_path, example_state(), RECORD)
    state, record = checkpoints.restore(tmp_path, jax.eval_shape(lambda: example_state()), layout)
    assert same(state, example_state()) and record['best'] == 0.5
