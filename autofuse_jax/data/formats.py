"""Reading and writing arrays in NIfTI, MGZ and npz files; every way in which a file can be bad is a `UserError`."""

import os
import tokenize
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np

from autofuse_jax.errors import UserError
from autofuse_jax.files import replacing

COMPRESSED_SUFFIX = '.nii.gz'
NIBABEL_SUFFIXES = ('.nii', COMPRESSED_SUFFIX, '.mgz')
NPZ_SUFFIX = '.npz'
KNOWN_SUFFIXES = (*NIBABEL_SUFFIXES, NPZ_SUFFIX)
IMAGE_KEY, LABELS_KEY, AFFINE_KEY = 'vol', 'seg', 'affine'

# NIfTI may count in other units than millimetres; MGZ and unmarked NIfTI files count in millimetres.
MILLIMETRES_PER_UNIT = {'meter': 1000.0, 'mm': 1.0, 'micron': 0.001, 'unknown': 1.0}
COPY_AGAIN = 'check that it was copied completely; fetch it again'

# NumPy parses the header of an array as Python, and up to Python 3.11.7 threads that parse at the same time disturb
# each other now and then: SystemError, 'AST constructor recursion depth mismatch'. The next try is another moment.
PARSING_TRIES = 10

# What nibabel, gzip, zipfile and numpy raise for damaged content: its header may ask for any size (MemoryError) or
# hold an unknown code (KeyError); the header of an array is a Python literal (SyntaxError, TokenError); a damaged zip
# entry may claim to be encrypted (RuntimeError).
DAMAGED_FILE_ERRORS = (
    OSError,
    EOFError,
    ValueError,
    MemoryError,
    OverflowError,
    RuntimeError,
    KeyError,
    SyntaxError,
    tokenize.TokenError,
    zlib.error,
    zipfile.BadZipFile,
    nib.filebasedimages.ImageFileError,
    nib.spatialimages.HeaderDataError,
    nib.freesurfer.mghformat.MGHError,
)


def is_npz(path: str | os.PathLike) -> bool:
    """Tell an npz path from one for nibabel by its suffix.

    Args:
        path: A path with one of `KNOWN_SUFFIXES`; the file need not exist.

    Returns:
        True for npz, False for NIfTI and MGZ.

    Raises:
        UserError: The suffix is none of the known ones.
    """
    name = Path(path).name.lower()
    if not name.endswith(KNOWN_SUFFIXES):
        raise UserError(
            f'{path} has no known file extension',
            expected=f'one of {", ".join(KNOWN_SUFFIXES)}',
            fix='convert the file, or correct the path',
        )
    return name.endswith(NPZ_SUFFIX)


def stem_of(path: str | os.PathLike) -> str:
    """Return a file's name without its suffix, '.nii.gz' counting as one: 'a.b.nii.gz' gives 'a.b'."""
    name = Path(path).name
    return name[: -len(COMPRESSED_SUFFIX)] if name.lower().endswith(COMPRESSED_SUFFIX) else Path(name).stem


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
    _check_is_file(path)
    try:
        if not zipfile.is_zipfile(path):
            raise zipfile.BadZipFile('it is not an npz archive, or its end is missing')
        arrays = _read_arrays(path, only)
    except DAMAGED_FILE_ERRORS as error:
        raise _unreadable(path, error, fix) from error
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
            return {key: archive[key] for key in archive.files if only is None or key in only}
    except SystemError:
        if tries == 1:
            raise
    return _read_arrays(path, only, tries - 1)


def npz_names(path: str | os.PathLike) -> list[str]:
    """Return the names of the arrays in an npz file without reading them.

    Args:
        path: The file.

    Returns:
        The names, in file order.

    Raises:
        UserError: The file is missing, damaged or not an npz file.
    """
    _check_is_file(path)
    try:
        with zipfile.ZipFile(path) as archive:
            return [name.removesuffix('.npy') for name in archive.namelist()]
    except DAMAGED_FILE_ERRORS as error:
        raise _unreadable(path, error) from error


def series_length(path: str | os.PathLike) -> int:
    """Return the number of frames of a NIfTI or MGZ file from its header, without reading the values.

    Args:
        path: A .nii, .nii.gz or .mgz file.

    Returns:
        The size of the fourth axis; 1 for a 3-D file.

    Raises:
        UserError: Missing or damaged file.
    """
    shape = open_header(path).shape
    return shape[3] if len(shape) > 3 else 1


