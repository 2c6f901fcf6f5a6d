"""Images in files of any format: the door to the modules that know one format each.

Every way in which a file can be bad is a `UserError`.
"""

import os
from pathlib import Path

import nibabel as nib
import numpy as np

from autofuse_jax.data.dicom_series import open_dicom_series
from autofuse_jax.data.file_kinds import (
    COPY_AGAIN,
    DAMAGED_FILE_ERRORS,
    DICOM,
    KNOWN_SUFFIXES,
    NIBABEL,
    NPZ,
    NPZ_SUFFIX,
    SIMPLE_ITK,
    is_npz,
    reader_of,
    stem_of,
    writer_of,
)
from autofuse_jax.data.itk_images import open_with_itk, write_with_itk
from autofuse_jax.data.nifti_files import mgh_image, nifti_image, open_with_nibabel
from autofuse_jax.data.notes import NO_NOTES, Notes
from autofuse_jax.data.npz_files import AFFINE_KEY, IMAGE_KEY, LABELS_KEY, load_npz, npz_names, open_npz, store_npz
from autofuse_jax.data.stored_images import StoredImage, check_stored
from autofuse_jax.files import replacing

__all__ = [
    'AFFINE_KEY',
    'COPY_AGAIN',
    'DAMAGED_FILE_ERRORS',
    'IMAGE_KEY',
    'KNOWN_SUFFIXES',
    'LABELS_KEY',
    'NPZ_SUFFIX',
    'is_npz',
    'load_array',
    'load_image',
    'load_npz',
    'npz_names',
    'open_image',
    'series_length',
    'stem_of',
    'store_array',
    'store_npz',
]


def open_image(path: str | os.PathLike, key: str = IMAGE_KEY) -> StoredImage:
    """Open an image; every header of an image is read here, and no values as far as the format allows.

    Args:
        path: A file with one of `file_kinds.READ_SUFFIXES`, or the folder of a DICOM series.
        key: Name of the array in an npz file; other formats hold one image. Default 'vol'.

    Returns:
        The image, whatever its values and its affine are.

    Raises:
        UserError: Missing or damaged file, unknown extension, no such key, or the package that reads it is missing.
    """
    reader = reader_of(path)
    if reader == NPZ:
        return open_npz(path, key)
    opening = {NIBABEL: open_with_nibabel, SIMPLE_ITK: open_with_itk, DICOM: open_dicom_series}
    return opening[reader](path)


def series_length(path: str | os.PathLike) -> int:
    """Return the number of frames of an image from its header, without reading the values.

    Args:
        path: An image file.

    Returns:
        The size of the fourth axis; 1 for a 3-D file.

    Raises:
        UserError: Missing or damaged file.
    """
    shape = open_image(path).shape
    return shape[3] if len(shape) > 3 else 1


def load_image(path: str | os.PathLike, key: str) -> tuple[StoredImage, np.ndarray]:
    """Read one image as it is stored, before any check of the values.

    Args:
        path: An image file, see `open_image`.
        key: Name of the array in an npz file: 'vol' for the image, 'seg' for the labels. Other formats hold one array.

    Returns:
        What its header says, with the affine as float64, and the array, its axes in file order, in the type that the
        file's scaling gives.

    Raises:
        UserError: Missing or damaged file, unknown extension, no such key, not numbers, or a singular affine.
    """
    image = open_image(path, key)
    check_stored(image)
    return image, image.read()


def load_array(path: str | os.PathLike, key: str) -> tuple[np.ndarray, np.ndarray]:
    """Read one array and its affine as they are stored, before any check of the values.

    Args:
        path: An image file, see `open_image`.
        key: Name of the array in an npz file, see `load_image`.

    Returns:
        The array, and the (4, 4) affine from voxel indices to RAS millimetres; the identity where an npz file holds
        none.

    Raises:
        UserError: As `load_image`.
    """
    image, array = load_image(path, key)
    return array, image.affine.astype(np.float64)


def store_array(
    path: str | os.PathLike, array: np.ndarray, affine: np.ndarray, key: str, notes: Notes = NO_NOTES
) -> None:
    """Write one array with its affine in the format that the suffix names.

    Args:
        path: A file with one of `file_kinds.WRITE_SUFFIXES`.
        array: The values, in a type that the format can hold (float32, uint8, int16 or int32 fit all).
        affine: (4, 4), voxel indices to RAS millimetres; NIfTI files get it as sform and qform.
        key: Name of the array in an npz file.
        notes: Times and text for the header, as far as the format has a place for them.

    Raises:
        UserError: Unknown extension, or the package that writes it is missing.
        OSError: The file cannot be written; what was there before is kept.
    """
    writer = writer_of(path)
    if writer == NPZ:
        store_npz(path, {key: array, AFFINE_KEY: np.asarray(affine, np.float64)})
        return
    with replacing(path) as temporary:
        if writer == SIMPLE_ITK:
            write_with_itk(temporary, array, affine, notes.time_step)
        elif Path(path).name.lower().endswith('.mgz'):
            nib.save(mgh_image(array, affine, notes), temporary)
        else:
            nib.save(nifti_image(array, affine, notes), temporary)
