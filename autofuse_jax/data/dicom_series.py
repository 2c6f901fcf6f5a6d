"""A DICOM series in a folder: its slices in order, its place from the positions of the slices, tilted gantries too."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from autofuse_jax.data.file_kinds import DAMAGED_FILE_ERRORS, unreadable
from autofuse_jax.data.itk_images import RAS_FROM_LPS, itk_reason, open_with_itk, path_for_itk, require_itk
from autofuse_jax.data.stored_images import StoredImage
from autofuse_jax.errors import UserError

# Slices that lie off an even stack by more than this share of their distance are an uneven stack.
UNEVEN_SHARE = 0.05
# Axes and pixel sizes that differ by less than this are the same.
SAME_AXES = 1e-4


def open_dicom_series(folder: str | os.PathLike) -> StoredImage:
    """Open the DICOM series in a folder.

    The affine comes from the positions of the slices, which say where a stack with a tilted gantry is.

    Args:
        folder: The folder, with the files of one series.

    Returns:
        The image, float32 with the scaling of each slice applied.

    Raises:
        UserError: No series or several, slices of different sizes or directions, slices missing or at the same place,
            damaged files, or SimpleITK is not installed.
    """
    folder = Path(folder)
    sitk = require_itk(f'{folder} is a folder: reading a DICOM series')
    try:
        with path_for_itk(folder) as name, _without_warnings(sitk):
            series = sitk.ImageSeriesReader.GetGDCMSeriesIDs(name)
            files = {number: sitk.ImageSeriesReader.GetGDCMSeriesFileNames(name, number) for number in series}
    except DAMAGED_FILE_ERRORS as error:
        raise unreadable(folder, itk_reason(error)) from error
    if len(files) != 1:
        counts = ', '.join(str(len(names)) for names in files.values())
        raise UserError(
            f'the folder {folder} holds {len(files)} DICOM series' + (f' of {counts} files' if files else ''),
            expected='the files of one series',
            fix='put them into a folder of their own' if files else 'name a file, or the folder with the DICOM files',
        )
    names = [Path(os.fsdecode(name.encode('utf-8'))) for name in next(iter(files.values()))]
    if len(names) == 1:
        return open_with_itk(names[0])
    try:
        slices = [_information(sitk, name) for name in names]
    except DAMAGED_FILE_ERRORS as error:
        raise unreadable(folder, itk_reason(error)) from error
    _check_alike(folder, slices)
    order, affine = stack_of(folder, np.array([one.GetOrigin() for one in slices]), slices[0])
    shape = (*slices[0].GetSize()[:2], len(names))

    def read() -> np.ndarray:
        try:
            reader = sitk.ImageSeriesReader()
            reader.SetFileNames([str(names[number]) for number in order])
            reader.SetOutputPixelType(sitk.sitkFloat32)
            return np.ascontiguousarray(sitk.GetArrayFromImage(reader.Execute()).T).reshape(shape)
        except DAMAGED_FILE_ERRORS as error:
            raise unreadable(folder, itk_reason(error)) from error

    return StoredImage(folder, 'DICOM series', shape, np.dtype(np.float32), affine, read)


def stack_of(folder: Path, positions: np.ndarray, first: Any) -> tuple[list[int], np.ndarray]:
    """Return the order of slices along their normal, and the affine of the stack.

    Args:
        folder: Folder of the series, for messages.
        positions: (N, 3), centres of the first pixels, LPS millimetres.
        first: Any slice, with the direction and the pixel size of all.

    Returns:
        Numbers of the slices from the first of the stack to the last, and the affine (4, 4) to RAS millimetres.

    Raises:
        UserError: Slices are missing, at the same place or unevenly spaced.
    """
    axes = np.reshape(first.GetDirection(), (3, 3))
    heights = positions @ axes[:, 2]
    order = np.argsort(heights, kind='stable')
    gaps = np.diff(heights[order])
    step = (positions[order[-1]] - positions[order[0]]) / (len(positions) - 1)
    usual = float(np.median(gaps))
    if gaps.min() <= UNEVEN_SHARE * max(usual, gaps.max()):
        raise UserError(
            f'the DICOM series in {folder} has several slices at the same place',
            expected='one volume, each slice at a place of its own',
            fix='convert a series of several volumes to NIfTI first, such as with dcm2niix',
        )
    even = positions[order[0]] + np.arange(len(positions))[:, None] * step
    if np.linalg.norm(positions[order] - even, axis=1).max() > UNEVEN_SHARE * usual:
        widest = int(gaps.argmax())
        raise UserError(
            f'the slices of the DICOM series in {folder} are unevenly spaced: most are {usual:.4g} mm apart, '
            f'numbers {widest + 1} and {widest + 2} from the first {gaps[widest]:.4g} mm',
            expected='slices at equal distances, none missing',
            fix='fetch the missing slices, or resample the series to an even grid',
        )
    affine = np.eye(4)
    affine[:3, :2] = axes[:, :2] * np.asarray(first.GetSpacing()[:2])
    affine[:3, 2], affine[:3, 3] = step, positions[order[0]]
    return order.tolist(), RAS_FROM_LPS @ affine


@contextlib.contextmanager
def _without_warnings(sitk: Any) -> Iterator[None]:
    """Keep ITK from warning of a folder without DICOM files; an error tells the user."""
    before = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(before)


def _information(sitk: Any, path: Path) -> Any:
    information = sitk.ImageFileReader()
    information.SetFileName(str(path))
    information.ReadImageInformation()
    return information


def _check_alike(folder: Path, slices: Sequence[Any]) -> None:
    first = slices[0]
    for one in slices:
        sizes = one.GetSize()[:2] == first.GetSize()[:2] and one.GetNumberOfComponents() == 1
        near = np.allclose(one.GetDirection(), first.GetDirection(), atol=SAME_AXES)
        if not sizes or not near or not np.allclose(one.GetSpacing()[:2], first.GetSpacing()[:2], rtol=SAME_AXES):
            raise UserError(
                f'the DICOM series in {folder} mixes slices of different sizes, directions or colours',
                expected='the slices of one stack of grey values',
                fix='put the files of one stack into a folder of their own (localisers have several)',
            )
