"""An image in a file of any format before its values are read: what every reader of headers returns."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from autofuse_jax.data.notes import NO_NOTES, Notes
from autofuse_jax.errors import UserError


@dataclasses.dataclass(frozen=True, eq=False)
class StoredImage:
    """An image in a file.

    Attributes:
        path: The file, or the folder of a DICOM series.
        format: Format of the file, such as 'Nifti1'.
        shape: Sizes of the stored axes; a 2-D image has a third of length 1.
        dtype: Type of the stored values, before any scaling.
        affine: (4, 4), from voxel indices to RAS millimetres, whatever unit the file counts in.
        read: Function without arguments that reads the values, of that shape, axes in file order.
        notes: Times and text of the header.
        remarks: Sentences about the place of the image that a user should know.
        intent: NIfTI intent code, 0 for other formats.
        intent_name: NIfTI intent name, '' for other formats.
        fields: Further fields of the header as they are stored, JSON types.
    """

    path: Path
    format: str
    shape: tuple[int, ...]
    dtype: np.dtype
    affine: np.ndarray
    read: Callable[[], np.ndarray]
    notes: Notes = NO_NOTES
    remarks: tuple[str, ...] = ()
    intent: int = 0
    intent_name: str = ''
    fields: dict[str, Any] = dataclasses.field(default_factory=dict)


def check_stored(image: StoredImage) -> None:
    """Check that an image holds a real number per voxel and has a place in space.

    Args:
        image: The image.

    Raises:
        UserError: Colours or complex numbers in place of grey values, or an affine that is not finite or is singular.
    """
    if image.dtype.kind not in 'biuf':
        raise UserError(
            f'{image.path} holds colours or complex numbers (type {image.dtype})',
            expected='real numbers, one grey value per voxel',
            fix='convert it to grey values first',
        )
    affine = image.affine
    if affine.shape != (4, 4) or affine.dtype.kind not in 'iuf' or not np.isfinite(affine).all():
        raise UserError(
            f'the affine of {image.path} is not a finite (4, 4) matrix', fix='repair the header of the file'
        )
    if np.linalg.matrix_rank(affine[:3, :3]) < 3:
        raise UserError(
            f'the affine of {image.path} is singular: {affine[:3, :3].tolist()}',
            expected='a voxel size above 0 along each axis',
            fix='repair the header of the file',
        )
