"""NRRD and MetaImage files, which SimpleITK reads and writes, and where ITK's grids lie in this package's world."""

import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from autofuse_jax.data.compressed import check_itk_values
from autofuse_jax.data.file_kinds import DAMAGED_FILE_ERRORS, check_is_file, unreadable
from autofuse_jax.data.nifti_forms import right_angles
from autofuse_jax.data.notes import LONGEST_DESCRIPTION, Notes
from autofuse_jax.data.nrrd_headers import nrrd_unit_mm, read_nrrd_fields
from autofuse_jax.data.stored_images import StoredImage
from autofuse_jax.errors import UserError
from autofuse_jax.transforms.grids import spacing_of

RAS_FROM_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
# NIfTI's intent of several numbers a voxel, which other formats have without a code.
VECTOR_INTENT = 1007
# More numbers a voxel than this are frames and no vector.
MOST_COMPONENTS = 4
NRRD_SUFFIXES = ('.nrrd', '.nhdr')


def require_itk(what: str) -> Any:
    """Return the module SimpleITK.

    Args:
        what: What needs it, in words.

    Raises:
        UserError: It is not installed.
    """
    try:
        import SimpleITK
    except ModuleNotFoundError as error:
        raise UserError(
            f'{what} needs SimpleITK, which is not installed',
            fix="pip install 'autofuse_jax[itk]', or convert to NIfTI",
        ) from error
    return SimpleITK


def open_with_itk(path: str | os.PathLike) -> StoredImage:
    """Open a NRRD or MetaImage file.

    Args:
        path: The file; of a header with values beside it, the header.

    Returns:
        The image; several numbers a voxel are a fifth axis, as in NIfTI.

    Raises:
        UserError: Missing or damaged file, or SimpleITK is not installed.
    """
    path = Path(path)
    check_is_file(path)
    sitk = require_itk(f'reading {path}')
    try:
        with path_for_itk(path) as name:
            information = sitk.ImageFileReader()
            information.SetFileName(name)
            information.ReadImageInformation()
            dtype = sitk.GetArrayViewFromImage(sitk.Image([1, 1], information.GetPixelID())).dtype
        fields = read_nrrd_fields(path) if path.suffix.lower() in NRRD_SUFFIXES else {}
    except DAMAGED_FILE_ERRORS as error:
        raise unreadable(path, itk_reason(error)) from error
    size, components = tuple(information.GetSize()), information.GetNumberOfComponents()
    shape: tuple[int, ...] = (*size, *[1] * (3 - len(size)))
    if components > MOST_COMPONENTS and len(size) == 3:
        shape += (components,)
    elif components > 1:
        shape = (*shape, *[1] * (4 - len(shape)), components)

    def read() -> np.ndarray:
        try:
            check_itk_values(path)
            with path_for_itk(path) as name:
                array = sitk.GetArrayFromImage(sitk.ReadImage(name))
        except DAMAGED_FILE_ERRORS as error:
            raise unreadable(path, itk_reason(error)) from error
        # ITK's first axis varies fastest, and its components even faster.
        turned = array.T if components == 1 else np.moveaxis(array, -1, 0).T
        return np.ascontiguousarray(turned).reshape(shape)

    spacing, unit_mm = information.GetSpacing(), nrrd_unit_mm(path, fields)
    affine = ras_affine(information.GetOrigin(), information.GetDirection(), spacing)
    affine[:3] *= unit_mm
    return StoredImage(
        path,
        format=path.suffix[1:].upper(),
        shape=shape,
        dtype=dtype,
        affine=affine,
        read=read,
        notes=Notes(
            time_step=spacing[3] if len(spacing) > 3 else 0.0,
            description=fields.get('content', '').encode()[:LONGEST_DESCRIPTION],
            itk_obstacle='' if unit_mm == 1 else f'ITK takes the lengths of {path.name} for millimetres',
        ),
        intent=VECTOR_INTENT if components > 1 and len(shape) > 4 else 0,
    )


def write_with_itk(path: str | os.PathLike, array: np.ndarray, affine: np.ndarray, time_step: float = 0.0) -> None:
    """Write an image as NRRD or MetaImage.

    Args:
        path: The file.
        array: (D, H, W) or (D, H, W, T), numbers.
        affine: (4, 4), voxel indices to RAS millimetres.
        time_step: Time from one frame to the next; 0, the default, where it is not known.

    Raises:
        UserError: The axes are not at right angles, or SimpleITK is not installed.
        OSError: The file cannot be written.
    """
    sitk = require_itk(f'writing {path}')
    check_right_angles(path, affine)
    # Of four axes SimpleITK would take the last for the components of a vector.
    image = sitk.GetImageFromArray(np.ascontiguousarray(array.T), isVector=False)
    lps = RAS_FROM_LPS @ affine
    extra = array.ndim - 3
    direction = np.eye(array.ndim)
    direction[:3, :3] = lps[:3, :3] / spacing_of(lps)
    image.SetSpacing([*spacing_of(lps), *[time_step if time_step > 0 else 1.0] * extra])
    image.SetOrigin([*lps[:3, 3].tolist(), *[0.0] * extra])
    image.SetDirection(direction.ravel().tolist())
    try:
        with path_for_itk(path) as name:
            sitk.WriteImage(image, name, True)
    except RuntimeError as error:
        raise OSError(f'{path} cannot be written: {itk_reason(error)}') from error


def check_right_angles(path: str | os.PathLike, affine: np.ndarray) -> None:
    """Check that ITK can hold the axes of a grid.

    Args:
        path: File that is to be written.
        affine: (4, 4) of the grid.

    Raises:
        UserError: They are not at right angles.
    """
    if not right_angles(affine):
        raise UserError(
            f'{path} cannot be written: its axes are not at right angles, which ITK cannot hold',
            fix='write NIfTI, or resample the fixed image to a grid without shear first',
        )


def ras_affine(origin: Sequence[float], direction: Sequence[float], spacing: Sequence[float]) -> np.ndarray:
    """Return the affine (4, 4) to RAS millimetres of one of ITK's grids.

    Args:
        origin: Centre of the first voxel, LPS millimetres; 2 to 4 numbers, of which three count.
        direction: Axes as columns, row by row.
        spacing: Voxel size along each axis.
    """
    rank = len(spacing)
    axes = np.reshape(direction, (rank, rank)) * np.asarray(spacing)
    affine = np.eye(4)
    count = min(rank, 3)
    affine[:count, :count] = axes[:count, :count]
    affine[:count, 3] = origin[:count]
    return RAS_FROM_LPS @ affine


@contextlib.contextmanager
def path_for_itk(path: str | os.PathLike) -> Iterator[str]:
    """Yield a name of a file that ITK can open: it takes UTF-8 only, so that others get a link with a plain name.

    Args:
        path: The file; it need not exist.

    Yields:
        The name.
    """
    raw = os.fsencode(os.path.abspath(path))
    with contextlib.ExitStack() as stack:
        try:
            name = raw.decode('utf-8')
        except UnicodeDecodeError:
            link = Path(stack.enter_context(tempfile.TemporaryDirectory())) / f'image{Path(path).suffix}'
            link.symlink_to(os.path.abspath(path))
            name = str(link)
        yield name


def itk_reason(error: BaseException) -> BaseException:
    """Return an error of ITK without the places in its source: the last line of what it says."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return OSError(lines[-1].removeprefix('ITK ERROR: ')) if lines else error
