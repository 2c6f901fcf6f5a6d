"""Locks of folders: one command at a time writes into a folder, and the lock of a process that has ended is taken over.

A lock is a file that says which process holds it. It is made by linking, which either makes the whole file or fails,
on the file systems that several machines share too. A process of another machine cannot be seen: it touches its lock
every few seconds, and only when that stops is it taken for ended. Nobody compares the clocks of two machines.

Inside a folder, `.lock` is held by whoever has the whole of it, and `.lock-3-of-20` by whoever has a share of the work.
A name that goes on with `~` and a token is a claim, see `_acquire`.
"""

import contextlib
import errno
import glob
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from autofuse_jax.errors import UserError
from autofuse_jax.storage.lock_files import Holder, create_lock, lock_content, read_lock, write_temporary
from autofuse_jax.storage.owners import Life, token
from autofuse_jax.storage.temporary import remove_leftovers_of

LOCK_NAME = '.lock'
# Seconds between two signs of life, and without one until a process of another machine is taken for ended.
BEAT_SECONDS = 10.0
PATIENCE_SECONDS = 60.0
LOOK_SECONDS = 1.0
LONGEST_PLAIN_NAME = 200
# What the system says where a lock cannot be made beside a folder, but perhaps inside.
NO_ROOM_BESIDE = (errno.EACCES, errno.EPERM, errno.EROFS)


class InUseError(UserError):
    """Another process works on a folder."""


class Lock:
    """A lock that this process holds. Made by `locked`.

    Args:
        path: File of the lock.
        folder: Folder that it belongs to, for messages.
        content: Content of the file, by which this process knows its own lock.
    """

    def __init__(self, path: Path, folder: Path, content: bytes):
        self._path, self._folder, self._content = path, folder, content
        self._end = threading.Event()
        self._beats = threading.Thread(target=self._beat, name=f'lock {path}', daemon=True)
        self._beats.start()

    def confirm(self) -> None:
        """Check that the lock is still held: a machine that slept for minutes may have lost it.

        Raises:
            InUseError: Another process took it over or it was removed.
        """
        holder = read_lock(self._path)
        if holder is None or holder.content != self._content:
            by = 'nobody' if holder is None else holder
            raise InUseError(
                f'{self._folder} is not locked by this process any more, but by {by}',
                expected='one command at a time for a folder',
                fix='run the same command again when the other one has ended',
            )

    def release(self) -> None:
        """Remove the lock, unless it is another's by now."""
        self._end.set()
        self._beats.join()
        holder = read_lock(self._path)
        if holder is not None and holder.content == self._content:
            self._path.unlink(missing_ok=True)

    def _beat(self) -> None:
        while not self._end.wait(BEAT_SECONDS):
            # Removed by hand meanwhile: `confirm` says so. A file server that does not answer now may do so next time.
            with contextlib.suppress(OSError):
                holder = read_lock(self._path)
                if holder is not None and holder.content == self._content:
                    os.utime(self._path)


@contextlib.contextmanager
def locked(folder: str | os.PathLike, *, beside: bool = False, share: str = '') -> Iterator[Lock]:
    """Hold the lock of a folder inside the block.

    Args:
        folder: Folder that will be written to.
        beside: Whether the lock lies beside the folder, which is not made then and may be exchanged; default: inside,
            and the folder is made.
        share: Name of the share of the work, such as '3-of-20', where several processes write into the folder: shares
            exclude whoever has the whole, and themselves; default: the whole.

    Yields:
        The lock.

    Raises:
        InUseError: Another process holds it; the message says which.
        OSError: The lock cannot be written.
    """
    folder = Path(folder).resolve()
    content = lock_content()
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        lock = Lock(_take(folder, content, beside, share), folder, content)
    except BaseException:
        _remove_empty(made)
        raise
    try:
        yield lock
    finally:
        lock.release()
        _remove_empty(made)


