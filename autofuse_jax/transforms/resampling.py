"""Sampling images and labels through a transform, each interpolated once."""

from collections.abc import Iterable, Iterator

import numpy as np
from scipy import ndimage

from autofuse_jax.transforms.grids import ImageGrid, grid_points, to_voxels
from autofuse_jax.transforms.maps import Transform

# Shares of labels closer than this are ties: they differ by rounding only.
SHARE_TOLERANCE = 1e-5


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
