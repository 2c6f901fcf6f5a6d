import json
import os
from pathlib import Path

import pytest

from autofuse_jax.errors import UserError
from autofuse_jax.files import (
    check_file_names,
    claim_folder,
    listed_files,
    replacing,
    write_json,
    write_text,
)
from autofuse_jax.storage.swaps import replacing_folder


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


@pytest.mark.parametrize('umask', [0o022, 0o027, 0o077, 0o002])
def test_written_files_have_the_permissions_of_the_umask(tmp_path, umask):
    earlier = os.umask(umask)
    try:
        write_text(tmp_path / 'note.txt', 'grün')
        with replacing_folder(tmp_path / 'results', 'x') as temporary:
            write_text(temporary / 'x', 'x')
    finally:
        os.umask(earlier)
    assert (tmp_path / 'note.txt').read_text(encoding='utf-8') == 'grün'
    assert (tmp_path / 'note.txt').stat().st_mode & 0o777 == 0o666 & ~umask
    assert (tmp_path / 'results').stat().st_mode & 0o777 == 0o777 & ~umask
    assert (tmp_path / 'results' / 'x').stat().st_mode & 0o777 == 0o666 & ~umask


def test_json_round_trip_and_refusal_of_nan(tmp_path):
    path = tmp_path / 'value.json'
    write_json(path, {'a': [1, 2.5, None]})
    assert json.loads(path.read_text()) == {'a': [1, 2.5, None]}
    with pytest.raises(ValueError, match='JSON'):
        write_json(path, {'a': float('nan')})
    assert json.loads(path.read_text()) == {'a': [1, 2.5, None]}


def test_new_and_empty_folders_are_free(tmp_path):
    claim_folder(tmp_path / 'new' / 'deep')
    claim_folder(tmp_path, record='report.json', only_own=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('place', ['file', 'file/below'])
def test_a_file_is_no_folder_whatever_the_command_does_with_what_is_there(tmp_path, place):
    (tmp_path / 'file').write_text('')
    with pytest.raises(UserError, match='file is a file.*correct --workdir'):
        claim_folder(tmp_path / place, continues=True, option='--workdir')


def test_what_is_there_is_replaced_only_where_that_is_asked_for(tmp_path):
    (tmp_path / 'thesis.tex').write_text('mine')
    with pytest.raises(UserError, match='exists and is not empty.*--overwrite'):
        claim_folder(tmp_path, record='report.json')
    claim_folder(tmp_path, continues=True)
    claim_folder(tmp_path, overwrite=True, record='report.json')
    with pytest.raises(UserError, match='no report.json of earlier results'):
        claim_folder(tmp_path, overwrite=True, record='report.json', only_own=True)
    write_json(tmp_path / 'report.json', {'files': []})
    claim_folder(tmp_path, overwrite=True, record='report.json', only_own=True)


@pytest.mark.parametrize('content', ['{', '[]', '{}', '{"files": 3}', '{"files": [3]}'])
def test_a_record_of_something_else_is_not_overwritten(tmp_path, content):
    (tmp_path / 'report.json').write_text(content)
    with pytest.raises(UserError, match='report.json is no record of results of this program'):
        claim_folder(tmp_path, overwrite=True, record='report.json')


def test_listed_files_stay_inside_their_folder(tmp_path):
    write_json(tmp_path / 'report.json', {'files': ['a.txt', 'sub/b.txt', '../c.txt', '/etc/d.txt', '.']})
    assert listed_files(tmp_path / 'report.json') == {tmp_path / 'a.txt', tmp_path / 'sub' / 'b.txt'}
    assert listed_files(tmp_path / 'absent.json') == set()


def test_a_folder_that_cannot_be_written_is_refused_at_once(tmp_path):
    for folder in (Path('/proc/x/out'), Path('/proc')):
        with pytest.raises(UserError, match='cannot be written: nothing can be made in /proc .*correct --out'):
            claim_folder(folder, continues=True)
    claim_folder(tmp_path / 'deep' / 'er')
    assert list(tmp_path.iterdir()) == []


def test_names_up_to_the_longest_can_be_written(tmp_path):
    name = 'ü' * 120 + '.nii.gz'
    check_file_names([name])
    with replacing(tmp_path / name) as temporary:
        temporary.write_text('x')
    with replacing_folder(tmp_path / ('a' * 255), 'x') as temporary:
        (temporary / 'x').write_text('x')
    with pytest.raises(UserError, match=r'257 bytes.*at most 255 bytes'):
        check_file_names(['ü' * 125 + '.nii.gz'])


def test_file_names_that_are_no_text_can_be_written_down(tmp_path):
    latin = os.fsdecode(b'M\xfcller')
    write_text(tmp_path / 'page.html', latin)
    assert (tmp_path / 'page.html').read_text(encoding='utf-8') == 'M\\udcfcller'
    write_json(tmp_path / 'value.json', {'file': latin})
    assert json.loads((tmp_path / 'value.json').read_text())['file'] == latin
