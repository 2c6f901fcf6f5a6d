"""Images at several resolutions: smoothed and resampled over the same field of view, padded to few different shapes."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from autofuse_jax.data.volumes import Volume
from autofuse_jax.registration.coverage import add_rim, border_of, resize_valid
from autofuse_jax.transforms.grids import ImageGrid, resize_grid, to_world

# Padding to multiples of this makes images of nearly equal size share what is compiled for them.
SHAPE_MULTIPLE = 16
# Padding of an image that is only sampled costs no time: its sides become powers of two, at least this, and the rim.
SMALLEST_SAMPLED = 16
# Levels smaller than this along an axis keep their voxels there.
SMALLEST_SIDE = 8
# Images that reach less far than this have voxels smaller in proportion: of a mouse, of a slide, of a hippocampus.
LARGE_MM = 120.0


@dataclasses.dataclass(frozen=True, eq=False)
class Level:
    """One resolution of an image.

    Attributes:
        image: float32, 0 for background, padded with zeros at the far ends.
        inside: float32 of the same shape, 1 where there is image, 0 in the padding; times the mask where there is one.
        rimmed: The image with what lies beyond it, see `coverage.add_rim`, padded to fewer shapes still.
        background: Grey value that was taken off.
        grid: The voxels without the padding.
    """

    image: np.ndarray
    inside: np.ndarray
    rimmed: np.ndarray
    background: float
    grid: ImageGrid

    def centre_of_mass_mm(self) -> np.ndarray:
        """Return the world position of the mean of all voxels, weighted by intensity, (3,)."""
        weights = np.abs(self.image) * self.inside
        total = weights.sum(dtype=np.float64)
        if total <= 0:
            return self.grid.centre_mm
        others = [tuple(other for other in range(3) if other != axis) for axis in range(3)]
        voxels = [
            (weights.sum(axis=rest, dtype=np.float64) * np.arange(size)).sum() / total
            for rest, size in zip(others, weights.shape, strict=True)
        ]
        return to_world(self.grid.affine, np.array(voxels))


def pad_alike(levels: Sequence[Level]) -> list[Level]:
    """Pad images at one resolution to a shape that holds all of them.

    Args:
        levels: The images.

    Returns:
        The levels in the same order, arrays of one shape each.
    """
    shape = np.max([level.image.shape for level in levels], axis=0)
    sampled = np.max([level.rimmed.shape for level in levels], axis=0)
    return [
        dataclasses.replace(
            level,
            image=_pad_to(level.image, shape),
            inside=_pad_to(level.inside, shape),
            rimmed=_pad_to(level.rimmed, sampled),
        )
        for level in levels
    ]


def in_proportion(spacing: float, *grids: ImageGrid) -> float:
    """Return a voxel size for images of the size of a body, in proportion to images that are smaller.

    Args:
        spacing: Millimetres, for images that reach `LARGE_MM` or more.
        *grids: Grids of the images; the one that reaches farthest counts.

    Returns:
        `spacing min(1, longest side / LARGE_MM)`, millimetres.
    """
    longest = max(float(np.max(np.asarray(grid.shape) * grid.spacing)) for grid in grids)
    return spacing * min(1.0, longest / LARGE_MM)


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
    inside = np.ones(volume.image.shape, np.float32) if volume.mask is None else volume.mask
    border = border_of(volume.image, inside)
    image = volume.image - border.background
    if image.shape != shape:
        image, inside = resize_valid(image, inside, shape)
    rimmed = add_rim(image, inside, border.open)
    padded = [size + -size % SHAPE_MULTIPLE for size in shape]
    sampled = [max(SMALLEST_SAMPLED, 1 << (size - 1).bit_length()) + 2 for size in shape]
    return Level(
        image=_pad_to(np.asarray(image, np.float32), padded),
        inside=_pad_to(np.asarray(inside, np.float32), padded),
        rimmed=_pad_to(rimmed, (*sampled, rimmed.shape[-1])),
        background=border.background,
        grid=resize_grid(volume.grid, shape),
    )


def _pad_to(values: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Append zeros along each axis."""
    return np.pad(values, [(0, int(size) - old) for size, old in zip(shape, values.shape, strict=True)])
