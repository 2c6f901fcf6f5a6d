"""The grid on which a deformation is sought: the fixed image's field of view in voxels of suitable size, padded.

What is compiled for one shape is of no use to another one, and compiling takes longer than a small registration. So
grids are padded to few different shapes; the padding has weight zero, and transforms are sampled on the files' grids.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from autofuse_jax.data.intensity import window_normalise
from autofuse_jax.data.volumes import Volume
from autofuse_jax.errors import UserError
from autofuse_jax.registration.coverage import BACKGROUND_TOLERANCE, SMALLEST_SHARE, border_of, coverage
from autofuse_jax.registration.pyramid import in_proportion, shape_at
from autofuse_jax.runtime import machine_bytes
from autofuse_jax.transforms.grids import ImageGrid, cut_grid, grid_points, resize_grid, slabs
from autofuse_jax.transforms.maps import Transform
from autofuse_jax.transforms.resampling import moving_positions, sample_image

# Thick slices are interpolated until no axis has voxels more than this many times as large as another: 10 mm slices of
# 1.5 mm pixels become 3.15 mm, the spacing at which cardiac results are published.
LARGEST_ANISOTROPY = 2.1
# Larger images are worked on in coarser voxels: 1 mm of a head fits, in about 5 GiB of memory.
LARGEST_VOXELS = 9_000_000
# Memory that a voxel of a working grid takes at the least, bytes: two images, their weights and two fields, in float32.
BYTES_A_VOXEL = 40
# Sizes of a short axis and, beyond them, the multiples of a step that a padded axis can have. Longer axes of a large
# grid get the smaller step: computing on the padding would take longer there than compiling.
SHORT_SIZES = (1, 8, 16, 32, 48, 64)
SIZE_STEP, SIZE_STEP_OF_LARGE = 32, 16
LARGE_VOXELS = 1_500_000
GIB = 2**30
# Number of slices in place of thick ones is free; one that needs no padding is taken if it differs by less than this.
SLICES_TOLERANCE = 0.1
# Voxel size at which it is looked for what images show, millimetres (see `in_proportion`), and voxels of the working
# grid that stay around it: as far as a window of the correlation reaches.
CONTENT_MM = 4.0
CONTENT_MARGIN = 5
# Smoothing before coarser voxels are sampled, standard deviation in voxels per factor beyond 1.
SMOOTHING = 0.5


def working_grid(
    fixed: ImageGrid, *, spacing: float | Sequence[float] | None = None, largest_voxels: int = LARGEST_VOXELS
) -> ImageGrid:
    """Choose the working grid of a fixed image.

    Args:
        fixed: Grid of the fixed image.
        spacing: Voxel size in millimetres, one for all axes or one for each, or None to choose: the image's own, thick
            slices refined and large images coarsened.
        largest_voxels: The most voxels that a chosen grid may have.

    Returns:
        Voxels over the same field of view; the fixed grid itself where it suits.

    Raises:
        UserError: So many voxels were asked for that the machine cannot hold them.
    """
    steps = np.asarray(fixed.spacing)
    if spacing is not None:
        voxel_size = np.broadcast_to(spacing, 3)
    else:
        voxel_size = np.minimum(steps, LARGEST_ANISOTROPY * steps.min())
    sizes = np.maximum(np.rint(np.asarray(fixed.shape) * steps / voxel_size), 1)
    if spacing is None:
        sizes = np.where(voxel_size < steps, [_few_slices(int(size)) for size in sizes], sizes)
    if spacing is None and sizes.prod() > largest_voxels:
        sizes = np.maximum(np.floor(sizes * (largest_voxels / sizes.prod()) ** (1 / 3)), 1)
    needed, available = BYTES_A_VOXEL * sizes.prod(), machine_bytes()
    if spacing is not None and available and needed > available:
        raise UserError(
            f'voxels of {" x ".join(f"{size:g}" for size in voxel_size)} mm make a grid of {sizes.prod():.2g} voxels, '
            f'which needs {needed / GIB:.3g} GiB at the least',
            expected=f'what fits into the {available / GIB:.3g} GiB of this machine',
            fix='choose larger voxels with --spacing, or leave it out',
        )
    shape = tuple(int(size) for size in sizes)
    return fixed if shape == tuple(fixed.shape) else resize_grid(fixed, shape)


def grid_of_content(grid: ImageGrid, fixed: Volume, moving: Volume, alignment: Transform) -> ImageGrid:
    """Leave out of a working grid what shows nothing but background in both images.

    Where a face of one of them cuts through something, or a mask says that nothing is known, the grid keeps it.

    Args:
        grid: The working grid.
        fixed: The fixed image, with a mask or without.
        moving: The moving image, likewise.
        alignment: Transform from the fixed to the moving world.

    Returns:
        The part of the grid that holds everything that either image shows, and `CONTENT_MARGIN` voxels around it; the
        grid itself where there is nothing to leave out.
    """
    coarse = resize_grid(grid, shape_at(grid, in_proportion(CONTENT_MM, grid)))
    pair = pair_on_grid(fixed, moving, alignment, coarse)
    weights = np.ones(coarse.shape, np.float32) if pair.fixed_valid is None else pair.fixed_valid
    shown = np.zeros(coarse.shape, bool)
    open_faces = np.ones((3, 2), bool)
    for image, valid in ((pair.fixed, weights), (pair.moving, pair.moving_valid)):
        border = border_of(image, valid)
        open_faces &= border.open
        shown |= (np.abs(image - border.background) > BACKGROUND_TOLERANCE) & (valid > 0)
    if not shown.any():
        return grid
    starts, sizes = [], []
    for axis, (size, voxels) in enumerate(zip(grid.shape, coarse.shape, strict=True)):
        along = np.flatnonzero(shown.any(axis=tuple({0, 1, 2} - {axis})))
        first = math.floor(along[0] * size / voxels) - CONTENT_MARGIN if open_faces[axis, 0] else 0
        last = math.ceil((along[-1] + 1) * size / voxels) + CONTENT_MARGIN if open_faces[axis, 1] else size
        starts.append(max(first, 0))
        sizes.append(min(last, size) - starts[-1])
    return grid if tuple(sizes) == tuple(grid.shape) else cut_grid(grid, starts, sizes)


def padded_shape(shape: Sequence[int]) -> tuple[int, ...]:
    """Return the shape that a working grid is padded to, one of few, so that grids of nearly equal size share it.

    Args:
        shape: (D, H, W), 1 or more.

    Returns:
        Sizes of `SHORT_SIZES`, then multiples of 32; of 16 for grids of more than 1.5 million voxels.
    """
    padded = tuple(_next_size(size, SIZE_STEP) for size in shape)
    if math.prod(padded) <= LARGE_VOXELS:
        return padded
    return tuple(_next_size(size, SIZE_STEP_OF_LARGE) for size in shape)


def pad_grid(grid: ImageGrid) -> ImageGrid:
    """Return the voxels of a grid and as many around them as `padded_shape` says, half on each side.

    Args:
        grid: Any grid.

    Returns:
        The larger grid, of the same voxel size and directions; itself where there is nothing to pad.
    """
    shape = padded_shape(grid.shape)
    if shape == tuple(grid.shape):
        return grid
    return cut_grid(grid, [-((new - old) // 2) for new, old in zip(shape, grid.shape, strict=True)], shape)


def field_of_view(grid: ImageGrid, image: ImageGrid) -> np.ndarray:
    """Return where a grid lies in the field of view of an image.

    Args:
        grid: The grid.
        image: Grid of the image.

    Returns:
        float32 of the grid's shape: 1 where the centre of a voxel is inside the outer faces of the image, 0 elsewhere.
    """
    inside = [image.contains(grid_points(grid, rows)) for rows in slabs(grid.shape)]
    return np.concatenate(inside).astype(np.float32)


class PairOnGrid(NamedTuple):
    """Both images of a pair on one grid.

    Attributes:
        fixed: float32 (D, H, W), in [0, 1].
        moving: float32 (D, H, W), likewise, through the alignment.
        fixed_valid: float32 (D, H, W), how much each voxel of the fixed image counts, nothing in the padding; None: all
            alike.
        moving_valid: float32 (D, H, W), how much is known of the moving image there, in [0, 1].
    """

    fixed: np.ndarray
    moving: np.ndarray
    fixed_valid: np.ndarray | None
    moving_valid: np.ndarray


def pair_on_grid(fixed: Volume, moving: Volume, alignment: Transform, grid: ImageGrid) -> PairOnGrid:
    """Bring both images of a pair to the working grid.

    Beyond the moving image there is its background where its border shows nothing else, and otherwise nothing is known.

    Args:
        fixed: The fixed image, with a mask or without.
        moving: The moving image, likewise.
        alignment: Transform from the fixed to the moving world.
        grid: The working grid.

    Returns:
        The images and what is valid of them.
    """
    fixed_image, fixed_valid = _known_on_grid(fixed, grid)
    moving_image, moving_valid = _known_on_grid(moving, grid, alignment)
    fixed_valid *= field_of_view(grid, fixed.grid)
    return PairOnGrid(fixed_image, moving_image, None if np.all(fixed_valid == 1) else fixed_valid, moving_valid)


def _known_on_grid(
    volume: Volume, grid: ImageGrid, transform: Transform | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Sample an image in [0, 1] on a grid between what is known of it, and how much is known there.

    Both images of a pair are taken in the same way: what one fades to beyond its outermost voxel centres, and the other
    does not, would pass for a difference.
    """
    scaled = window_normalise(volume)
    valid = np.ones(volume.image.shape, np.float32) if volume.mask is None else volume.mask
    border = border_of(scaled.image, valid)
    values, known = (
        np.asarray(smooth_for(array, volume.affine, grid), np.float32)
        for array in ((scaled.image - border.background) * valid, valid)
    )
    image, covered = np.empty(grid.shape, np.float32), np.empty(grid.shape, np.float32)
    for rows in slabs(grid.shape):
        positions = moving_positions(transform, grid, volume.affine, rows)
        covered[rows] = coverage(known, border.open, positions)
        image[rows] = sample_image(values, positions) / np.maximum(covered[rows], SMALLEST_SHARE) + border.background
    return image, covered


