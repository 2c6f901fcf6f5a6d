"""The `Volume`: an image with its labels and its place in space, read from and written to files with checks."""

import dataclasses
import os
from pathlib import Path

import numpy as np

from autofuse_jax.data.formats import (
    IMAGE_KEY,
    LABELS_KEY,
    load_array,
    store_array,
)
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
    """

    image: np.ndarray
    labels: np.ndarray | None
    affine: np.ndarray
    name: str
    mask: np.ndarray | None = None

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


def read_image(path: str | os.PathLike, *, allow_series: bool = False, allow_missing: bool = False) -> Volume:
    """Read an image without labels.

    Args:
        path: A .nii, .nii.gz, .mgz or .npz (`vol`, optional `affine`) file.
        allow_series: Whether a 4-D image (D, H, W, T) is accepted, default False.
        allow_missing: Whether NaN and infinite values are accepted, default False; they become NaN.

    Returns:
        The volume, float32, axes in file order.

    Raises:
        UserError: Missing, damaged or unknown file, wrong number of axes, NaN or infinite values where they are not
            accepted, nothing else, or the same value everywhere.
    """
    array, affine = load_array(path, IMAGE_KEY)
    return Volume(_checked_image(array, path, allow_series, allow_missing), None, affine, Path(path).name)


def read_labels(path: str | os.PathLike) -> tuple[np.ndarray, ImageGrid]:
    """Read a label map.

    Args:
        path: A .nii, .nii.gz, .mgz or .npz (`seg`, optional `affine`) file.

    Returns:
        int32 labels (D, H, W) and their grid.

    Raises:
        UserError: Missing, damaged or unknown file, not 3-D, or values that are not whole numbers.
    """
    array, affine = load_array(path, LABELS_KEY)
    labels = _checked_labels(array, path)
    return labels, ImageGrid(labels.shape, affine)


def write_image(path: str | os.PathLike, image: np.ndarray, affine: np.ndarray) -> None:
    """Write an image as float32.

    Args:
        path: Ends in .nii, .nii.gz, .mgz or .npz.
        image: (D, H, W) or (D, H, W, T).
        affine: (4, 4), voxel indices to RAS millimetres.

    Raises:
        UserError: Unknown extension.
        OSError: The file cannot be written.
    """
    store_array(path, np.asarray(image, np.float32), affine, IMAGE_KEY)


def write_labels(path: str | os.PathLike, labels: np.ndarray, affine: np.ndarray) -> None:
    """Write a label map in the smallest of uint8, int16 and int32 that holds its ids.

    Args:
        path: Ends in .nii, .nii.gz, .mgz or .npz.
        labels: Integer (D, H, W), or (D, H, W, T) for a series.
        affine: (4, 4), voxel indices to RAS millimetres.

    Raises:
        UserError: Unknown extension, or labels that are not whole numbers.
        OSError: The file cannot be written.
    """
    store_array(path, _smallest_type(_checked_labels(labels, path, allow_series=True)), affine, LABELS_KEY)


def _checked_image(array: np.ndarray, path: str | os.PathLike, allow_series: bool, allow_missing: bool) -> np.ndarray:
    array = _without_trailing_ones(array)
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
    if low == high:
        raise UserError(f'the image {path} has the same value {low:g} everywhere', fix='leave out this image')
    return image


def _checked_labels(array: np.ndarray, path: str | os.PathLike, *, allow_series: bool = False) -> np.ndarray:
    array = _without_trailing_ones(np.asarray(array))
    if array.ndim not in ((3, 4) if allow_series else (3,)) or 0 in array.shape:
        raise UserError(f'the label map {path} has shape {array.shape}', expected='three axes (D, H, W)')
    limits = np.iinfo(np.int32)
    with np.errstate(invalid='ignore'):
        labels = np.ascontiguousarray(array, np.int32)
    if array.min() < limits.min or array.max() > limits.max or not np.array_equal(labels, array):
        raise UserError(
            f'the label map {path} holds values that are not whole numbers',
            expected='one integer id per voxel, below 2^31',
            fix='check that it is a label map and not an image, and that it was resampled by nearest neighbour',
        )
    return labels


def _without_trailing_ones(array: np.ndarray) -> np.ndarray:
    """Drop axes of length 1 behind the third: many tools write a single volume as (D, H, W, 1)."""
    while array.ndim > 3 and array.shape[-1] == 1:
        array = array[..., 0]
    return array


def _smallest_type(labels: np.ndarray) -> np.ndarray:
    for kind in (np.uint8, np.int16):
        limits = np.iinfo(kind)
        if limits.min <= labels.min() and labels.max() <= limits.max:
            return labels.astype(kind)
    return labels.astype(np.int32)
