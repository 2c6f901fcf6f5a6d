"""Locks of folders: one command at a time writes into a folder, and the lock of a process that has ended is taken over.

A lock is a file that says which process holds it. It is made by linking, which either makes the whole file or fails,
on the file systems that several machines share too. A process of another machine cannot be seen: it touches its lock
every few seconds, and only when that stops is it taken for ended. Nobody compares the clocks of two machines.
"""

import contextlib
import dataclasses
import datetime
import errno
import glob
import json
import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from autofuse_jax.errors import UserError
from autofuse_jax.runtime import command_line
from autofuse_jax.storage.owners import Life, Owner, this_process, token
from autofuse_jax.storage.temporary import make_temporary_file, remove_leftovers_of

LOCK_NAME = '.lock'
# Seconds between two signs of life, and without one until a process of another machine is taken for ended.
BEAT_SECONDS = 10.0
PATIENCE_SECONDS = 60.0
LOOK_SECONDS = 1.0
LONGEST_PLAIN_NAME = 200
SHOWN_COMMAND = 120
# File systems without hard links say one of these.
NO_LINKS = (errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.EMLINK, errno.EXDEV)
NO_ROOM_BESIDE = (errno.EACCES, errno.EPERM, errno.EROFS)


class InUseError(UserError):
    """Another process works on a folder."""


@dataclasses.dataclass(frozen=True)
class _Holder:
    """What a lock says: its bytes, and the last sign of life."""

    content: bytes
    touched: int

    @property
    def record(self) -> dict[str, Any]:
        try:
            record = json.loads(self.content)
        except (ValueError, RecursionError):
            # A process that was killed while it wrote, where links are not to be had, or a damaged file.
            return {}
        return record if isinstance(record, dict) else {}

    def life(self) -> Life:
        machine, process, started = (self.record.get(name) for name in ('machine', 'process', 'started'))
        # A damaged one tells of no process; True is an int.
        if isinstance(machine, str) and type(process) is int and isinstance(started, str):
            return Owner(machine, process, started).life()
        return Life.UNKNOWN

    def __str__(self) -> str:
        record = self.record
        if 'process' not in record:
            return 'a process that left no name'
        place = f'process {record["process"]} on {record.get("host")}, since {record.get("since")}'
        return f'"{record.get("command")}" ({place})'


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
        holder = _read(self._path)
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
        holder = _read(self._path)
        if holder is not None and holder.content == self._content:
            self._path.unlink(missing_ok=True)

    def _beat(self) -> None:
        while not self._end.wait(BEAT_SECONDS):
            holder = _read(self._path)
            if holder is not None and holder.content == self._content:
                # Removed by hand meanwhile: `confirm` says so.
                with contextlib.suppress(FileNotFoundError):
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
    content = json.dumps(_record()).encode()
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
    path = _lock_beside(folder) if beside else folder / LOCK_NAME
    path = path.with_name(path.name + (f'-{share}' if share else ''))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _acquire(path, folder, content)
    except OSError as error:
        # The folder may be a disk of its own below one that may not be written to.
        if not (beside and folder.is_dir() and error.errno in NO_ROOM_BESIDE):
            raise
        return _take(folder, content, False, share)
    _remove_remains(path)
    whole = path.with_name(path.name.removesuffix(f'-{share}') if share else path.name)
    others = [whole] if share else [other for other in path.parent.glob(f'{LOCK_NAME}-*') if '~' not in other.name]
    try:
        for other in others if not beside else ():
            holder = _read(other)
            if holder is not None:
                _check_ended(other, folder, holder)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return path


def _remove_remains(path: Path) -> None:
    """Remove what processes that ended while they took a lock left beside it."""
    remove_leftovers_of(path)
    for claim in path.parent.glob(f'{glob.escape(path.name)}~*'):
        holder = _read(claim)
        if holder is not None and holder.life() == Life.ENDED:
            claim.unlink(missing_ok=True)


def _lock_beside(folder: Path) -> Path:
    name = folder.name if len(os.fsencode(folder.name)) <= LONGEST_PLAIN_NAME else token(folder.name)
    return folder.with_name(f'.{name}{LOCK_NAME}')


def _acquire(path: Path, folder: Path, content: bytes) -> None:
    """Make a lock of this process, taking it over from one that has ended."""
    while not _create(path, content):
        holder = _read(path)
        if holder is None:
            continue
        _check_ended(path, folder, holder)
        # Several may find out at once that it has ended. Who holds the claim to this very lock, and to no later one of
        # the same name, is alone in replacing it.
        claim = path.with_name(f'{path.name}~{token(holder.content.hex())}')
        _acquire(claim, folder, content)
        try:
            now = _read(path)
            if now is not None and now.content == holder.content:
                os.replace(_written(path, content), path)
                return
        finally:
            claim.unlink(missing_ok=True)


def _check_ended(path: Path, folder: Path, holder: _Holder) -> None:
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
            now = _read(path)
            if now is None or now.content != holder.content:
                return
            life = Life.RUNS if now.touched != holder.touched else life
    if life == Life.RUNS:
        raise InUseError(
            f'{folder} is in use by {holder}',
            expected='one command at a time for a folder',
            fix='wait until that one has ended, or name another folder',
        )


def _record() -> dict[str, Any]:
    command = command_line()
    return {
        **dataclasses.asdict(this_process()),
        'host': socket.gethostname(),
        'since': datetime.datetime.now().astimezone().isoformat(sep=' ', timespec='seconds'),
        'command': command if len(command) <= SHOWN_COMMAND else command[:SHOWN_COMMAND] + ' ...',
        # Two locks of one process differ.
        'nonce': secrets.token_hex(8),
    }


def _create(path: Path, content: bytes) -> bool:
    """Make a lock with its content, or return False where there is one already."""
    temporary = _written(path, content)
    try:
        os.link(temporary, path)
        return True
    except FileExistsError:
        # An answer that got lost on the way from a file server is asked for again, and then the name exists.
        return temporary.stat().st_nlink == 2
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
    finally:
        temporary.unlink(missing_ok=True)
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    except FileExistsError:
        return False
    with os.fdopen(handle, 'wb') as file:
        file.write(content)
    return True


def _written(path: Path, content: bytes) -> Path:
    # Those of claims are found where those of the lock are.
    temporary = make_temporary_file(path.with_name(path.name.partition('~')[0]))
    try:
        temporary.write_bytes(content)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def _read(path: Path) -> _Holder | None:
    """What a lock says now: opening a file makes a file server tell the truth. None where there is none."""
    try:
        with path.open('rb') as file:
            return _Holder(file.read(), os.fstat(file.fileno()).st_mtime_ns)
    except FileNotFoundError:
        return None


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
