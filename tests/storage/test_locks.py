import errno
import json
import os
import socket
import subprocess
import sys
import threading

import pytest

from autofuse_jax.storage import lock_files, locks, owners
from autofuse_jax.storage.locks import InUseError, locked
from autofuse_jax.storage.owners import Life, Owner, this_process


@pytest.fixture
def haste(monkeypatch):
    for name, seconds in (('BEAT_SECONDS', 0.02), ('PATIENCE_SECONDS', 0.3), ('LOOK_SECONDS', 0.05)):
        monkeypatch.setattr(locks, name, seconds)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def ended_process():
    """Owner of a process that is no more."""
    child = subprocess.Popen([sys.executable, '-c', 'input()'], stdin=subprocess.PIPE)
    owner = owners._owner(child.pid)
    child.communicate(b'\n')
    return owner


def lock_of(owner, **fields):
    record = {'machine': owner.machine, 'process': owner.process, 'started': owner.started, 'host': 'there'}
    return json.dumps(record | {'command': 'autofuse-jax evaluate', 'since': 'noon'} | fields)


def test_this_process_runs_and_one_that_was_killed_does_not():
    assert this_process().life() == Life.RUNS
    child = subprocess.Popen([sys.executable, '-c', 'input()'], stdin=subprocess.PIPE)
    owner = owners._owner(child.pid)
    assert owner.life() == Life.RUNS
    child.kill()
    # Its parent has not asked for it yet.
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert owner.life() == Life.ENDED
    child.communicate()
    assert owner.life() == Life.ENDED


def test_a_number_that_was_given_again_is_another_process():
    own = this_process()
    assert Owner(own.machine, own.process, own.started + '1').life() == Life.ENDED
    assert Owner('0' * 8, own.process, own.started).life() == Life.UNKNOWN


@pytest.mark.parametrize('beside', [False, True])
def test_the_second_is_told_who_has_the_folder(tmp_path, beside):
    folder = tmp_path / 'run'
    with locked(folder, beside=beside):
        assert folder.exists() != beside
        with pytest.raises(
            InUseError, match=rf'run is in use by ".*" \(process {os.getpid()} on {socket.gethostname()}, '
        ):
            with locked(folder, beside=beside):
                pass
    # Nothing stays, and folders that stayed empty go.
    assert names(tmp_path) == []
    with locked(folder, beside=beside):
        pass


def test_nothing_stays_of_folders_that_were_made_for_a_file_that_was_not_written(tmp_path):
    with locked(tmp_path / 'new' / 'folder' / 'net.npz', beside=True):
        assert (tmp_path / 'new' / 'folder').is_dir()
    assert list(tmp_path.iterdir()) == []


def test_what_was_made_in_the_folder_stays(tmp_path):
    with locked(tmp_path / 'run'):
        (tmp_path / 'run' / 'x').write_text('x')
    assert names(tmp_path / 'run') == ['x']


@pytest.mark.parametrize('content', [None, '', '{"half', '[]', '[' * 100_000, {'process': '\0'}, {'machine': None}])
def test_the_lock_of_an_ended_process_is_taken_over(tmp_path, haste, content):
    if isinstance(content, dict):
        # Values of other types, in a file that was damaged.
        content = json.dumps(json.loads(lock_of(ended_process())) | content)
    (tmp_path / '.lock').write_text(lock_of(ended_process()) if content is None else content)
    with locked(tmp_path) as lock:
        lock.confirm()
        assert json.loads((tmp_path / '.lock').read_text())['process'] == os.getpid()
        assert names(tmp_path) == ['.lock']
    assert names(tmp_path) == []


def test_the_lock_of_another_machine_is_taken_over_only_without_signs_of_life(tmp_path, haste, capsys):
    path = tmp_path / '.lock'
    path.write_text(lock_of(Owner('0' * 8, 1, '1')))
    end = threading.Event()

    def live():
        while not end.wait(0.03):
            os.utime(path)

    thread = threading.Thread(target=live)
    thread.start()
    try:
        with pytest.raises(InUseError, match=r'"autofuse-jax evaluate" \(process 1 on there, since noon\)'):
            with locked(tmp_path):
                pass
    finally:
        end.set()
        thread.join()
    assert 'looking for a sign of life' in capsys.readouterr().err
    with locked(tmp_path):
        assert json.loads(path.read_text())['process'] == os.getpid()


