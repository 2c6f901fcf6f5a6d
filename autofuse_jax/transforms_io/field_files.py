"""Opening a file that may hold a dense transform, before it is known which convention it follows."""

import dataclasses
import os
from pathlib import Path

import nibabel as nib
import numpy as np

from autofuse_jax.data.file_kinds import NPZ, reader_of
from autofuse_jax.data.formats import AFFINE_KEY, IMAGE_KEY, load_array, load_image, load_npz, npz_names
from autofuse_jax.data.nifti_files import nifti_image
from autofuse_jax.errors import UserError
from autofuse_jax.files import replacing
from autofuse_jax.transforms.grids import LONGEST_MM, ImageGrid

# Key that `numpy.savez` gives to an array without a name; Learn2Reg submissions have it.
UNNAMED_KEY = 'arr_0'
NO_INTENT = 0


@dataclasses.dataclass(frozen=True, eq=False)
class TransformFile:
    """The content of a file that may hold a dense transform.

    Attributes:
        path: The file.
        array: Its values, in file order.
        affine: (4, 4), voxel indices to RAS millimetres; None where the file has none.
        intent: NIfTI intent code, 0 for other formats.
        intent_name: NIfTI intent name, '' for other formats.
        key: Name of the array in an npz file, '' for other formats.
        fsl_obstacle: Reason in the header why FSL counts along its axes in another way, '' where it does not.
    """

    path: Path
    array: np.ndarray
    affine: np.ndarray | None
    intent: int
    intent_name: str
    key: str
    fsl_obstacle: str = ''

    @property
    def grid(self) -> ImageGrid | None:
        """The grid of the field, whether its components come first or last; None where the file has no affine."""
        shape = self.array.shape
        first = len(shape) == 4 and shape[-1] != 3
        return None if self.affine is None else ImageGrid(shape[1:4] if first else shape[:3], self.affine)


def open_field(path: str | os.PathLike) -> TransformFile:
    """Read a file that may hold a dense transform.

    Args:
        path: An image file, see `data.formats.open_image`.

    Returns:
        Its content, unchecked but for the numbers being real and the affine not singular.

    Raises:
        UserError: Missing or damaged file, unknown extension, or an npz without an array of a known name.
    """
    path = Path(path)
    if path.is_dir():
        raise UserError(f'{path} is a folder', expected='a file with a transform', fix='check the path')
    if reader_of(path) != NPZ:
        image, array = load_image(path, IMAGE_KEY)
        return TransformFile(path, array, image.affine, image.intent, image.intent_name, '', image.notes.fsl_obstacle)
    names = npz_names(path)
    key = next((key for key in (IMAGE_KEY, UNNAMED_KEY) if key in names), None)
    if key is None:
        raise UserError(
            f'{path} holds {", ".join(names) or "nothing"}',
            expected=f'an array named {IMAGE_KEY!r} (voxel convention) or {UNNAMED_KEY!r} (Learn2Reg)',
            fix='write it under that name',
        )
    if AFFINE_KEY in names:
        array, affine = load_array(path, key)
        return TransformFile(path, array, affine, NO_INTENT, '', key)
    array = load_npz(path, (key,))[key]
    if array.dtype.kind not in 'biuf':
        raise UserError(f'{path} holds values of type {array.dtype}', expected='real numbers')
    return TransformFile(path, array, None, NO_INTENT, '', key)


def check_is_file(path: str | os.PathLike) -> None:
    """Check that a path leads to a file.

    Args:
        path: Any path.

    Raises:
        UserError: There is nothing, or a folder.
    """
    if not Path(path).is_file():
        problem = f'{path} is a folder' if Path(path).is_dir() else f'there is no file {path}'
        raise UserError(problem, fix='check the path')


def finite_field(path: str | os.PathLike, field: np.ndarray) -> np.ndarray:
    """Return a field (D, H, W, 3) as float64 after checking that every number is finite and could be a length.

    Raises:
        UserError: There are NaN, infinite or far too large values.
    """
    check_finite(path, field)
    return np.asarray(field, np.float64)


def check_finite(path: str | os.PathLike, field: np.ndarray) -> None:
    """Check that every number of a field is finite and could be a length.

    Raises:
        UserError: There are NaN or infinite values, or some beyond `LONGEST_MM`, which are damage.
    """
    # Of 64 bits, because half a number's precision does not reach so far.
    longest = np.float64(LONGEST_MM)
    good = field <= longest
    good &= field >= -longest
    bad = field.size - int(np.count_nonzero(good))
    if bad:
        raise UserError(
            f'the transform {path} holds {bad} NaN or infinite values, or values beyond {LONGEST_MM:g}',
            fix='make the transform again',
        )


def store_nifti(
    path: str | os.PathLike, array: np.ndarray, affine: np.ndarray, intent: int, intent_name: str = ''
) -> None:
    """Write an array as NIfTI with sform and qform, millimetres, and an intent.

    Args:
        path: Ends in .nii or .nii.gz.
        array: The values.
        affine: (4, 4), voxel indices to RAS millimetres.
        intent: NIfTI intent code.
        intent_name: Intent of the header, at most 15 characters.

    Raises:
        OSError: The file cannot be written; what was there before is kept.
    """
    image = nifti_image(array, affine)
    # Not `set_intent`, which knows the codes of the standard only.
    image.header['intent_code'] = intent
    image.header['intent_name'] = intent_name
    with replacing(path) as temporary:
        nib.save(image, temporary)
