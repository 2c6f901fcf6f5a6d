"""What a registration starts from, read and checked: images, labels and masks as files, arrays or volumes."""

import json
import os
from pathlib import Path

import numpy as np

from autofuse_jax.data.volumes import Volume, read_image, read_labels
from autofuse_jax.errors import UserError
from autofuse_jax.transforms.grids import ImageGrid

# An image as a file, as an array (voxels of 1 mm unless an affine says otherwise) or as a volume.
ImageLike = str | os.PathLike | np.ndarray | Volume


def as_volume(image: ImageLike, role: str, affine: np.ndarray | None = None) -> Volume:
    """Return an image as a volume without labels.

    Args:
        image: A file, an array (D, H, W) or a volume.
        role: 'fixed' or 'moving', for messages.
        affine: (4, 4) of an array; None is the identity.

    Returns:
        The volume.

    Raises:
        UserError: The file cannot be read, or the values are not finite or all the same.
    """
    if isinstance(image, Volume):
        return image
    if isinstance(image, str | os.PathLike):
        return read_image(image)
    array = np.asarray(image)
    if array.dtype.kind not in 'biuf' or array.ndim != 3:
        raise UserError(
            f'the {role} array has type {array.dtype} and shape {array.shape}', expected='numbers (D, H, W)'
        )
    if not np.isfinite(array).all():
        raise UserError(f'the {role} array holds NaN or infinite values', fix='repair it first')
    return Volume(array.astype(np.float32), None, np.eye(4) if affine is None else np.asarray(affine, float), role)


def with_labels(volume: Volume, labels: str | os.PathLike | np.ndarray | None) -> Volume:
    """Return a volume with its label map.

    Args:
        volume: The image.
        labels: A file on the grid of the image, an integer array, or None.

    Returns:
        The volume; as it was where `labels` is None.

    Raises:
        UserError: The labels are not whole numbers or lie on another grid.
    """
    if labels is None:
        return volume
    return Volume(volume.image, _on_grid_of(volume, labels, 'label map'), volume.affine, volume.name)


def read_mask(volume: Volume, mask: str | os.PathLike | np.ndarray | None) -> np.ndarray | None:
    """Return a mask on the grid of an image: 1 where it is not zero, float32.

    Args:
        volume: The image.
        mask: A file on the grid of the image, an array, or None.

    Returns:
        (D, H, W), or None.

    Raises:
        UserError: The mask is not of whole numbers, lies on another grid or is empty.
    """
    if mask is None:
        return None
    array = (_on_grid_of(volume, mask, 'mask') != 0).astype(np.float32)
    if not array.any():
        raise UserError(f'the mask of {volume.name} is empty', fix='leave it out, or mark what counts by 1')
    return array


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


def _on_grid_of(volume: Volume, labels: str | os.PathLike | np.ndarray, kind: str) -> np.ndarray:
    if isinstance(labels, str | os.PathLike):
        array, affine = read_labels(labels)
        grid, name = ImageGrid(array.shape, affine), Path(labels).name
    else:
        array = np.asarray(labels)
        if array.dtype.kind not in 'biu':
            raise UserError(f'the {kind} of {volume.name} has type {array.dtype}', expected='whole numbers')
        array = array.astype(np.int32)
        grid, name = ImageGrid(array.shape, volume.affine), 'the array'
    wanted = ImageGrid(volume.image.shape[:3], volume.affine)
    if not grid.same_as(wanted):
        raise UserError(
            f'the {kind} {name} lies on another grid than {volume.name}: {_described(grid)} against '
            f'{_described(wanted)}',
            expected=f'a {kind} on the voxels of its image',
            fix='resample it to the image by nearest neighbour first, or check that it belongs to it',
        )
    return array


def _described(grid: ImageGrid) -> str:
    size = ' x '.join(str(length) for length in grid.shape)
    first = ', '.join(f'{value:.1f}' for value in grid.affine[:3, 3])
    return f'{size} voxels of {" x ".join(f"{s:.4g}" for s in grid.spacing)} mm from ({first})'
