"""Sampling images and labels through a transform, each interpolated once."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from scipy import ndimage

from autofuse_jax.transforms.grids import ImageGrid, grid_points, to_voxels
from autofuse_jax.transforms.maps import Transform

# Shares of labels closer than this are ties: they differ by rounding only.
SHARE_TOLERANCE = 1e-5
# How far beyond the outermost voxel centres an image is known, in voxels: the faces of the voxels, and a thousandth for
# the rounding of headers.
REACH = 0.501
# Known voxels with less than this weight among the neighbours of a place are there by rounding only.
LEAST_WEIGHT = 1e-3


def moving_positions(
    transform: Transform | None, grid: ImageGrid, moving_affine: np.ndarray, rows: slice = slice(None)
) -> np.ndarray:
    """Return where each voxel of a grid reads the moving image.

    Args:
        transform: Map from the world of `grid` to that of the moving image; None is the identity.
        grid: The grid of the result.
        moving_affine: (4, 4) of the moving image.
        rows: Rows of the grid's first axis, such as one of `slabs`; default all.

    Returns:
        float64 (3, D, H, W), in voxels of the moving image.
    """
    points = grid_points(grid, rows)
    mapped = points if transform is None else transform.map_points(points)
    return np.moveaxis(to_voxels(moving_affine, mapped), -1, 0)


def sample_image(image: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Sample an image with linear interpolation, 0 outside; each neighbour outside the image counts as 0.

    Args:
        image: (D, H, W), real numbers.
        positions: (3, ...), in voxels of the image.

    Returns:
        float32 (...).
    """
    return ndimage.map_coordinates(
        np.asarray(image, np.float32), positions, output=np.float32, order=1, mode='grid-constant'
    )


def sample_known(image: np.ndarray, positions: np.ndarray, background: float) -> np.ndarray:
    """Sample an image with linear interpolation among the voxels that are known; nothing is blended with what is not.

    `sum(w v) / sum(w)` over the neighbours inside the image that are finite, with linear weights w.

    Args:
        image: (D, H, W), real numbers, NaN or infinite where data are missing.
        positions: (3, ...), in voxels of the image.
        background: Value beyond the faces of the outermost voxels.

    Returns:
        float32 (...); NaN where the place is inside of the image and no neighbour of it is known.
    """
    image = np.asarray(image, np.float32)
    known = np.isfinite(image)

    def linear(array: np.ndarray) -> np.ndarray:
        return ndimage.map_coordinates(array, positions, output=np.float32, order=1, mode='nearest')

    if known.all():
        result = linear(image)
    else:
        # Around the middle, so that a large offset costs no digits.
        middle = np.float32(np.median(image[known])) if known.any() else np.float32(0)
        weight = linear(known.astype(np.float32))
        total = linear(np.where(known, image - middle, np.float32(0)))
        empty = weight < LEAST_WEIGHT
        result = np.where(empty, np.float32(np.nan), total / np.where(empty, 1, weight) + middle)
    result[~covered(image.shape, positions)] = background
    return result


def covered(shape: Sequence[int], positions: np.ndarray) -> np.ndarray:
    """Tell which places lie inside of an image, up to the faces of its outermost voxels.

    Args:
        shape: (D, H, W) of the image.
        positions: (3, ...), in its voxels.

    Returns:
        bool (...).
    """
    last = np.reshape(np.asarray(shape) - 1, (3, *[1] * (positions.ndim - 1)))
    return np.all((positions >= -REACH) & (positions <= last + REACH), axis=0)


def sample_labels(labels: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Sample a label map at the nearest voxel (halves to even), 0 outside.

    Args:
        labels: Integer (D, H, W).
        positions: (3, ...), in voxels of the label map.

    Returns:
        Labels of the same type, (...).
    """
    nearest = np.rint(positions)
    inside = np.ones(nearest.shape[1:], bool)
    for axis, size in enumerate(labels.shape):
        inside &= (nearest[axis] >= 0) & (nearest[axis] <= size - 1)
    index = np.where(inside, nearest, 0).astype(np.intp)
    return np.where(inside, labels[tuple(index)], 0).astype(labels.dtype)


def sample_labels_linear(labels: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Sample a label map label by label: each label's 0/1 map is interpolated linearly, the largest value wins.

    Args:
        labels: Integer (D, H, W).
        positions: (3, ...), in voxels of the label map.

    Returns:
        Labels of the same type, (...); of equal values the smallest label wins, and outside the map it is 0.
    """

    def shares() -> Iterator[tuple[int, np.ndarray]]:
        # What is outside the map counts for the background.
        yield 0, 1 - sample_image(labels != 0, positions)
        for label in np.unique(labels[labels != 0]):
            yield label, sample_image(labels == label, positions)

    return vote(shares(), labels.dtype)


def vote(shares: Iterable[tuple[int, np.ndarray]], dtype: np.dtype) -> np.ndarray:
    """Give every voxel the label with the largest share.

    Args:
        shares: Labels, each with the share that it has in every voxel, float32; one after the other, so that few are in
            memory at a time.
        dtype: Type of the result.

    Returns:
        Labels of the shape of a share; of equal shares the label that comes first wins.
    """
    shares = iter(shares)
    label, best = next(shares)
    result = np.full(best.shape, label, dtype)
    for label, share in shares:
        wins = share > best + SHARE_TOLERANCE
        result[wins] = label
        best = np.where(wins, share, best)
    return result
