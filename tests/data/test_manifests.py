import dataclasses
import json

import pytest

from autofuse_jax.data.manifests import Frame, Manifest, Subject, read_manifest, write_manifest
from autofuse_jax.errors import UserError


def make(root):
    frames = (Frame(1, 'ED', 'a/frame_01.npz', True), Frame(2, '', 'a/frame_02.npz', False))
    subjects = (Subject('a', 'train', 'DCM', frames), Subject('b', 'test', '', frames[:1]))
    return Manifest(root, 'acdc', (8, 8, 4), (1.5, 1.5, 3.15), {0: 'background', 1: 'x'}, subjects, {'fit': 'crop'})


def test_round_trip(tmp_path):
    manifest = make(tmp_path)
    path = write_manifest(manifest)
    assert read_manifest(tmp_path) == read_manifest(path) == manifest


def test_the_largest_label_of_32_bits_is_a_structure(tmp_path):
    manifest = dataclasses.replace(make(tmp_path), original_classes={2**31 - 1: 'label 2147483647'})
    write_manifest(manifest)
    assert read_manifest(tmp_path).original_classes == manifest.original_classes


def test_lookups(tmp_path):
    manifest = make(tmp_path)
    assert [subject.id for subject in manifest.subjects_of('train')] == ['a']
    assert manifest.subjects_of('validation') == ()
    assert manifest.subjects[0].frame_of_phase('ED').index == 1
    assert manifest.subjects[0].frame_of_phase('ES') is None


def test_no_manifest_names_the_command(tmp_path):
    with pytest.raises(UserError, match='autofuse_jax.prepare'):
        read_manifest(tmp_path)


@pytest.mark.parametrize('content', ['{"format": ', '[]', '{}', '{"format": "autofuse_jax manifest", "version": 99}'])
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / 'manifest.json').write_text(content)
    with pytest.raises(UserError, match='prepare the data again'):
        read_manifest(tmp_path)


def test_every_missing_or_wrong_entry_is_noticed(tmp_path):
    path = write_manifest(make(tmp_path))
    good = json.loads(path.read_text())
    bad = [
        {key: value for key, value in good.items() if key != left} for left in good if left not in ('format', 'version')
    ]
    bad += [good | change for change in ({'shape': [8, 8]}, {'classes': {'0': 'a', '2': 'b'}}, {'subjects': [{}]})]
    bad += [good | {'subjects': [good['subjects'][0] | {'split': 'training'}]}]
    for record in bad:
        path.write_text(json.dumps(record))
        with pytest.raises(UserError, match='incomplete or damaged'):
            read_manifest(tmp_path)


def test_entries_cannot_be_changed(tmp_path):
    with pytest.raises(dataclasses.FrozenInstanceError):
        make(tmp_path).dataset = 'other'
