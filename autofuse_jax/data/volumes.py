"""The `Volume`: an image with its labels and its place in space, read from and written to files with checks."""

import dataclasses
import os
from pathlib import Path

import numpy as np

from autofuse_jax.data.formats import IMAGE_KEY, LABELS_KEY, load_image, store_array
from autofuse_jax.data.notes import NO_NOTES, Notes
from autofuse_jax.data.voxel_values import mask_weights, whole_numbers, without_trailing_ones
from autofuse_jax.errors import UserError
from autofuse_jax.transforms.grids import ImageGrid


@dataclasses.dataclass(frozen=True, eq=False)
class Volume:
    """An image, optionally with a label map and a mask on the same grid.

    Attributes:
        image: float32 (D, H, W), or (D, H, W, T) for a series of T frames.
        labels: Integer (D, H, W), 0 for background, or None where unlabelled.
        affine: float64 (4, 4), from voxel indices to RAS millimetres.
        name: Name in messages, usually that of the file.
        mask: (D, H, W), at least 0: how much each voxel counts for the similarity of a registration; None: all alike.
        notes: Times and text of the file, which go along with what is made of the image.
    """

    image: np.ndarray
    labels: np.ndarray | None
    affine: np.ndarray
    name: str
    mask: np.ndarray | None = None
    notes: Notes = NO_NOTES

    def __post_init__(self):
        if self.image.ndim not in (3, 4):
            problem = f'the image of {self.name} has shape {self.image.shape}'
            raise UserError(problem, expected='(D, H, W) or (D, H, W, T)')
        if self.labels is not None and self.labels.shape != self.image.shape[:3]:
            raise UserError(
                f'the labels of {self.name} have shape {self.labels.shape}, its image {self.image.shape[:3]}',
                expected='one label per voxel of the image',
                fix='pair the image with its own label map',
            )
        if self.affine.shape != (4, 4):
            raise UserError(f'the affine of {self.name} has shape {self.affine.shape}', expected='(4, 4)')
        if self.mask is not None and self.mask.shape != self.image.shape[:3]:
            raise UserError(
                f'the mask of {self.name} has shape {self.mask.shape}, its image {self.image.shape[:3]}',
                expected='one weight per voxel of the image',
            )

    @property
    def grid(self) -> ImageGrid:
        """The voxels of the image and where they are; of a series, those of each frame."""
        return ImageGrid(self.image.shape[:3], self.affine)

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel size along (D, H, W) in millimetres."""
        return self.grid.spacing


def read_image(
    path: str | os.PathLike, *, allow_series: bool = False, allow_missing: bool = False, allow_constant: bool = False
) -> Volume:
    """Read an image without labels.

    Args:
        path: An image file, see `formats.open_image`; an npz holds `vol` and, optionally, `affine`.
        allow_series: Whether a 4-D image (D, H, W, T) is accepted, default False.
        allow_missing: Whether NaN and infinite values are accepted, default False; they become NaN.
        allow_constant: Whether an image with the same value everywhere is accepted, default False: it has nothing that
            could be registered, but it can be moved.

    Returns:
        The volume, float32, axes in file order.

    Raises:
        UserError: Missing, damaged or unknown file, wrong number of axes, NaN or infinite values where they are not
            accepted, nothing else, or the same value everywhere where that is not.
    """
    stored, array = load_image(path, IMAGE_KEY)
    image = _checked_image(array, path, allow_series, allow_missing, allow_constant)
    return Volume(image, None, stored.affine.astype(np.float64), Path(path).name, notes=stored.notes)


def read_labels(path: str | os.PathLike) -> tuple[np.ndarray, ImageGrid]:
    """Read a label map.

    Args:
        path: An image file, see `formats.open_image`; an npz holds `seg` and, optionally, `affine`.

    Returns:
        int32 labels (D, H, W) and their grid.

    Raises:
        UserError: Missing, damaged or unknown file, not 3-D, or values that are not whole numbers.
    """
    stored, array = load_image(path, LABELS_KEY)
    labels = whole_numbers(array, f'the label map {path}')
    return labels, ImageGrid(labels.shape, stored.affine.astype(np.float64))


def read_label_series(path: str | os.PathLike) -> tuple[np.ndarray, ImageGrid, Notes]:
    """Read a label map of one frame or of several.

    Args:
        path: As for `read_labels`.

    Returns:
        int32 labels (D, H, W) or (D, H, W, T), the grid of each frame, and times and text of the file.

    Raises:
        UserError: As `read_labels`, of another shape.
    """
    stored, array = load_image(path, LABELS_KEY)
    labels = whole_numbers(array, f'the label map {path}', allow_series=True)
    return labels, ImageGrid(labels.shape[:3], stored.affine.astype(np.float64)), stored.notes


def read_weights(path: str | os.PathLike) -> tuple[np.ndarray, ImageGrid]:
    """Read a mask.

    Args:
        path: As for `read_labels`.

    Returns:
        float32 weights (D, H, W) in [0, 1], see `mask_weights`, and their grid.

    Raises:
        UserError: Missing, damaged or unknown file, not 3-D, or values that are no weights.
    """
    stored, array = load_image(path, LABELS_KEY)
    weights = mask_weights(array, f'the mask {path}')
    return weights, ImageGrid(weights.shape, stored.affine.astype(np.float64))


def write_image(path: str | os.PathLike, image: np.ndarray, affine: np.ndarray, notes: Notes = NO_NOTES) -> None:
    """Write an image as float32.

    Args:
        path: A file with one of `file_kinds.WRITE_SUFFIXES`.
        image: (D, H, W) or (D, H, W, T).
        affine: (4, 4), voxel indices to RAS millimetres.
        notes: Times and text for the header.

    Raises:
        UserError: Unknown extension, or the package that writes it is missing.
        OSError: The file cannot be written.
    """
    store_array(path, np.asarray(image, np.float32), affine, IMAGE_KEY, notes)


def write_labels(path: str | os.PathLike, labels: np.ndarray, affine: np.ndarray, notes: Notes = NO_NOTES) -> None:
    """Write a label map in the smallest of uint8, int16 and int32 that holds its ids.

    Args:
        path: A file with one of `file_kinds.WRITE_SUFFIXES`.
        labels: Integer (D, H, W), or (D, H, W, T) for a series.
        affine: (4, 4), voxel indices to RAS millimetres.
        notes: Times and text for the header.

    Raises:
        UserError: Unknown extension, the package that writes it is missing, or labels that are not whole numbers.
        OSError: The file cannot be written.
    """
    ids = whole_numbers(labels, f'the label map {path}', allow_series=True)
    store_array(path, _smallest_type(ids), affine, LABELS_KEY, notes)


def _checked_image(
    array: np.ndarray, path: str | os.PathLike, allow_series: bool, allow_missing: bool, allow_constant: bool
) -> np.ndarray:
    array = without_trailing_ones(array)
    allowed = (3, 4) if allow_series else (3,)
    if array.ndim not in allowed or 0 in array.shape:
        series = ' or a series (D, H, W, T)' if allow_series else ''
        raise UserError(f'the image {path} has shape {array.shape}', expected=f'three axes (D, H, W){series}')
    # Values beyond float32 become infinite here, and are then reported like any other infinite value.
    with np.errstate(over='ignore'):
        image = np.ascontiguousarray(array, np.float32)
    known = np.isfinite(image)
    bad = int(image.size - np.count_nonzero(known))
    if bad == image.size or bad and not allow_missing:
        raise UserError(f'the image {path} holds {bad} NaN or infinite values', fix='repair or leave out this image')
    if bad:
        image[~known] = np.nan
    low, high = np.nanmin(image), np.nanmax(image)
    if low == high and not allow_constant:
        raise UserError(f'the image {path} has the same value {low:g} everywhere', fix='leave out this image')
    return image


def _smallest_type(labels: np.ndarray) -> np.ndarray:
    for kind in (np.uint8, np.int16):
        limits = np.iinfo(kind)
        if limits.min <= labels.min() and labels.max() <= limits.max:
            return labels.astype(kind)
    return labels.astype(np.int32)
