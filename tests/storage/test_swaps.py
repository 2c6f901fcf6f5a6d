import json
import os

import pytest

from autofuse_jax.errors import UserError
from autofuse_jax.storage import ready, swaps, temporary
from autofuse_jax.storage.owners import this_process
from autofuse_jax.storage.swaps import recover_folder, replacing_folder
from autofuse_jax.storage.temporary import remove_leftovers_in, temporary_path

LAST = 'report.json'


def content(folder):
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob('*')) if path.is_file()}


def fill(folder, files):
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def replace(folder, files, earlier=(), **options):
    with replacing_folder(folder, LAST, earlier=[folder / name for name in earlier], **options) as place:
        fill(place, files)


@pytest.fixture(params=['exchange', 'two renames', 'in place', 'disk of its own', 'inside'])
def folder(request, tmp_path, monkeypatch):
    """A folder of results, of each kind that is replaced in another way."""
    folder = tmp_path / 'results'
    fill(folder, {'a': 'old', 'old_only': 'old', LAST: 'old', 'own/note': 'mine'})
    if request.param == 'two renames':
        monkeypatch.setattr(swaps, '_rename_both', lambda *_: False)
    if request.param in ('in place', 'disk of its own'):
        monkeypatch.setattr(swaps, '_can_be_exchanged', lambda _: False)
    if request.param == 'inside':
        monkeypatch.chdir(folder)
    return folder


def test_new_results_take_the_place_of_earlier_ones_and_other_files_stay(folder):
    replace(folder, {'a': 'new', 'sub/b': 'new', LAST: 'new'}, earlier=['a', 'old_only', LAST])
    assert content(folder) == {'a': 'new', 'sub/b': 'new', LAST: 'new', 'own/note': 'mine'}
    assert [path.name for path in folder.parent.iterdir()] == ['results']


def test_a_failure_leaves_everything_as_it_was(folder):
    before = content(folder)
    with pytest.raises(OSError, match='disk'), replacing_folder(folder, LAST, earlier=[folder / 'a']) as place:
        fill(place, {'a': 'half'})
        raise OSError('the disk is full')
    assert content(folder) == before
    assert [path.name for path in folder.parent.iterdir()] == ['results']


def test_a_new_folder_appears_at_once(tmp_path):
    with replacing_folder(tmp_path / 'deep' / 'results', LAST) as place:
        fill(place, {'a': 'x', LAST: 'x'})
        assert [path.name for path in place.parent.iterdir()] == [place.name]
    assert content(tmp_path) == {'deep/results/a': 'x', 'deep/results/report.json': 'x'}


def test_a_link_to_the_folder_stays_a_link(tmp_path):
    fill(tmp_path / 'disk', {'a': 'old', LAST: 'old'})
    (tmp_path / 'results').symlink_to('disk')
    replace(tmp_path / 'results', {'a': 'new', LAST: 'new'}, earlier=['a', LAST])
    assert (tmp_path / 'results').is_symlink() and content(tmp_path / 'disk') == {'a': 'new', LAST: 'new'}


def test_permissions_of_the_folder_stay(tmp_path):
    fill(tmp_path / 'results', {LAST: 'old'})
    (tmp_path / 'results').chmod(0o750)
    replace(tmp_path / 'results', {LAST: 'new'}, earlier=[LAST])
    assert (tmp_path / 'results').stat().st_mode & 0o777 == 0o750


def test_the_folder_of_others_is_filled_in_place(tmp_path):
    fill(tmp_path, {'thesis.tex': 'mine', LAST: 'old'})
    inode = tmp_path.stat().st_ino
    replace(tmp_path, {'net.bin': 'new', LAST: 'new'}, in_place=True)
    assert content(tmp_path) == {'thesis.tex': 'mine', 'net.bin': 'new', LAST: 'new'}
    assert tmp_path.stat().st_ino == inode


@pytest.fixture
def ended(monkeypatch):
    """Make names as a process that has ended: of this number, started at another time."""
    own = this_process()
    other = type(own)(own.machine, own.process, own.started + '1')
    monkeypatch.setattr(temporary, 'this_process', lambda: other)
    return monkeypatch.undo


