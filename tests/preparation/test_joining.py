import dataclasses

import pytest

from autofuse_jax.data.manifests import read_manifest, write_manifest
from autofuse_jax.data.prepared import load_frame
from autofuse_jax.errors import UserError
from autofuse_jax.preparation.joining import join_data_sets
from tests.data.hand_made import manifest_of, subject, write_data_set


def data_set(root, name, *subjects, **fields):
    manifest = write_data_set(manifest_of(*subjects, root=root / name, shape=(6, 4, 4)))
    manifest = dataclasses.replace(manifest, dataset=name, **fields)
    write_manifest(manifest)
    return root / name


def test_joined_data_sets_are_read_from_where_they_are(tmp_path):
    one = data_set(tmp_path, 'oasis', subject('a', '-+'), subject('b', '-+', split='test'), pairs=(('a', 'b'),))
    other = data_set(tmp_path, 'ixi', subject('a', '-'))
    write_manifest(join_data_sets([one, other], tmp_path / 'all'))
    manifest = read_manifest(tmp_path / 'all')
    assert manifest.dataset == 'oasis+ixi'
    assert [(entry.id, entry.split, entry.frames[0].has_labels) for entry in manifest.subjects] == [
        ('oasis-a', 'train', True),
        ('oasis-b', 'test', True),
        ('ixi-a', 'train', False),
    ]
    assert manifest.subjects[2].frames[0].file == '../ixi/a/frame_01.npz'
    assert manifest.pairs == (('oasis-a', 'oasis-b'),)
    assert load_frame(manifest, manifest.subjects[0].frames[0]).labels.any()
    assert load_frame(manifest, manifest.subjects[2].frames[0]).labels is None
    assert str(tmp_path) not in (tmp_path / 'all' / 'manifest.json').read_text()


def test_files_outside_are_those_that_a_joined_data_set_lists(tmp_path):
    one, other = (data_set(tmp_path, name, subject('a', '-+')) for name in ('oasis', 'ixi'))
    (tmp_path / 'private.npz').write_bytes((other / 'a' / 'frame_01.npz').read_bytes())
    write_manifest(join_data_sets([one, other], tmp_path / 'all'))
    path = tmp_path / 'all' / 'manifest.json'
    text = path.read_text()
    absolute = str(tmp_path / 'ixi')
    for old, new in (
        ('"../ixi/a/frame_01.npz"', '"../private.npz"'),
        ('"../ixi/a/frame_01.npz"', '"../ixi/a/../../private.npz"'),
        ('../ixi', absolute),
        ('"ixi": "../ixi"', '"ixi": "."'),
        ('"folders"', '"other"'),
    ):
        assert old in text
        path.write_text(text.replace(old, new))
        with pytest.raises(UserError, match='names the file'):
            read_manifest(tmp_path / 'all')
    # A data set that joins itself through another one.
    path.write_text(text)
    inner = one / 'manifest.json'
    listed = inner.read_text().replace('"a/frame_01.npz"', '"../all/../oasis/a/frame_01.npz"')
    inner.write_text(listed.replace('"settings"', '"folders": {"all": "../all"}, "settings"', 1))
    with pytest.raises(UserError, match='names the file'):
        read_manifest(tmp_path / 'all')


def test_original_labels_of_one_convention_are_joined(tmp_path):
    one = data_set(tmp_path, 'one', subject('a', '-+'), original_classes={1: 'left', 2: 'right'})
    other = data_set(tmp_path, 'other', subject('a', '-+'), original_classes={2: 'right', 5: 'stem'})
    assert join_data_sets([one, other], tmp_path).original_classes == {1: 'left', 2: 'right', 5: 'stem'}


@pytest.mark.parametrize(
    ('fields', 'words'),
    [
        ({'spacing': (1.0, 1.0, 2.0)}, 'another spacing'),
        ({'classes': {0: 'background', 1: 'brain'}}, 'another classes'),
        ({'original_classes': {1: 'right'}}, "label 1 is 'left' in one data set and 'right'"),
    ],
)
def test_data_sets_that_do_not_fit(tmp_path, fields, words):
    one = data_set(tmp_path, 'one', subject('a', '-+'), original_classes={1: 'left'})
    other = data_set(tmp_path, 'other', subject('a', '-+'), **fields)
    with pytest.raises(UserError, match=words):
        join_data_sets([one, other], tmp_path / 'all')


def test_one_data_set_or_the_same_twice(tmp_path):
    one = data_set(tmp_path, 'one', subject('a', '-+'))
    for roots in ([one], [one, one]):
        with pytest.raises(UserError, match='two or more of different names'):
            join_data_sets(roots, tmp_path / 'all')


def test_manifest_refuses_a_name_for_the_background(tmp_path):
    root = data_set(tmp_path, 'one', subject('a', '-+'), original_classes={0: 'nothing'})
    with pytest.raises(UserError, match='original class 0'):
        read_manifest(root)


def test_scored_classes_are_the_original_ones_where_there_are_any():
    manifest = manifest_of(subject('a', '-+'))
    assert manifest.scored_classes == manifest.classes
    assert dataclasses.replace(manifest, original_classes={7: 'x'}).scored_classes == {0: 'background', 7: 'x'}
