"""The released format: what is written is read, and files that do not belong together are noticed."""

import json

import numpy as np
import pytest

from autofuse_jax.errors import UserError
from autofuse_jax.weights.released import Description, json_beside, read_arrays, read_released, write_released

PARAMS = {'branch/conv/kernel': np.arange(6, dtype=np.float32).reshape(2, 3), 'branch/conv/bias': np.float32([0.1])}
DESCRIPTION = Description(
    'autofuse', {'base_channels': 2}, {'symmetric': True}, config={'seed': 3}, origin={'date': 'today'}
)


@pytest.fixture
def path(tmp_path):
    write_released(tmp_path / 'params.npz', PARAMS, DESCRIPTION)
    return tmp_path / 'params.npz'


def rewrite(path, **fields):
    beside = json_beside(path)
    beside.write_text(json.dumps(json.loads(beside.read_text()) | fields))


def test_what_is_written_is_read(path):
    params, description = read_released(path)
    assert description == DESCRIPTION
    assert params.keys() == PARAMS.keys()
    for name, array in PARAMS.items():
        np.testing.assert_array_equal(params[name], array)


def test_numpy_and_json_are_enough(path):
    with np.load(path) as file:
        assert file.files == list(PARAMS)
    record = json.loads(json_beside(path).read_text())
    assert record['method'] == 'autofuse' and record['model'] == {'base_channels': 2}
    assert record['normalisation'].startswith('min-max') and record['parameters'] == 7


def test_a_missing_description_is_named(path):
    json_beside(path).unlink()
    with pytest.raises(UserError, match='no description params.json beside it'):
        read_released(path)


def test_another_file_under_the_same_name_is_noticed(path, tmp_path):
    np.savez(path, **PARAMS, more=np.zeros(1))
    with pytest.raises(UserError, match='not the file that params.json describes'):
        read_released(path)


@pytest.mark.parametrize(
    ('fields', 'words'),
    [
        ({'format': 'something'}, 'no description of weights'),
        ({'format_version': 2}, 'format version 2.*version 1'),
        ({'sha256': ''}, 'SHA-256 differs'),
        ({'sha256': None}, 'damaged: sha256 is None'),
        ({'spacing_mm': [1, 'a', 2]}, "spacing_mm.1. is 'a'"),
    ],
)
def test_other_descriptions_are_refused(path, fields, words):
    rewrite(path, **fields)
    with pytest.raises(UserError, match=words):
        read_released(path)


@pytest.mark.parametrize('text', ['{', '[]', '{"method": "autofuse"}'])
def test_descriptions_that_are_none_are_refused(path, text):
    json_beside(path).write_text(text)
    with pytest.raises(UserError, match='params.json is no'):
        read_released(path)


def test_pickled_objects_are_refused(tmp_path):
    np.savez(tmp_path / 'params.npz', weights=np.array([{}], dtype=object))
    with pytest.raises(UserError, match='cannot be read as npz'):
        read_arrays(tmp_path / 'params.npz')


def test_truncated_and_missing_files_are_named(path, tmp_path):
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(UserError, match='params.npz cannot be read as npz'):
        read_released(path)
    np.save(tmp_path / 'one.npy', np.zeros(3))
    (tmp_path / 'one.npy').rename(tmp_path / 'one.npz')
    with pytest.raises(UserError, match='single array'):
        read_arrays(tmp_path / 'one.npz')
    with pytest.raises(UserError, match='there is no file'):
        read_arrays(tmp_path / 'absent.npz')