def test_leftovers_of_ended_processes_go_and_those_of_live_ones_stay(tmp_path, ended):
    folder = tmp_path / 'results'
    folder.mkdir()
    gone = [temporary_path(folder), temporary_path(tmp_path / 'other'), temporary_path(folder / 'x.npz')]
    ended()
    kept = [temporary_path(folder), temporary_path(folder / 'x.npz')]
    for path in gone + kept:
        path.mkdir()
        (path / 'a').write_text('a')
    recover_folder(folder)
    # That of another folder is for those who write there.
    assert [path.exists() for path in gone] == [False, True, False]
    assert all(path.exists() for path in kept)
    remove_leftovers_in(tmp_path)
    assert not any(path.exists() for path in gone) and all(path.exists() for path in kept)


def test_what_cannot_be_known_is_left_over_after_a_day(tmp_path):
    fresh, old = tmp_path / '.writing-abc', tmp_path / '.writing-00000000-1-1-abcdef-x'
    for path in (fresh, old):
        path.write_text('')
    os.utime(old, (0, 0))
    remove_leftovers_in(tmp_path)
    assert fresh.exists() and not old.exists()


@pytest.mark.parametrize(
    ('plan', 'problem'),
    [
        ('{"last": "report.json", "removed": ["../thesis.tex"]}', r'removed\[0\].*a path without'),
        ('{"last": "../thesis.tex", "removed": []}', r'last.*a path without'),
        ('{"last": "report.json", "removed": ["THESIS"]}', r'removed\[0\].*a path without'),
        ('{"last": "report.json"}', 'removed'),
        ('[]', 'an object'),
        ('{"last"', 'JSON'),
    ],
)
def test_a_plan_of_others_reaches_nothing_outside(tmp_path, ended, plan, problem):
    folder, thesis = tmp_path / 'results', tmp_path / 'thesis.tex'
    fill(tmp_path, {'thesis.tex': 'mine', f'results/{LAST}': 'old'})
    waiting = temporary_path(folder, temporary.READY_PREFIX, folder)
    fill(waiting, {LAST: 'theirs', ready.PLAN_NAME: plan.replace('THESIS', str(thesis))})
    ended()
    with pytest.raises(UserError, match=problem) as raised:
        recover_folder(folder)
    assert f'look at {waiting}' in str(raised.value)
    assert thesis.read_text() == 'mine' and (folder / LAST).read_text() == 'old'


def test_a_plan_of_others_follows_no_link_outside(tmp_path, ended):
    folder = tmp_path / 'results'
    fill(tmp_path, {'home/thesis.tex': 'mine', f'results/{LAST}': 'old'})
    (folder / 'sub').symlink_to(tmp_path / 'home')
    waiting = temporary_path(folder, temporary.READY_PREFIX, folder)
    fill(waiting, {LAST: 'new', ready.PLAN_NAME: '{"last": "report.json", "removed": ["sub/thesis.tex"]}'})
    ended()
    recover_folder(folder)
    assert content(tmp_path / 'home') == {'thesis.tex': 'mine'} and (folder / LAST).read_text() == 'new'
    assert not waiting.exists()


def test_a_plan_of_others_moves_nothing_elsewhere_that_does_not_wait_for_it(tmp_path, ended):
    folder, home = tmp_path / 'results', tmp_path / 'home'
    folder.mkdir()
    home.mkdir()
    stranger = temporary_path(home, temporary.READY_PREFIX, home)
    fill(stranger, {'thesis.tex': 'another', ready.PLAN_NAME: '{"last": "thesis.tex", "removed": []}'})
    fill(home, {'thesis.tex': 'mine'})
    waiting = temporary_path(folder, temporary.READY_PREFIX, folder)
    others = json.dumps([str(stranger), str(home)])
    fill(waiting, {LAST: 'new', ready.PLAN_NAME: f'{{"last": "{LAST}", "removed": [], "others": {others}}}'})
    recover_folder(folder)
    assert content(folder) == {LAST: 'new'}
    assert (home / 'thesis.tex').read_text() == 'mine' and (stranger / 'thesis.tex').read_text() == 'another'
