"""Claiming a folder for results, and writing files so that a failed write never damages what was there before."""

import contextlib
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from autofuse_jax.errors import UserError
from autofuse_jax.records.forms import Entries, Fields, Text
from autofuse_jax.records.paths import LONGEST_NAME, leads_inside
from autofuse_jax.records.reading import read_json

TEMPORARY_PREFIX = '.writing-'
# Characters of a name that a temporary one repeats: together with what stands before them they have fewer bytes than
# a name may have.
ENDING_LENGTH = 40
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
    """Check before any work that a command can and may write into a folder; nothing is changed.

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
        if place.exists() and not place.is_dir():
            expected = 'a folder, or a path where one can be made'
            raise UserError(f'{place} is a file', expected=expected, fix=f'correct {option}')
    _check_writable(folder, option)
    if continues or not folder.is_dir() or not any(folder.iterdir()):
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


def _check_writable(folder: Path, option: str) -> None:
    """Make a folder for a moment where the results will begin: permissions alone do not tell what a disk allows."""
    place = next(place for place in (folder, *folder.absolute().parents) if place.is_dir())
    try:
        os.rmdir(tempfile.mkdtemp(prefix=TEMPORARY_PREFIX, dir=place))
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
    handle, name = tempfile.mkstemp(prefix=TEMPORARY_PREFIX, suffix=_ending(path), dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def collecting(folder: str | os.PathLike, last: str) -> Iterator[Path]:
    """Yield a temporary folder whose files move into `folder` when the block ends without an error.

    A new folder appears at once with everything in it. In a folder that exists, which may be a disk of its own below a
    folder that may not be written to, the file `last` is taken away first and put in place last: whoever finds it finds
    all the others complete.

    Args:
        folder: Folder of the files; made if missing. Files of the same names are replaced, others stay.
        last: Name of the file that marks the result as complete.

    Yields:
        The folder to write to, on the same disk.

    Raises:
        OSError: The folder cannot be written or the disk is full.
    """
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    place = folder if folder.is_dir() else folder.parent
    temporary = Path(tempfile.mkdtemp(prefix=TEMPORARY_PREFIX, suffix=_ending(folder), dir=place))
    try:
        yield temporary
        os.chmod(temporary, 0o755)
        if not folder.exists():
            os.replace(temporary, folder)
            return
        (folder / last).unlink(missing_ok=True)
        for path in sorted(temporary.iterdir(), key=lambda path: path.name == last):
            os.replace(path, folder / path.name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _ending(path: Path) -> str:
    """End of a temporary name: that of the path, so short that a long name does not become too long."""
    return '-' + path.name[-ENDING_LENGTH:]


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
