"""An image in a file of any format before its values are read: what every reader of headers returns."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from autofuse_jax.data.notes import NO_NOTES, Notes
from autofuse_jax.errors import UserError
from autofuse_jax.transforms.grids import affine_fault


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
    fault = affine_fault(np.asarray(image.affine))
    if fault:
        raise UserError(
            f'the affine of {image.path} {fault}',
            expected='a matrix from voxels to millimetres, with a voxel size above 0 along each axis',
            fix='repair the header of the file',
        )
