"""A teacher's fields: both directions of a pair, the data they belong to, and what is wrong with a folder."""

import json

import numpy as np
import pytest

from autofuse_jax.data.pair_policies import ed_es_pairs
from autofuse_jax.data.teacher_fields import open_teacher, write_field, write_record
from autofuse_jax.errors import UserError
from tests.data.hand_made import manifest_of, subject, write_data_set

SHAPE = (2, 2, 1)


@pytest.fixture
def manifest(tmp_path):
    (tmp_path / 'data').mkdir()
    return write_data_set(manifest_of(subject('a', 'ED+ ES+'), root=tmp_path / 'data'))


@pytest.fixture
def pairs(manifest):
    return ed_es_pairs(manifest.subjects, frozenset({'a'}))


@pytest.fixture
def root(tmp_path, manifest, pairs):
    root = tmp_path / 'teacher'
    root.mkdir()
    write_field(root, pairs[0].name, np.full((*SHAPE, 3), 0.25))
    write_record(root, manifest, {'velocity_shape': list(SHAPE), 'labelled_subjects': ['a']})
    return root


def test_one_field_serves_both_directions(root, manifest, pairs):
    teacher = open_teacher(root, manifest)
    assert teacher.velocity_shape == SHAPE and teacher.labelled_subjects == {'a'}
    for pair, sign in zip(pairs, (1, -1), strict=True):
        velocity = teacher.load(pair)
        assert velocity.dtype == np.float32 and velocity.shape == (*SHAPE, 3)
        np.testing.assert_array_equal(velocity, sign * 0.25)


def test_a_teacher_of_other_data_is_refused(root, manifest, tmp_path):
    (tmp_path / 'other').mkdir()
    other = write_data_set(manifest_of(subject('a', 'ED+ ES'), root=tmp_path / 'other'))
    with pytest.raises(UserError, match='was made of other data than'):
        open_teacher(root, other)


def test_a_folder_without_a_record_is_no_teacher(tmp_path, manifest):
    with pytest.raises(UserError, match='holds no teacher.json'):
        open_teacher(tmp_path, manifest)


@pytest.mark.parametrize('text', ['{', '[]', '{"format": "other"}'])
def test_a_damaged_record(root, manifest, text):
    (root / 'teacher.json').write_text(text)
    with pytest.raises(UserError, match='make the teacher again'):
        open_teacher(root, manifest)


def test_a_field_that_is_missing_damaged_or_of_another_size(root, manifest, pairs):
    teacher, path = open_teacher(root, manifest), root / f'{pairs[0].name}.npz'
    record = json.loads((root / 'teacher.json').read_text())
    record['velocity_shape'] = [4, 4, 4]
    (root / 'teacher.json').write_text(json.dumps(record))
    with pytest.raises(UserError, match='holds float16'):
        open_teacher(root, manifest).load(pairs[0])
    path.write_bytes(b'no npz')
    with pytest.raises(UserError, match='cannot be read'):
        teacher.load(pairs[0])
    path.unlink()
    with pytest.raises(UserError, match='no field of a_ES_to_ED'):
        teacher.load(pairs[1])
