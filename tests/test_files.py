import json

import pytest

from autofuse_jax.files import replacing, write_json, write_text


def test_replacing_makes_folders_and_keeps_the_suffixes(tmp_path):
    path = tmp_path / 'a' / 'b' / 'image.nii.gz'
    with replacing(path) as temporary:
        assert temporary.parent == path.parent
        assert temporary.name.endswith('image.nii.gz')
        temporary.write_text('new')
        assert not path.exists()
    assert path.read_text() == 'new'
    assert [entry.name for entry in path.parent.iterdir()] == ['image.nii.gz']


def test_failed_write_keeps_the_old_file_and_leaves_nothing_behind(tmp_path):
    path = tmp_path / 'scores.json'
    path.write_text('old')
    with pytest.raises(OSError, match='disk'), replacing(path) as temporary:
        temporary.write_text('half of the n')
        raise OSError('disk full')
    assert path.read_text() == 'old'
    assert [entry.name for entry in tmp_path.iterdir()] == ['scores.json']


def test_written_files_can_be_read_by_others(tmp_path):
    write_text(tmp_path / 'note.txt', 'grün')
    assert (tmp_path / 'note.txt').read_text(encoding='utf-8') == 'grün'
    assert (tmp_path / 'note.txt').stat().st_mode & 0o777 == 0o644


def test_json_round_trip_and_refusal_of_nan(tmp_path):
    path = tmp_path / 'value.json'
    write_json(path, {'a': [1, 2.5, None]})
    assert json.loads(path.read_text()) == {'a': [1, 2.5, None]}
    with pytest.raises(ValueError, match='JSON'):
        write_json(path, {'a': float('nan')})
    assert json.loads(path.read_text()) == {'a': [1, 2.5, None]}
