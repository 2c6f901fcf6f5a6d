"""What a user gives, read and checked: an image with its labels and mask as files, arrays or a volume; label names."""

import dataclasses
import os
from collections.abc import Callable

import nibabel as nib
import numpy as np

from autofuse_jax.data.volumes import (
    Volume,
    read_image,
    read_labels,
    read_weights,
)
from autofuse_jax.data.voxel_values import mask_weights, whole_numbers
from autofuse_jax.errors import UserError
from autofuse_jax.records.forms import LABEL_ID, Table, Text
from autofuse_jax.records.reading import read_json
from autofuse_jax.transforms.grid_words import describe_difference
from autofuse_jax.transforms.grids import SAME_GRID_VOXELS, ImageGrid, axes_onto

# Names of labels: an object of id to name.
LABEL_NAMES = Table(Text(), LABEL_ID)
# An image as a file, as an array (voxels of 1 mm) or as a volume.
ImageLike = str | os.PathLike | np.ndarray | Volume
# A label map or a mask as a file or as an array on the grid of its image.
LabelsLike = str | os.PathLike | np.ndarray


def open_volume(
    image: ImageLike,
    role: str,
    *,
    labels: LabelsLike | None = None,
    mask: LabelsLike | None = None,
    allow_series: bool = False,
) -> Volume:
    """Return an image with what belongs to it.

    Args:
        image: A file, an array (D, H, W) of 1 mm voxels, or a volume.
        role: Name of an array in messages, such as 'fixed'.
        labels: A file or an array of whole numbers on the grid of the image, in any order of its axes; None keeps the
            labels of a volume.
        mask: Likewise: whole numbers that are not 0 where the image counts, or weights from 0 to 1; None keeps the mask
            of a volume.
        allow_series: Whether a file may hold a series (D, H, W, T), default False.

    Returns:
        The volume; its mask is float32 weights in [0, 1].

    Raises:
        UserError: A file cannot be read, the values of an array are not finite, labels are not whole numbers, the mask
            is no mask, or one of them lies on another grid.
    """
    volume = _as_volume(image, role, allow_series)
    if labels is not None:
        volume = dataclasses.replace(
            volume, labels=_on_grid_of(volume, labels, 'label map', read_labels, whole_numbers)
        )
    if mask is not None:
        volume = dataclasses.replace(volume, mask=_on_grid_of(volume, mask, 'mask', read_weights, mask_weights))
    return volume


def read_classes(path: str | os.PathLike | None) -> dict[int, str]:
    """Read the names of labels.

    Args:
        path: JSON such as {"1": "left ventricle"}, or None.

    Returns:
        Label id to name; empty for None.

    Raises:
        UserError: The file is not of that form.
    """
    if path is None:
        return {}
    content = read_json(path, LABEL_NAMES, kind='the label names', expected='JSON such as {"1": "left ventricle"}')
    return {int(label): name for label, name in content.items()}


def check_on_voxels(grid: ImageGrid, image: ImageGrid, name: str, image_name: str) -> np.ndarray:
    """Check that a label map or a mask lies on the voxels of its image.

    Args:
        grid: Its grid.
        image: Grid of the image.
        name: Its name in messages, such as 'label map seg.nii.gz'.
        image_name: Name of the image in messages.

    Returns:
        The order of its axes that is that of the image, see `axes_onto`.

    Raises:
        UserError: It lies on other voxels.
    """
    axes = axes_onto(grid, image)
    if axes is None:
        here, there, apart = describe_difference(grid, image)
        raise UserError(
            f'the {name} lies on another grid than {image_name}: {here} against {there}{apart}',
            expected=f'one on the voxels of its image, within {SAME_GRID_VOXELS:g} of a voxel',
            fix='resample it to the image by nearest neighbour, or leave it out',
        )
    return axes


def _as_volume(image: ImageLike, role: str, allow_series: bool) -> Volume:
    if isinstance(image, Volume):
        return image
    if isinstance(image, str | os.PathLike):
        return read_image(image, allow_series=allow_series, allow_missing=True)
    array = np.asarray(image)
    if array.dtype.kind not in 'biuf' or array.ndim != 3:
        raise UserError(
            f'the {role} array has type {array.dtype} and shape {array.shape}', expected='numbers (D, H, W)'
        )
    if not np.isfinite(array).any():
        raise UserError(f'the {role} array holds no number that is finite', fix='check where it comes from')
    return Volume(array.astype(np.float32), None, np.eye(4), role)


def _on_grid_of(
    volume: Volume,
    labels: LabelsLike,
    kind: str,
    read: Callable[[str | os.PathLike], tuple[np.ndarray, ImageGrid]],
    check: Callable[[np.ndarray, str], np.ndarray],
) -> np.ndarray:
    """Return a label map or a mask after checking that it lies on the voxels of an image.

    Args:
        volume: The image.
        labels: The label map or mask.
        kind: What it is, in words.
        read: Reader of its file.
        check: Check of its values where it is an array, given the name for messages.

    Returns:
        The values in the order of the image's axes.

    Raises:
        UserError: It is no label map or mask, or lies on other voxels.
    """
    if isinstance(labels, str | os.PathLike):
        name = f'{kind} {labels}'
        array, grid = read(labels)
    else:
        name = f'{kind} of {volume.name}'
        array = np.asarray(labels)
        if array.dtype.kind not in 'biuf':
            raise UserError(f'the {name} has type {array.dtype}', expected='numbers')
        array = check(array, f'the {name}')
        grid = ImageGrid(array.shape, volume.affine)
    axes = check_on_voxels(grid, volume.grid, name, volume.name)
    return np.ascontiguousarray(nib.orientations.apply_orientation(array, axes))
