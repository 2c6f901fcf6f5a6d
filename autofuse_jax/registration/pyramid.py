"""Images at several resolutions: smoothed and resampled over the same field of view, padded to few different shapes."""

import dataclasses

import numpy as np

from autofuse_jax.data.resample import resize_image
from autofuse_jax.data.volumes import Volume
from autofuse_jax.transforms.grids import ImageGrid, resize_grid, to_world

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

    def centre_of_mass_mm(self) -> np.ndarray:
        """Return the world position of the mean of all voxels, weighted by intensity, (3,)."""
        weights = self.image * self.inside
        total = weights.sum(dtype=np.float64)
        if total <= 0:
            return self.grid.centre_mm
        others = [tuple(other for other in range(3) if other != axis) for axis in range(3)]
        voxels = [
            (weights.sum(axis=rest, dtype=np.float64) * np.arange(size)).sum() / total
            for rest, size in zip(others, weights.shape, strict=True)
        ]
        return to_world(self.grid.affine, np.array(voxels))


def shape_at(grid: ImageGrid, spacing: float) -> tuple[int, ...]:
    """Return the shape at which the voxels of a grid are about `spacing` millimetres large, never finer than they are.

    Args:
        grid: The source grid.
        spacing: Millimetres.
    """
    shape = []
    for size, step in zip(grid.shape, grid.spacing, strict=True):
        length = max(round(size * step / spacing), min(size, SMALLEST_SIDE))
        shape.append(min(size, length))
    return tuple(shape)


def make_level(volume: Volume, spacing: float) -> Level:
    """Bring an image, with its mask where it has one, to a resolution.

    Args:
        volume: The image, 3-D.
        spacing: About how large its voxels become, millimetres; see `shape_at`.

    Returns:
        The level.
    """
    shape = shape_at(volume.grid, spacing)
    padding = [(0, -size % SHAPE_MULTIPLE) for size in shape]
    inside = np.ones(shape) if volume.mask is None else volume.mask
    image, inside = (
        np.pad(np.asarray(array if array.shape == shape else resize_image(array, shape), np.float32), padding)
        for array in (volume.image, inside)
    )
    return Level(image, inside, resize_grid(volume.grid, shape))