def load_array(path: str | os.PathLike, key: str) -> tuple[np.ndarray, np.ndarray]:
    """Read one array and its affine as they are stored, before any check of the values.

    Args:
        path: A .nii, .nii.gz, .mgz or .npz file.
        key: Name of the array in an npz file: 'vol' for the image, 'seg' for the labels. Other formats hold one array.

    Returns:
        The array with its axes in file order, in the type that the file's scaling gives, and the (4, 4) affine from
        voxel indices to RAS millimetres; the identity where an npz file holds none.

    Raises:
        UserError: Missing or damaged file, unknown extension, no such key, not numbers, or a singular affine.
    """
    if is_npz(path):
        arrays = load_npz(path, (key, AFFINE_KEY))
        if key not in arrays:
            names = ', '.join(npz_names(path)) or 'nothing'
            raise UserError(f'{path} holds {names}', expected=f'an array named {key!r}', fix='write it under that name')
        array, affine = arrays[key], np.asarray(arrays.get(AFFINE_KEY, np.eye(4)))
    else:
        array, affine = _load_with_nibabel(path)
    if array.dtype.kind not in 'biuf':
        raise UserError(f'{path} holds values of type {array.dtype}', expected='real numbers, one per voxel')
    if affine.shape != (4, 4) or affine.dtype.kind not in 'iuf' or not np.isfinite(affine).all():
        raise UserError(f'the affine of {path} is not a finite (4, 4) matrix', fix='repair the header of the file')
    affine = affine.astype(np.float64)
    if np.linalg.matrix_rank(affine[:3, :3]) < 3:
        raise UserError(
            f'the affine of {path} is singular: {affine[:3, :3].tolist()}',
            expected='a voxel size above 0 along each axis',
            fix='repair the header of the file',
        )
    return array, affine


def store_array(path: str | os.PathLike, array: np.ndarray, affine: np.ndarray, key: str) -> None:
    """Write one array with its affine in the format that the suffix names.

    Args:
        path: A .nii, .nii.gz, .mgz or .npz file.
        array: The values, in a type that the format can hold (float32, uint8, int16 or int32 fit all).
        affine: (4, 4), voxel indices to RAS millimetres; NIfTI files get it as sform and qform.
        key: Name of the array in an npz file.

    Raises:
        UserError: Unknown extension.
        OSError: The file cannot be written; what was there before is kept.
    """
    if is_npz(path):
        store_npz(path, {key: array, AFFINE_KEY: np.asarray(affine, np.float64)})
        return
    if Path(path).name.lower().endswith('.mgz'):
        image: nib.spatialimages.SpatialImage = nib.MGHImage(array, np.asarray(affine, np.float32))
    else:
        image = nifti = nib.Nifti1Image(array, affine)
        nifti.set_sform(affine, code='scanner')
        nifti.set_qform(affine, code='scanner')
        nifti.header.set_xyzt_units('mm')
    with replacing(path) as temporary:
        nib.save(image, temporary)


def store_npz(path: str | os.PathLike, arrays: dict[str, np.ndarray]) -> None:
    """Write named arrays as a compressed npz file, never half-written.

    Args:
        path: Ends in .npz.
        arrays: Name to array; no object arrays.

    Raises:
        OSError: The file cannot be written; what was there before is kept.
    """
    with replacing(path) as temporary:
        np.savez_compressed(temporary, **arrays)  # type: ignore[arg-type]  # NumPy types the keyword allow_pickle only.


def _load_with_nibabel(path: str | os.PathLike) -> tuple[np.ndarray, np.ndarray]:
    image = open_header(path)
    try:
        array = np.asanyarray(image.dataobj)
        affine = np.array(image.affine, np.float64)
        unit = image.header.get_xyzt_units()[0] if isinstance(image, nib.Nifti1Image) else 'mm'
    except DAMAGED_FILE_ERRORS as error:
        raise _unreadable(path, error) from error
    affine[:3] *= MILLIMETRES_PER_UNIT[unit]
    return array, affine


def open_header(path: str | os.PathLike) -> nib.spatialimages.SpatialImage:
    """Open a NIfTI or MGZ file without reading the values.

    Args:
        path: A .nii, .nii.gz or .mgz file.

    Returns:
        The image as nibabel sees it.

    Raises:
        UserError: Missing or damaged file.
    """
    _check_is_file(path)
    try:
        return nib.load(path)  # type: ignore[return-value]  # All formats read here have an affine.
    except DAMAGED_FILE_ERRORS as error:
        raise _unreadable(path, error) from error


def _check_is_file(path: str | os.PathLike) -> None:
    if not Path(path).is_file():
        problem = f'{path} is a folder' if Path(path).is_dir() else f'there is no file {path}'
        raise UserError(problem, fix='check the path')


def _unreadable(path: str | os.PathLike, error: BaseException, fix: str = COPY_AGAIN) -> UserError:
    reason = ' '.join(str(error).split()) or type(error).__name__
    return UserError(f'{path} cannot be read ({reason})', fix=fix)
