"""Claiming a folder for results, and writing files so that a failed write never damages what was there before."""

import contextlib
import errno
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from autofuse_jax.errors import UserError
from autofuse_jax.records.forms import Entries, Fields, Text
from autofuse_jax.records.paths import LONGEST_NAME, leads_inside
from autofuse_jax.records.reading import read_json
from autofuse_jax.storage.locks import LOCK_NAME, Lock, locked
from autofuse_jax.storage.swaps import recover_folder
from autofuse_jax.storage.temporary import (
    TEMPORARY_PREFIX,
    is_temporary,
    leftovers_of,
    make_temporary_file,
    make_temporary_folder,
    remove_leftover,
)

# What is wanted of a record of results to replace them.
RESULTS = Fields({'files': Entries(Text())})


def claim_folder(
    folder: str | os.PathLike,
    *,
    overwrite: bool = False,
    record: str | None = None,
    only_own: bool = False,
    continues: bool = False,
    option: str = '--out',
) -> None:
    """Check before any work that a command can and may write into a folder; nothing but leftovers is changed.

    Args:
        folder: The folder; it need not exist.
        overwrite: Whether results that are there may be replaced; default False.
        record: Name of the file in which this command lists its results; one that is damaged or of something else is
            not overwritten.
        only_own: Whether a folder that holds files but no such record may not be overwritten; default False.
        continues: Whether the command goes on with what is there, or adds to it, and checks itself whether it fits.
        option: Name of the folder in messages.

    Raises:
        UserError: It cannot be a folder or be written to, or it holds files that may not be replaced.
    """
    folder = Path(folder)
    for place in (folder, *folder.parents):
        if _leads_to_itself(place):
            raise UserError(f'{place} is a link that leads to itself', fix=f'correct the link, or {option}')
        if place.exists() and not place.is_dir():
            expected = 'a folder, or a path where one can be made'
            raise UserError(f'{place} is a file', expected=expected, fix=f'correct {option}')
    _check_writable(folder, option)
    if continues or not folder.is_dir() or all(map(_is_passing, folder.iterdir())):
        return
    if not overwrite:
        raise UserError(f'{folder} exists and is not empty', fix=f'name another {option} folder, or add --overwrite')
    if record is None:
        return
    if only_own and not (folder / record).is_file():
        raise UserError(
            f'{folder} holds files, but no {record} of earlier results',
            expected='an empty folder, or one with results of this command',
            fix=f'name another {option} folder',
        )
    listed_files(folder / record)


def _leads_to_itself(place: Path) -> bool:
    """Tell whether a path is a symbolic link, or leads over one, that comes back to itself."""
    try:
        place.stat()
    except OSError as error:
        return error.errno == errno.ELOOP
    return False


@contextlib.contextmanager
def results_folder(
    folder: str | os.PathLike, *, overwrite: bool, record: str, only_own: bool = False
) -> Iterator[Lock]:
    """Hold the lock of a folder of results, bring it in order after a process that ended, and check it.

    Args:
        folder: Folder that a command fills at once, see `storage.swaps.replacing_folder`.
        overwrite: Whether results that are there may be replaced.
        record: Name of the file in which this command lists its results.
        only_own: Whether a folder without such a record may not be overwritten, see `claim_folder`; default False.

    Yields:
        The lock.

    Raises:
        UserError: Another process works on it, or it may not be written, see `claim_folder`.
    """
    claim_folder(folder, continues=True)
    with locked(folder, beside=True) as lock:
        recover_folder(folder)
        claim_folder(folder, overwrite=overwrite, record=record, only_own=only_own)
        yield lock


def _is_passing(path: Path) -> bool:
    """Whether a file is a lock or one that is being written, no result."""
    return is_temporary(path) or path.name.startswith(LOCK_NAME)


def _check_writable(folder: Path, option: str) -> None:
    """Make a folder for a moment where the results will begin: permissions alone do not tell what a disk allows."""
    place = next(place for place in (folder, *folder.absolute().parents) if place.is_dir())
    try:
        # One that was killed at this very place left its own.
        for leftover in leftovers_of(folder, TEMPORARY_PREFIX, place):
            remove_leftover(leftover)
        make_temporary_folder(folder, place).rmdir()
    except OSError as error:
        raise UserError(
            f'{folder} cannot be written: nothing can be made in {place} ({error.strerror})',
            expected='a folder that may be written to, on a disk with space',
            fix=f'correct {option}, or change the permissions of {place}',
        ) from error


def check_file_names(names: Iterable[str]) -> None:
    """Check before any work that files can have their names.

    Args:
        names: Names without folders.

    Raises:
        UserError: One is longer than file systems allow.
    """
    for name in names:
        length = len(os.fsencode(name))
        if length > LONGEST_NAME:
            raise UserError(
                f'a result would be called {name[:40]}... ({length} bytes)',
                expected=f'file names of at most {LONGEST_NAME} bytes',
                fix='rename the file that it is made of',
            )


def listed_files(record: Path) -> set[Path]:
    """Return the files that a record of results lists under "files".

    Args:
        record: A JSON file; names in it are relative to its folder.

    Returns:
        Paths inside that folder, whether they exist or not; none where there is no record. Names that lead out of the
        folder are left out: a record from elsewhere must not reach other files.

    Raises:
        UserError: The record is damaged, or is one of something else.
    """
    if not record.is_file():
        return set()
    content = read_json(
        record,
        RESULTS,
        misfit='is no record of results of this program',
        fix='name another --out folder, or move that file away',
    )
    paths = [record.parent / name for name in content['files'] if leads_inside(name)]
    root = record.parent.resolve()
    return {path for path in paths if root in path.resolve().parents}


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary path in the same folder that replaces `path` when the block ends without an error.

    The suffixes of `path` are kept, because writers such as nibabel choose the format by them.

    Args:
        path: The file to write. Missing parent folders are made.

    Yields:
        The path to write to.

    Raises:
        OSError: The folder cannot be written or the disk is full; `path` is then as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = make_temporary_file(path)
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write a UTF-8 text file through a temporary name; bytes of file names that are no text are escaped.

    Args:
        path: The file to write.
        text: Its whole content.
    """
    with replacing(path) as temporary:
        temporary.write_text(text, encoding='utf-8', errors='backslashreplace')


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Write a value as indented JSON through a temporary name.

    Args:
        path: The file to write.
        value: Anything the standard `json` module accepts; NaN and infinities are refused.

    Raises:
        ValueError: `value` holds NaN or an infinity, which JSON has no word for.
    """
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + '\n')


def json_types(value: Any) -> Any:
    """Turn a value into what JSON can hold: string keys, lists, Python numbers, None for nan and infinities.

    Args:
        value: Nested mappings, sequences, NumPy arrays and scalars, paths, strings.

    Returns:
        The same content in JSON types.
    """
    if isinstance(value, Mapping):
        return {str(key): json_types(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_types(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return json_types(value.tolist())
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
