"""Writing files so that an interrupted or failed write never damages what was there before."""

import contextlib
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np


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
    handle, name = tempfile.mkstemp(prefix='.writing-', suffix='-' + path.name, dir=path.parent)
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

    A new folder appears at once with everything in it. In a folder that exists, the file `last` is taken away first and
    put in place last: whoever finds it finds all the others complete.

    Args:
        folder: Where the files go; made if missing. Files of the same names are replaced, others stay.
        last: Name of the file that marks the result as complete.

    Yields:
        The folder to write to, on the same disk.

    Raises:
        OSError: The folder cannot be written or the disk is full.
    """
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix='.writing-', suffix='-' + folder.name, dir=folder.parent))
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


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write a UTF-8 text file through a temporary name.

    Args:
        path: The file to write.
        text: Its whole content.
    """
    with replacing(path) as temporary:
        temporary.write_text(text, encoding='utf-8')


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
