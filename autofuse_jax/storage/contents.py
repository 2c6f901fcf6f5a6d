"""Content of files: hashes by which a file is known, whatever its name and wherever it lies."""

import functools
import hashlib
from pathlib import Path


def content_hash(path: Path) -> str:
    """Return the SHA-256 of a file, or of the files of a folder.

    One that is needed many times is read once, and again when it has changed.
    """
    path = path.resolve()
    if path.is_dir():
        hashes = [content_hash(entry) for entry in sorted(path.iterdir())]
        return hashlib.sha256(''.join(hashes).encode()).hexdigest()
    state = path.stat()
    return _hash_of_state(path, state.st_mtime_ns, state.st_size)


@functools.cache
def _hash_of_state(path: Path, changed: int, size: int) -> str:
    with path.open('rb') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest()
