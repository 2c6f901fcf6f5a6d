"""The command that makes a teacher: its files, what guides, and a repetition that keeps what is there."""

import dataclasses
import json

import numpy as np
import pytest

from autofuse_jax.commands import teach as command
from autofuse_jax.data.manifests import read_manifest
from autofuse_jax.data.pair_policies import ed_es_pairs
from autofuse_jax.data.phantom import make_phantom_dataset
from autofuse_jax.data.teacher_fields import RECORD_NAME, open_teacher
from autofuse_jax.errors import UserError
from autofuse_jax.preparation import teacher

SHAPE = (32, 32, 16)
FEW = dataclasses.replace(teacher.SETTINGS, shrink=(2,), steps=(10,))


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp('phantom')
    make_phantom_dataset(root, train=2, validation=1, test=0, frames=4, shape=SHAPE, spacing=(4.0, 4.0, 8.0), seed=0)
    return root


@pytest.fixture
def few_steps(monkeypatch):
    monkeypatch.setattr(teacher, 'SETTINGS', FEW)


def test_a_teacher_of_labels(data, tmp_path, few_steps, capsys):
    out = tmp_path / 'teacher'
    assert command.main([f'--data={data}', f'--out={out}', '--labels']) == 0
    manifest = read_manifest(data)
    teacher = open_teacher(out, manifest)
    subjects = manifest.subjects_of('train')
    assert teacher.labelled_subjects == {subject.id for subject in subjects}
    assert teacher.velocity_shape == (8, 8, 8)
    pairs = ed_es_pairs(subjects, teacher.labelled_subjects)
    for forward, backward in zip(pairs[::2], pairs[1::2], strict=True):
        velocity = teacher.load(forward)
        np.testing.assert_array_equal(teacher.load(backward), -velocity)
        assert np.abs(velocity).max() > 0.05
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(subjects)
    # Each line ends with the DSC before and after.
    for line in lines:
        before, after = (float(word) for word in line.replace(' %', '').split('DSC ')[1].split(' -> '))
        assert after > before + 1


@pytest.mark.slow
def test_without_labels_none_take_part(data, tmp_path, few_steps):
    out = tmp_path / 'teacher'
    assert command.main([f'--data={data}', f'--out={out}']) == 0
    assert open_teacher(out, read_manifest(data)).labelled_subjects == frozenset()


def test_a_repetition_keeps_what_is_there(data, tmp_path, few_steps, capsys):
    out = tmp_path / 'teacher'
    teacher.teach(data, out)
    first, *_ = sorted(out.glob('*.npz'))
    before = first.stat().st_mtime_ns
    (out / RECORD_NAME).unlink()
    capsys.readouterr()
    teacher.teach(data, out)
    assert first.stat().st_mtime_ns == before and capsys.readouterr().out == ''
    assert json.loads((out / RECORD_NAME).read_text())['settings'] == json.loads(json.dumps(dataclasses.asdict(FEW)))


def test_a_damaged_field_of_an_earlier_run_is_one_line(data, tmp_path):
    manifest = read_manifest(data)
    pairs = ed_es_pairs(manifest.subjects_of('train'), frozenset())[::2]
    for pair in pairs:
        (tmp_path / f'{pair.name}.npz').write_bytes(b'PK')
    with pytest.raises(UserError, match='cannot be read'):
        teacher._teach_pairs(tmp_path, manifest, pairs, {})
    assert not (tmp_path / RECORD_NAME).exists()


def test_wrong_data_is_one_line(tmp_path, capsys):
    assert command.main([f'--data={tmp_path}', f'--out={tmp_path / "out"}']) == 2
    assert capsys.readouterr().err.startswith('error: ')


def test_fields_of_other_settings_are_not_taken_for_these(data, tmp_path, few_steps, capsys):
    out = tmp_path / 'teacher'
    teacher.teach(data, out)
    assert command.main([f'--data={data}', f'--out={out}', '--labels']) == 2
    error = capsys.readouterr().err
    # The command has no --overwrite to add.
    assert 'was prepared with other settings (labelled_subjects: []' in error and 'overwrite' not in error
