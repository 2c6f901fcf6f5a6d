"""Named arrays in npz files, read without unpickling anything and never half-written."""

import os
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from autofuse_jax.data.file_kinds import COPY_AGAIN, DAMAGED_FILE_ERRORS, check_is_file, unreadable
from autofuse_jax.data.stored_images import StoredImage
from autofuse_jax.errors import UserError
from autofuse_jax.files import replacing

IMAGE_KEY, LABELS_KEY, AFFINE_KEY = 'vol', 'seg', 'affine'

# NumPy parses the header of an array as Python, and up to Python 3.11.7 threads that parse at the same time disturb
# each other now and then: SystemError, 'AST constructor recursion depth mismatch'. The next try is another moment.
PARSING_TRIES = 10


def load_npz(
    path: str | os.PathLike, only: Sequence[str] | None = None, *, fix: str = COPY_AGAIN
) -> dict[str, np.ndarray]:
    """Read arrays of an npz file without unpickling anything.

    Args:
        path: The file.
        only: Names of the arrays to read, as far as the file has them; default None reads all.
        fix: Advice of the message about a damaged file.

    Returns:
        Name to array.

    Raises:
        UserError: The file is missing, damaged, not an npz file, or holds pickled objects.
    """
    check_is_file(path)
    try:
        if not zipfile.is_zipfile(path):
            raise zipfile.BadZipFile('it is not an npz archive, or its end is missing')
        arrays = _read_arrays(path, only)
    except DAMAGED_FILE_ERRORS as error:
        raise unreadable(path, error, fix) from error
    for key, array in arrays.items():
        # numpy hands out the raw bytes of archive members that are not arrays.
        if not isinstance(array, np.ndarray):
            raise UserError(f'{path} holds {key!r}, which is not an array', fix=fix)
    return arrays


def _read_arrays(
    path: str | os.PathLike, only: Sequence[str] | None, tries: int = PARSING_TRIES
) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            _check_names(archive.zip)
            return {key: archive[key] for key in archive.files if only is None or key in only}
    except SystemError:
        if tries == 1:
            raise
    return _read_arrays(path, only, tries - 1)


def _check_names(archive: zipfile.ZipFile) -> None:
    """Compare the names in the directory of an archive with those beside the arrays, which opening one does.

    No checksum covers them: an array whose name is damaged would be taken for one that is not there, and so would the
    arrays that a damaged length makes part of the comment on the one before.

    Raises:
        BadZipFile: They differ, or there is a comment.
    """
    for member in archive.infolist():
        if member.comment:
            raise zipfile.BadZipFile(f'its directory is damaged behind {member.filename!r}')
        archive.open(member).close()


def npz_names(path: str | os.PathLike) -> list[str]:
    """Return the names of the arrays in an npz file without reading them.

    Args:
        path: The file.

    Returns:
        The names, in file order.

    Raises:
        UserError: The file is missing, damaged or not an npz file.
    """
    check_is_file(path)
    try:
        with zipfile.ZipFile(path) as archive:
            _check_names(archive)
            return [name.removesuffix('.npy') for name in archive.namelist()]
    except DAMAGED_FILE_ERRORS as error:
        raise unreadable(path, error) from error


def store_npz(path: str | os.PathLike, arrays: dict[str, np.ndarray]) -> None:
    """Write named arrays as a compressed npz file, never half-written.

    Args:
        path: Ends in .npz.
        arrays: Name to array; no object arrays.

    Raises:
        OSError: The file cannot be written; what was there before is kept.
    """
    # To a name that ends in .NPZ, NumPy would add a suffix of its own.
    with replacing(path) as temporary, temporary.open('wb') as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # NumPy types the keyword allow_pickle only.


def open_npz(path: str | os.PathLike, key: str) -> StoredImage:
    """Read one array of an npz file and its affine; there is no header to read alone.

    Args:
        path: The file.
        key: Name of the array.

    Returns:
        The image; its affine is the identity where the file holds none.

    Raises:
        UserError: Missing or damaged file, or no array of that name.
    """
    arrays = load_npz(path, (key, AFFINE_KEY))
    if key not in arrays:
        names = ', '.join(npz_names(path)) or 'nothing'
        raise UserError(f'{path} holds {names}', expected=f'an array named {key!r}', fix='write it under that name')
    array = arrays[key]
    affine = np.asarray(arrays.get(AFFINE_KEY, np.eye(4)))
    return StoredImage(Path(path), 'npz', array.shape, array.dtype, affine, lambda: array)
