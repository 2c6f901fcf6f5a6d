"""The grid on which a deformation is sought: the fixed image's field of view in voxels of suitable size."""

import math
from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from autofuse_jax.data.intensity import window_normalise
from autofuse_jax.data.volumes import Volume
from autofuse_jax.transforms.grids import ImageGrid, resize_grid
from autofuse_jax.transforms.maps import Transform
from autofuse_jax.transforms.resampling import moving_positions, sample_image

# Thick slices are interpolated until no axis has voxels more than this many times as large as another: 10 mm slices of
# 1.5 mm pixels become 3.15 mm, the spacing at which cardiac results are published.
LARGEST_ANISOTROPY = 2.1
# Larger images are worked on in coarser voxels: 1 mm of a head fits, in about 5 GiB of memory.
LARGEST_VOXELS = 9_000_000
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
    """
    steps = np.asarray(fixed.spacing)
    if spacing is not None:
        voxel_size = np.broadcast_to(spacing, 3)
    else:
        voxel_size = np.minimum(steps, LARGEST_ANISOTROPY * steps.min())
    sizes = np.maximum(np.rint(np.asarray(fixed.shape) * steps / voxel_size), 1)
    if spacing is None and sizes.prod() > largest_voxels:
        sizes = np.maximum(np.floor(sizes * (largest_voxels / sizes.prod()) ** (1 / 3)), 1)
    shape = tuple(int(size) for size in sizes)
    return fixed if shape == tuple(fixed.shape) else resize_grid(fixed, shape)


def pair_on_grid(
    fixed: Volume, moving: Volume, alignment: Transform, grid: ImageGrid
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Bring both images of a pair to the working grid.

    Args:
        fixed: The fixed image, with a mask or without.
        moving: The moving image, likewise.
        alignment: Transform from the fixed to the moving world.
        grid: The working grid.

    Returns:
        The fixed and the moving image in [0, 1], and the product of the masks; None where there is none.
    """
    weights = None
    for volume, transform in ((fixed, None), (moving, alignment)):
        if volume.mask is not None:
            mask = on_grid(volume.mask, volume.affine, grid, transform)
            weights = mask if weights is None else weights * mask
    return (
        on_grid(window_normalise(fixed).image, fixed.affine, grid),
        on_grid(window_normalise(moving).image, moving.affine, grid, alignment),
        weights,
    )


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
    ratio = _largest_step(affine, grid)
    if max(ratio) > 1:
        # Without it, what lies between the sampled voxels would be lost, or appear as noise.
        image = ndimage.gaussian_filter(np.asarray(image, np.float32), [SMOOTHING * max(r - 1, 0) for r in ratio])
    return sample_image(image, moving_positions(transform, grid, affine))


def _largest_step(affine: np.ndarray, grid: ImageGrid) -> list[float]:
    """How far neighbouring voxels of the grid are apart along each axis of the image, in its voxels."""
    steps = np.abs(np.linalg.inv(affine[:3, :3]) @ grid.affine[:3, :3]).max(axis=1)
    return [float(step) if math.isfinite(step) else 1.0 for step in steps]
