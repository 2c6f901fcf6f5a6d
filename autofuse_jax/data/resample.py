"""Changing the grid of a volume through a transform, and of an array to another voxel size or shape.

`transforms.grids` has the grids that result: `respace_grid`, `cut_grid` and `resize_grid`. Two geometries are used, and
the difference matters:

* `resample_*` changes the voxel size and keeps the centre of the first voxel where it is, as ITK and SimpleITK do:
  voxel j of the result lies at j * target_spacing. The grid ends with the last voxel centre inside the source's field
  of view, so no values are made up beyond it.
* `resize_*` changes the number of voxels and keeps the field of view (half-pixel centres), which suits moving between
  a fine and a coarse grid of the same volume.
"""

import dataclasses
from collections.abc import Sequence

import nibabel as nib
import numpy as np

from autofuse_jax.data.volumes import Volume
from autofuse_jax.transforms.grids import ImageGrid, canonical_grid, slabs
from autofuse_jax.transforms.maps import Transform
from autofuse_jax.transforms.resampling import moving_positions, sample_known, sample_labels, vote

# Headers hold voxel sizes as float32, so the place of a voxel a thousand voxels away is uncertain by about this much.
VOXEL_TOLERANCE = 1e-4


def move_volume(
    volume: Volume, grid: ImageGrid, transform: Transform | None = None, *, background: float = 0.0
) -> Volume:
    """Return a volume on another grid, interpolated once: the image linearly, labels at the nearest voxel.

    Args:
        volume: The volume, 3-D.
        grid: The wanted grid.
        transform: Transform from the world of the grid to that of the volume; None leaves every point where it is.
        background: Value of the image where the volume does not reach; labels are 0 there.

    Returns:
        Image and labels on that grid, without a mask. Missing data (NaN) stay missing where nothing else is known.
    """
    image = np.empty(grid.shape, np.float32)
    labels = None if volume.labels is None else np.empty(grid.shape, volume.labels.dtype)
    for rows in slabs(grid.shape):
        positions = moving_positions(transform, grid, volume.affine, rows)
        image[rows] = sample_known(volume.image, positions, background)
        if labels is not None and volume.labels is not None:
            labels[rows] = sample_labels(volume.labels, positions)
    return Volume(image, labels, grid.affine, volume.name, notes=volume.notes)


def canonical_volume(volume: Volume) -> Volume:
    """Return a volume with its axes in the order and direction closest to RAS; no voxel is interpolated.

    Args:
        volume: The volume, 3-D.

    Returns:
        The volume on `transforms.grids.canonical_grid`; itself where nothing changes.
    """
    grid = canonical_grid(volume.grid)
    if grid is volume.grid or np.array_equal(grid.affine, volume.affine):
        return volume
    orientation = nib.io_orientation(volume.affine)

    def turn(array: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(nib.apply_orientation(array, orientation))

    return dataclasses.replace(
        volume,
        image=turn(volume.image),
        labels=None if volume.labels is None else turn(volume.labels),
        mask=None if volume.mask is None else turn(volume.mask),
        affine=grid.affine,
    )


def resample_image(image: np.ndarray, spacing: Sequence[float], target_spacing: Sequence[float]) -> np.ndarray:
    """Resample an image to another voxel size by trilinear interpolation, clamped at the edge.

    Args:
        image: (D, H, W), real numbers.
        spacing: Its voxel size along (D, H, W) in millimetres.
        target_spacing: The wanted voxel size in millimetres.

    Returns:
        float32 (D', H', W'); along an axis of n voxels the size is floor((n - 0.5) * spacing / target_spacing) + 1.
    """
    result = np.asarray(image, np.float32)
    for axis in range(3):
        size = result.shape[axis]
        positions = _sample_positions(size, spacing[axis], target_spacing[axis])
        lower = np.minimum(np.floor(positions), size - 1).astype(np.intp)
        upper = np.minimum(lower + 1, size - 1)
        fraction = (positions - lower).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(3)])
        below, above = np.take(result, lower, axis), np.take(result, upper, axis)
        result = below + fraction * (above - below)
    return result


