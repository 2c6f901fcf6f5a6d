"""What a user gives, read and checked: an image with its labels and mask as files, arrays or a volume; label names."""

import dataclasses
import json
import os
from pathlib import Path

import numpy as np

from autofuse_jax.data.volumes import Volume, read_image, read_labels
from autofuse_jax.errors import UserError
from autofuse_jax.transforms.grids import ImageGrid

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
        labels: A file or an integer array on the grid of the image; None keeps the labels of a volume.
        mask: Likewise, not zero where the image counts; None keeps the mask of a volume.
        allow_series: Whether a file may hold a series (D, H, W, T), default False.

    Returns:
        The volume; its mask is float32, 1 where the given one is not zero.

    Raises:
        UserError: A file cannot be read, the values of an array are not finite, labels or mask are not whole numbers or
            lie on another grid, or the mask is empty.
    """
    volume = _as_volume(image, role, allow_series)
    if labels is not None:
        volume = dataclasses.replace(volume, labels=_on_grid_of(volume, labels, 'label map'))
    if mask is not None:
        weights = (_on_grid_of(volume, mask, 'mask') != 0).astype(np.float32)
        if not weights.any():
            raise UserError(f'the mask of {volume.name} is empty', fix='leave it out, or mark what counts by 1')
        volume = dataclasses.replace(volume, mask=weights)
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
    try:
        content = json.loads(Path(path).read_text(encoding='utf-8'))
        return {int(label): str(name) for label, name in content.items()}
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(
            f'the label names {path} cannot be read ({error})', expected='JSON such as {"1": "left ventricle"}'
        ) from error


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


def _on_grid_of(volume: Volume, labels: LabelsLike, kind: str) -> np.ndarray:
    """Return the integers of a label map or a mask after checking that they lie on the voxels of an image."""
    if isinstance(labels, str | os.PathLike):
        name = f'{kind} {labels}'
        array, grid = read_labels(labels)
    else:
        name = f'{kind} given as an array'
        array = np.asarray(labels)
        if array.dtype.kind not in 'biu':
            raise UserError(f'the {kind} of {volume.name} has type {array.dtype}', expected='whole numbers')
        array = array.astype(np.int32)
        grid = ImageGrid(array.shape, volume.affine)
    if not grid.same_as(volume.grid):
        raise UserError(
            f'the {name} lies on another grid than {volume.name}: {_described(grid)} against {_described(volume.grid)}',
            expected=f'a {kind} on the voxels of its image',
            fix='resample it to the image by nearest neighbour, or leave it out',
        )
    return array


def _described(grid: ImageGrid) -> str:
    size = ' x '.join(str(length) for length in grid.shape)
    voxel = ' x '.join(f'{length:.4g}' for length in grid.spacing)
    first = ', '.join(f'{value:.1f}' for value in grid.affine[:3, 3])
    return f'{size} voxels of {voxel} mm, axes {grid.orientation}, from ({first})'