def test_a_held_lock_shows_signs_of_life_and_notices_its_loss(tmp_path, haste):
    path = tmp_path / '.lock'
    with locked(tmp_path) as lock:
        os.utime(path, (0, 0))
        for _ in range(100):
            if path.stat().st_mtime > 0:
                break
            threading.Event().wait(0.02)
        assert path.stat().st_mtime > 0
        lock.confirm()
        path.write_text(lock_of(Owner('0' * 8, 1, '1')))
        with pytest.raises(InUseError, match='not locked by this process any more, but by "autofuse-jax evaluate"'):
            lock.confirm()
    # It is another's now.
    assert names(tmp_path) == ['.lock']


def test_signs_of_life_go_on_after_an_error_of_the_file_server(tmp_path, haste, monkeypatch):
    read, failed, again = locks.read_lock, threading.Event(), threading.Event()

    def stale_once(path):
        if threading.current_thread() is threading.main_thread():
            return read(path)
        if not failed.is_set():
            failed.set()
            raise OSError(errno.ESTALE, 'Stale file handle', str(path))
        again.set()
        return read(path)

    monkeypatch.setattr(locks, 'read_lock', stale_once)
    with locked(tmp_path / 'run'):
        assert failed.wait(10) and again.wait(10)


def test_shares_exclude_the_whole_and_themselves_only(tmp_path):
    with locked(tmp_path, share='1-of-2'), locked(tmp_path, share='2-of-2'):
        for share in ('', '1-of-2'):
            with pytest.raises(InUseError):
                with locked(tmp_path, share=share):
                    pass
        assert names(tmp_path) == ['.lock-1-of-2', '.lock-2-of-2']
    with locked(tmp_path):
        with pytest.raises(InUseError):
            with locked(tmp_path, share='1-of-2'):
                pass


def test_without_links_a_lock_excludes_as_well(tmp_path, monkeypatch):
    def no_links(*_):
        raise PermissionError(1, 'Operation not permitted')

    monkeypatch.setattr(os, 'link', no_links)
    with locked(tmp_path):
        with pytest.raises(InUseError):
            with locked(tmp_path):
                pass
    assert names(tmp_path) == []


def test_where_nothing_may_be_made_beside_the_lock_lies_inside(tmp_path, monkeypatch):
    folder = tmp_path / 'disk'
    folder.mkdir()
    make = lock_files.make_temporary_file

    def make_inside(path):
        if path.parent == tmp_path:
            raise PermissionError(13, 'Permission denied')
        return make(path)

    monkeypatch.setattr(lock_files, 'make_temporary_file', make_inside)
    with locked(folder, beside=True):
        assert names(folder) == ['.lock']
    assert names(folder) == []


def test_of_many_that_take_over_at_once_one_holds_the_lock(tmp_path):
    """Each process holds it for a moment, in which no other may be inside."""
    text = """
import sys, time
from pathlib import Path
from autofuse_jax.storage.locks import InUseError, locked
place = Path(sys.argv[1])
print('ready', flush=True)
input()
try:
    with locked(place):
        (place / 'inside').mkdir()
        time.sleep(0.3)
        (place / 'inside').rmdir()
        print('held')
except InUseError:
    print('refused')
"""
    (tmp_path / '.lock').write_text(lock_of(ended_process()))
    command = [sys.executable, '-c', text, str(tmp_path)]
    children = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    for child in children:
        child.stdout.readline()
    for child in children:
        child.stdin.write('\n')
        child.stdin.flush()
    outcomes = [child.communicate()[0].strip() for child in children]
    assert set(outcomes) <= {'held', 'refused'} and 'held' in outcomes
    assert names(tmp_path) == []
