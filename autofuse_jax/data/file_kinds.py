"""What the name of an image file says of its format, and how a file that cannot be read is told to the user."""

import os
import tokenize
import zipfile
import zlib
from pathlib import Path

import nibabel as nib

from autofuse_jax.errors import UserError

COMPRESSED_SUFFIX = '.nii.gz'
NPZ_SUFFIX = '.npz'
NPZ, NIBABEL, SIMPLE_ITK, DICOM = 'npz', 'nibabel', 'SimpleITK', 'DICOM'
# What images are looked for and written under; reading knows more.
NIBABEL_SUFFIXES = ('.nii', COMPRESSED_SUFFIX, '.mgz')
KNOWN_SUFFIXES = (*NIBABEL_SUFFIXES, NPZ_SUFFIX)
PAIR_SUFFIXES = ('.hdr', '.img', '.hdr.gz', '.img.gz')
ITK_SUFFIXES = ('.nrrd', '.nhdr', '.mha', '.mhd')
# Of the formats of ITK those that keep header and values in one file.
ITK_SINGLE_SUFFIXES = ('.nrrd', '.mha')
WRITE_SUFFIXES = (*KNOWN_SUFFIXES, *ITK_SINGLE_SUFFIXES)
DOUBLE_SUFFIXES = (COMPRESSED_SUFFIX, '.hdr.gz', '.img.gz')
READ_SUFFIXES = (*NIBABEL_SUFFIXES, '.mgh', *PAIR_SUFFIXES, *ITK_SUFFIXES, NPZ_SUFFIX)
COPY_AGAIN = 'check that it was copied completely; fetch it again'

# What nibabel, gzip, zipfile and numpy raise for damaged content: its header may ask for any size (MemoryError) or
# hold an unknown code (KeyError); the header of an array is a Python literal (SyntaxError, TokenError); a damaged zip
# entry may claim to be encrypted (RuntimeError); a header may end too early for its type (TypeError).
DAMAGED_FILE_ERRORS = (
    OSError,
    EOFError,
    ValueError,
    MemoryError,
    OverflowError,
    RuntimeError,
    KeyError,
    TypeError,
    SyntaxError,
    tokenize.TokenError,
    zlib.error,
    zipfile.BadZipFile,
    nib.filebasedimages.ImageFileError,
    nib.spatialimages.HeaderDataError,
    nib.freesurfer.mghformat.MGHError,
)


def is_npz(path: str | os.PathLike) -> bool:
    """Tell by the suffix whether a file that can be read and written is an npz file.

    Args:
        path: A path with one of `KNOWN_SUFFIXES`; the file need not exist.

    Returns:
        True for npz, False for NIfTI and MGZ.

    Raises:
        UserError: The suffix is none of the known ones.
    """
    return _suffix_among(path, KNOWN_SUFFIXES) == NPZ_SUFFIX


def reader_of(path: str | os.PathLike) -> str:
    """Tell who reads an image.

    Args:
        path: A path with one of `READ_SUFFIXES`, or a folder with another name, which is taken for a DICOM series.

    Returns:
        `NPZ`, `NIBABEL`, `SIMPLE_ITK` or `DICOM`.

    Raises:
        UserError: It is no folder, and the suffix is none of the known ones.
    """
    if Path(path).is_dir() and not Path(path).name.lower().endswith(READ_SUFFIXES):
        return DICOM
    suffix = _suffix_among(path, READ_SUFFIXES)
    return NPZ if suffix == NPZ_SUFFIX else SIMPLE_ITK if suffix in ITK_SUFFIXES else NIBABEL


def writer_of(path: str | os.PathLike) -> str:
    """Tell who writes an image: `NPZ`, `NIBABEL` or `SIMPLE_ITK`.

    Args:
        path: A path with one of `WRITE_SUFFIXES`.

    Raises:
        UserError: The suffix is none of them.
    """
    suffix = _suffix_among(path, WRITE_SUFFIXES)
    return NPZ if suffix == NPZ_SUFFIX else SIMPLE_ITK if suffix in ITK_SUFFIXES else NIBABEL


def stem_of(path: str | os.PathLike) -> str:
    """Return a file's name without its suffix, '.nii.gz' counting as one: 'a.b.nii.gz' gives 'a.b'."""
    name = Path(path).name
    double = next((suffix for suffix in DOUBLE_SUFFIXES if name.lower().endswith(suffix)), '')
    # Unlike the path's own method, it takes what cannot be a name for no folder.
    return name[: -len(double)] if double else name if os.path.isdir(path) else Path(name).stem


def check_is_file(path: str | os.PathLike) -> None:
    """Check that there is such a file.

    Raises:
        UserError: There is none, or it is a folder.
    """
    if not Path(path).is_file():
        problem = f'{path} is a folder' if Path(path).is_dir() else f'there is no file {path}'
        raise UserError(problem, fix='check the path')


def unreadable(path: str | os.PathLike, error: BaseException, fix: str = COPY_AGAIN) -> UserError:
    """Return the error that tells why a file cannot be read.

    Args:
        path: The file.
        error: What its reader raised.
        fix: Advice.
    """
    reason = ' '.join(str(error).split()) or type(error).__name__
    return UserError(f'{path} cannot be read ({reason})', fix=fix)


def _suffix_among(path: str | os.PathLike, suffixes: tuple[str, ...]) -> str:
    name = Path(path).name.lower()
    fitting = [suffix for suffix in suffixes if name.endswith(suffix)]
    if not fitting:
        raise UserError(
            f'{path} has no known file extension',
            expected=f'one of {", ".join(suffixes)}',
            fix='convert the file, or correct the path',
        )
    return max(fitting, key=len)