def on_grid(image: np.ndarray, affine: np.ndarray, grid: ImageGrid, transform: Transform | None = None) -> np.ndarray:
    """Sample an image on a grid, smoothed first where the grid's voxels are larger than the image's.

    Args:
        image: (D, H, W).
        affine: Its affine (4, 4).
        grid: The wanted grid.
        transform: Transform from the world of the grid to that of the image; None is the identity.

    Returns:
        float32 of the grid's shape, 0 outside the image.
    """
    smooth = np.asarray(smooth_for(image, affine, grid), np.float32)
    sampled = np.empty(grid.shape, np.float32)
    for rows in slabs(grid.shape):
        sampled[rows] = sample_image(smooth, moving_positions(transform, grid, affine, rows))
    return sampled


def smooth_for(image: np.ndarray, affine: np.ndarray, grid: ImageGrid) -> np.ndarray:
    """Smooth an image for a grid of larger voxels: what lies between those that are sampled would be lost, or be noise.

    Args:
        image: (D, H, W).
        affine: Its affine (4, 4).
        grid: The grid that it will be sampled on.

    Returns:
        (D, H, W); the image itself where the grid's voxels are no larger.
    """
    ratio = _largest_step(affine, grid)
    if max(ratio) <= 1:
        return image
    return ndimage.gaussian_filter(np.asarray(image, np.float32), [SMOOTHING * max(r - 1, 0) for r in ratio])


def _next_size(size: int, step: int) -> int:
    return next((short for short in SHORT_SIZES if short >= size), -(-size // step) * step)


def _few_slices(size: int) -> int:
    """The nearest size that needs no padding, if it is near enough."""
    sizes = (*SHORT_SIZES, size // SIZE_STEP * SIZE_STEP, -(-size // SIZE_STEP) * SIZE_STEP)
    nearest = min(sizes, key=lambda other: abs(other - size))
    return nearest if abs(nearest - size) <= SLICES_TOLERANCE * size else size


def _largest_step(affine: np.ndarray, grid: ImageGrid) -> list[float]:
    """How far neighbouring voxels of the grid are apart along each axis of the image, in its voxels."""
    steps = np.abs(np.linalg.inv(affine[:3, :3]) @ grid.affine[:3, :3]).max(axis=1)
    return [float(step) if math.isfinite(step) else 1.0 for step in steps]