def resample_labels(labels: np.ndarray, spacing: Sequence[float], target_spacing: Sequence[float]) -> np.ndarray:
    """Resample labels to another voxel size by nearest neighbour, on the same grid as `resample_image`.

    Args:
        labels: Integer (D, H, W).
        spacing: Its voxel size along (D, H, W) in millimetres.
        target_spacing: The wanted voxel size in millimetres.

    Returns:
        Labels of the same type, (D', H', W'); halfway between two voxels the one with the higher index counts.
    """
    indices = []
    for axis in range(3):
        size = labels.shape[axis]
        positions = _sample_positions(size, spacing[axis], target_spacing[axis])
        indices.append(np.minimum(np.floor(positions + 0.5), size - 1).astype(np.intp))
    return labels[np.ix_(*indices)]


def center_crop_or_pad(array: np.ndarray, shape: Sequence[int]) -> tuple[np.ndarray, tuple[int, ...]]:
    """Bring an array to a shape by cropping and zero-padding around its centre.

    `crop_or_pad(result, array.shape, [-s for s in start])` puts the kept voxels back where they were.

    Args:
        array: (D, H, W).
        shape: The wanted shape.

    Returns:
        The array of that shape, and `start`: the source index of its first voxel, negative where it was padded.
    """
    # int() rounds towards zero, so that a crop and a pad by an odd number both put the smaller half first.
    start = tuple(int((size - target) / 2) for size, target in zip(array.shape, shape, strict=True))
    return crop_or_pad(array, shape, start), start


def crop_or_pad(array: np.ndarray, shape: Sequence[int], start: Sequence[int]) -> np.ndarray:
    """Cut a box out of an array; voxels outside the array are 0.

    Args:
        array: (D, H, W).
        shape: Shape of the box.
        start: Index in `array` of the first voxel of the box; may be negative.

    Returns:
        A new array of type `array.dtype` and shape `shape`.
    """
    result = np.zeros(tuple(shape), array.dtype)
    source, target = [], []
    for size, length, first in zip(array.shape, shape, start, strict=True):
        low, high = max(first, 0), max(min(first + length, size), max(first, 0))
        source.append(slice(low, high))
        target.append(slice(low - first, high - first))
    result[tuple(target)] = array[tuple(source)]
    return result


def resize_image(image: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Resize an image to another shape over the same field of view.

    Position: x_src = (x_dst + 0.5) * n_src / n_dst - 0.5. Weights: the triangle max(0, 1 - |x - x_src| / r) with
    r = max(1, n_src / n_dst), normalised to sum 1; that is linear interpolation when growing, and also smooths away
    what the coarser grid cannot hold when shrinking.

    Args:
        image: (D, H, W), real numbers.
        shape: The wanted shape.

    Returns:
        float32 of shape `shape`.
    """
    weights = [resize_weights(size, target) for size, target in zip(image.shape, shape, strict=True)]
    return _apply_weights(np.asarray(image, np.float32), weights)


def resize_labels(labels: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Resize labels over the same field of view: each id's 0/1 map is resized like an image, the largest value wins.

    Args:
        labels: Integer (D, H, W).
        shape: The wanted shape.

    Returns:
        Labels of the same type and shape `shape`; the smallest id wins a tie.
    """
    if tuple(labels.shape) == tuple(shape):
        return labels.copy()
    weights = [resize_weights(size, target) for size, target in zip(labels.shape, shape, strict=True)]
    shares = ((label, _apply_weights((labels == label).astype(np.float32), weights)) for label in np.unique(labels))
    return vote(shares, labels.dtype)


def resize_weights(size: int, target_size: int) -> np.ndarray:
    """Return the matrix that resizes one axis from `size` to `target_size` voxels, as described in `resize_image`.

    Args:
        size: Number of source voxels, at least 1.
        target_size: Number of target voxels, at least 1.

    Returns:
        float32 (wanted, size), rows sum to 1.
    """
    ratio = size / target_size
    positions = (np.arange(target_size) + 0.5) * ratio - 0.5
    distance = np.abs(positions[:, None] - np.arange(size)[None, :]) / max(1.0, ratio)
    weights = np.maximum(0.0, 1.0 - distance)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def _sample_positions(size: int, spacing: float, target_spacing: float) -> np.ndarray:
    """Positions of the target voxels along one axis, in source voxels."""
    step = target_spacing / spacing
    count = int(np.floor((size - 0.5) / step + VOXEL_TOLERANCE)) + 1
    return np.arange(count) * step


def _apply_weights(array: np.ndarray, weights: Sequence[np.ndarray]) -> np.ndarray:
    first, second, third = weights
    array = array @ third.T  # (D, H, W')
    array = second @ array  # (D, H', W')
    depth, height, width = array.shape
    return (first @ array.reshape(depth, -1)).reshape(-1, height, width)  # (D', H', W')
