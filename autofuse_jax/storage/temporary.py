"""Temporary files and folders whose names say which process makes them, so that those of ended ones can be removed."""

import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from autofuse_jax.storage.owners import TOKEN_LENGTH, Life, Owner, this_process, token

TEMPORARY_PREFIX = '.writing-'
# Result that another takes the place of, for the moment between two renames.
REPLACED_PREFIX = '.replaced-'
# Complete results that are about to move, one by one, into the folder that they lie in.
READY_PREFIX = '.ready-'
_NAME = re.compile(
    rf'\.(?:writing|replaced|ready)-(?P<machine>[0-9a-f]{{{TOKEN_LENGTH}}})-(?P<process>\d+)-(?P<started>\w+)-'
)
# Bytes of a name that are repeated in a temporary one. A longer name is told by its token and its last characters, in
# which writers see the format: names may have 255 bytes.
LONGEST_ENDING = 120
ENDING_LENGTH = 40
# Of a process that cannot be seen from here, what nothing has touched for so long is left over.
SECONDS_UNTOUCHED = 24 * 3600.0


def temporary_path(path: Path, prefix: str = TEMPORARY_PREFIX, place: Path | None = None) -> Path:
    """Return a free name for a temporary file or folder of this process.

    Args:
        path: File or folder that it is for, whose suffixes are kept.
        prefix: Kind of the temporary name.
        place: Folder that it lies in; default that of `path`.
    """
    owner = this_process()
    name = f'{prefix}{owner.machine}-{owner.process}-{owner.started}-{secrets.token_hex(3)}{_ending(path.name)}'
    return (path.parent if place is None else place) / name


def make_temporary_file(path: Path) -> Path:
    """Make an empty temporary file beside a path, with the permissions that the user's umask gives to new files."""
    temporary = temporary_path(path)
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    return temporary


def make_temporary_folder(path: Path, place: Path | None = None) -> Path:
    """Make a temporary folder for a path, see `temporary_path`, with the permissions of the user's umask."""
    temporary = temporary_path(path, place=place)
    temporary.mkdir()
    return temporary


def _ending(name: str) -> str:
    if len(os.fsencode(name)) <= LONGEST_ENDING:
        return f'-{name}'
    return f'-{token(name)}-{name[-ENDING_LENGTH:]}'


def is_temporary(path: Path) -> bool:
    """Tell whether a name is that of a temporary file or folder."""
    return path.name.startswith((TEMPORARY_PREFIX, REPLACED_PREFIX, READY_PREFIX))


def owner_of(path: Path) -> Owner | None:
    """Return the process that a temporary name belongs to; None where the name tells of none."""
    match = _NAME.match(path.name)
    return Owner(match['machine'], int(match['process']), match['started']) if match else None


def is_left_over(path: Path) -> bool:
    """Tell whether nobody works on a temporary file or folder any more.

    That is so where its process has ended. Of a process of another machine it is so after a day without a change.
    """
    owner = owner_of(path)
    life = Life.UNKNOWN if owner is None else owner.life()
    if life != Life.UNKNOWN:
        return life == Life.ENDED
    return time.time() - _last_change(path) > SECONDS_UNTOUCHED


def _last_change(path: Path) -> float:
    times = []
    for entry in (path, *path.rglob('*')):
        try:
            times.append(entry.lstat().st_mtime)
        except FileNotFoundError:
            # Whoever removes files is alive.
            return time.time()
    return max(times)


def leftovers_of(path: Path, prefix: str, place: Path | None = None) -> list[Path]:
    """Return temporary files or folders for a path that nobody works on any more, the latest last."""
    place = path.parent if place is None else place
    ending = _ending(path.name)
    entries = [entry for entry in _entries(place) if entry.name.startswith(prefix) and entry.name.endswith(ending)]
    return sorted(filter(is_left_over, entries), key=_last_change)


def remove_leftovers_of(path: Path) -> None:
    """Remove what ended processes began to write for a path: beside it, and inside where it is a folder."""
    for leftover in leftovers_of(path, TEMPORARY_PREFIX):
        remove_leftover(leftover)
    remove_leftovers_in(path)


def remove_leftovers_in(folder: Path) -> None:
    """Remove what ended processes began to write anywhere inside a folder; what live ones write is left alone."""
    # The folders of leftovers are removed while the walk has not entered them yet.
    for place, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            path = Path(place, name)
            if name.startswith(TEMPORARY_PREFIX):
                if name in folders:
                    folders.remove(name)
                if is_left_over(path):
                    remove_leftover(path)


def remove_leftover(path: Path) -> None:
    """Remove a temporary file or folder that nobody works on any more."""
    # Another run of the same command may be removing it, too.
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _entries(folder: Path) -> Iterator[Path]:
    return folder.iterdir() if folder.is_dir() else iter(())
