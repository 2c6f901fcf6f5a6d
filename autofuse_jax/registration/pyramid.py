"""Images at several resolutions: smoothed and resampled over the same field of view, padded to few different shapes."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from autofuse_jax.data.resample import resize_image
from autofuse_jax.transforms.grids import ImageGrid

# Padding to multiples of this makes images of nearly equal size share what is compiled for them.
SHAPE_MULTIPLE = 16
# Levels smaller than this along an axis keep their voxels there.
SMALLEST_SIDE = 8


@dataclasses.dataclass(frozen=True, eq=False)
class Level:
    """One resolution of an image.

    Attributes:
        image: float32, padded with zeros at the far ends.
        inside: float32 of the same shape, 1 where there is image, 0 in the padding; times the mask where there is one.
        grid: The voxels without the padding.
    """

    image: np.ndarray
    inside: np.ndarray
    grid: ImageGrid


def resized_grid(grid: ImageGrid, shape: Sequence[int]) -> ImageGrid:
    """Return the grid of other voxels over the same field of view, as `data.resample.resize_image` places them.

    Args:
        grid: The source grid.
        shape: The wanted shape.

    Returns:
        The grid; voxel faces at the border coincide.
    """
    ratio = np.asarray(grid.shape, np.float64) / np.asarray(shape, np.float64)
    scale = np.diag([*ratio, 1.0])
    scale[:3, 3] = (ratio - 1) / 2
    return ImageGrid(tuple(int(size) for size in shape), grid.affine @ scale)


def shape_at(grid: ImageGrid, spacing: float) -> tuple[int, int, int]:
    """Return the shape at which the voxels of a grid are about `spacing` millimetres large, never finer than they are.

    Args:
        grid: The source grid.
        spacing: Millimetres.
    """
    shape = []
    for size, step in zip(grid.shape, grid.spacing, strict=True):
        wanted = max(round(size * step / spacing), min(size, SMALLEST_SIDE))
        shape.append(min(size, wanted))
    return tuple(shape)


def make_level(image: np.ndarray, grid: ImageGrid, shape: Sequence[int], mask: np.ndarray | None = None) -> Level:
    """Bring an image to a resolution.

    Args:
        image: (D, H, W) on `grid`.
        grid: Its voxels.
        shape: The wanted shape.
        mask: (D, H, W), weights of the voxels, or None.

    Returns:
        The level.
    """
    padding = [(0, -size % SHAPE_MULTIPLE) for size in shape]
    resized = image if tuple(shape) == tuple(image.shape) else resize_image(image, shape)
    inside = np.ones(tuple(shape), np.float32)
    if mask is not None:
        inside *= np.asarray(mask if tuple(shape) == tuple(mask.shape) else resize_image(mask, shape), np.float32)
    return Level(np.pad(np.asarray(resized, np.float32), padding), np.pad(inside, padding), resized_grid(grid, shape))
