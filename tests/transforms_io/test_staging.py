import pytest

from autofuse_jax.errors import UserError
from autofuse_jax.transforms_io.staging import staging


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob('*'))


def test_files_appear_together(tmp_path):
    targets = [tmp_path / 'new' / 'a.txt', tmp_path / 'new' / 'b.txt', tmp_path / 'c.txt']
    with staging(overwrite=False) as stage:
        for target in targets:
            stage.claim(target, 'test')
            stage.temporary(target).write_text(target.name)
            assert stage.temporary(target).name == target.name
            assert not target.exists()
    assert names(tmp_path) == ['c.txt', 'new', 'new/a.txt', 'new/b.txt']
    assert targets[0].read_text() == 'a.txt'


def test_after_an_error_nothing_has_changed(tmp_path):
    old = tmp_path / 'old.txt'
    old.write_text('old')
    with pytest.raises(ZeroDivisionError):
        with staging(overwrite=True) as stage:
            for target in (old, tmp_path / 'made' / 'a.txt'):
                stage.claim(target, 'test')
                stage.temporary(target).write_text('new')
            raise ZeroDivisionError
    assert names(tmp_path) == ['old.txt'] and old.read_text() == 'old'


def test_existing_files_are_replaced_only_when_asked(tmp_path):
    old = tmp_path / 'old.txt'
    old.write_text('old')
    with pytest.raises(UserError, match='old.txt exists.*--overwrite'):
        with staging(overwrite=False) as stage:
            stage.claim(old, 'test')
    with staging(overwrite=True) as stage:
        stage.claim(old, 'test')
        stage.temporary(old).write_text('new')
    assert old.read_text() == 'new'


def test_one_name_for_two_results_is_refused(tmp_path):
    with staging(overwrite=True) as stage:
        stage.claim(tmp_path / 'a.txt', 'x/a.nii')
        with pytest.raises(UserError, match='x/a.nii and y/a.nii would both be written to'):
            stage.claim(tmp_path / '.' / 'a.txt', 'y/a.nii')


def test_folders_and_files_in_the_way(tmp_path):
    (tmp_path / 'file').write_text('')
    with staging(overwrite=True) as stage:
        with pytest.raises(UserError, match='is a folder'):
            stage.claim(tmp_path, 'test')
        with pytest.raises(UserError, match='file is a file.*a folder'):
            stage.claim(tmp_path / 'file' / 'sub' / 'a.txt', 'test')


def test_a_link_that_leads_to_itself_is_told(tmp_path):
    (tmp_path / 'one').symlink_to(tmp_path / 'two')
    (tmp_path / 'two').symlink_to(tmp_path / 'one')
    with pytest.raises(UserError, match='one is a link that leads to itself'), staging(False) as stage:
        stage.claim(tmp_path / 'one' / 'a.txt', 'a')