def _take(folder: Path, content: bytes, beside: bool, share: str) -> Path:
    """Make the lock of a folder, or of a share of the work in it, and return its file."""
    suffix = f'-{share}' if share else ''
    if beside:
        path = _lock_beside(folder)
        path = path.with_name(path.name + suffix)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _acquire(path, folder, content)
        except OSError as error:
            # The folder may be a disk of its own below one that may not be written to: its lock lies inside then.
            if not (folder.is_dir() and error.errno in NO_ROOM_BESIDE):
                raise
        else:
            _remove_remains(path)
            return path
    path = folder / f'{LOCK_NAME}{suffix}'
    folder.mkdir(parents=True, exist_ok=True)
    _acquire(path, folder, content)
    _remove_remains(path)
    try:
        # Only now that its own lock is there: of two that come at once, one at least sees the other.
        for other in _excluded_by(folder, share):
            holder = read_lock(other)
            if holder is not None:
                _check_ended(other, folder, holder)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return path


def _excluded_by(folder: Path, share: str) -> list[Path]:
    """Other locks inside a folder that a share of the work, or the whole, cannot be held together with."""
    if share:
        return [folder / LOCK_NAME]
    # Those with a '~' are claims, see `_acquire`.
    return [other for other in folder.glob(f'{LOCK_NAME}-*') if '~' not in other.name]


def _remove_remains(path: Path) -> None:
    """Remove what processes that ended while they took a lock left beside it."""
    remove_leftovers_of(path)
    for claim in path.parent.glob(f'{glob.escape(path.name)}~*'):
        holder = read_lock(claim)
        if holder is not None and holder.life() == Life.ENDED:
            claim.unlink(missing_ok=True)


def _lock_beside(folder: Path) -> Path:
    name = folder.name if len(os.fsencode(folder.name)) <= LONGEST_PLAIN_NAME else token(folder.name)
    return folder.with_name(f'.{name}{LOCK_NAME}')


def _acquire(path: Path, folder: Path, content: bytes) -> None:
    """Make a lock of this process, taking it over from one that has ended."""
    while not create_lock(path, content):
        holder = read_lock(path)
        if holder is None:
            continue
        _check_ended(path, folder, holder)
        # Several may find out at once that it has ended. Who holds the claim to this very lock, and to no later one of
        # the same name, is alone in replacing it.
        claim = path.with_name(f'{path.name}~{token(holder.content.hex())}')
        _acquire(claim, folder, content)
        try:
            now = read_lock(path)
            if now is not None and now.content == holder.content:
                os.replace(write_temporary(path, content), path)
                return
        finally:
            claim.unlink(missing_ok=True)


def _check_ended(path: Path, folder: Path, holder: Holder) -> None:
    """Return where the holder of a lock has ended or let it go; raise InUseError where it works."""
    life = holder.life()
    if life == Life.UNKNOWN:
        print(
            f'{folder} is locked by {holder}, which cannot be seen from here; looking for a sign of life for up to '
            f'{PATIENCE_SECONDS:.0f} s',
            file=sys.stderr,
            flush=True,
        )
        until = time.monotonic() + PATIENCE_SECONDS
        while life == Life.UNKNOWN and time.monotonic() < until:
            time.sleep(LOOK_SECONDS)
            now = read_lock(path)
            if now is None or now.content != holder.content:
                return
            life = Life.RUNS if now.touched != holder.touched else life
    if life == Life.RUNS:
        raise InUseError(
            f'{folder} is in use by {holder}',
            expected='one command at a time for a folder',
            fix='wait until that one has ended, or name another folder',
        )


def _remove_empty(folders: list[Path]) -> None:
    """Remove folders that were made for a lock and that nothing came into."""
    for folder in folders:
        try:
            folder.rmdir()
        except FileNotFoundError:
            # The lock of a file lies beside it, and the file was not written.
            continue
        except OSError:
            return
