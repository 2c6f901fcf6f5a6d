"""Bringing an aligned brain onto the prepared grid with a single interpolation, and measuring what is cut off."""

import dataclasses

import numpy as np
from scipy import ndimage

from autofuse_jax.data.prepared import Grid
from autofuse_jax.data.volumes import Volume
from autofuse_jax.errors import UserError
from autofuse_jax.transforms.grids import ImageGrid, canonical_grid, cut_grid, respace_grid, to_voxels, to_world
from autofuse_jax.transforms.maps import AffineTransform
from autofuse_jax.transforms.resampling import moving_positions, sample_image, sample_labels

# The brightest thousandth of the brain (vessels, remains of the skull) does not set the scale.
WHITE_PERCENTILE = 99.9
# Full width at half maximum of a Gaussian, in standard deviations.
FWHM = 2 * np.sqrt(2 * np.log(2))
# Narrower Gaussians, in voxels, do nothing.
SMALLEST_SIGMA = 0.1
# Headers hold voxel sizes as float32.
SAME_SPACING = 1e-4
# Planes of the grid that are sampled at a time: positions of a whole grid in float64 take 100 MB.
SLAB = 16


@dataclasses.dataclass(frozen=True, eq=False)
class PreparedBrain:
    """A brain on the prepared grid.

    Attributes:
        image: float32 (D, H, W) in [0, 1].
        labels: Original ids (D, H, W), or None.
        cut_fraction: Share of the brain's voxels that lie outside the grid.
        brain_ml: Volume of the brain before any resampling, in millilitres.
    """

    image: np.ndarray
    labels: np.ndarray | None
    cut_fraction: float
    brain_ml: float


def prepare_brain(volume: Volume, grid: ImageGrid, matrix: np.ndarray, *, keep_values: bool = False) -> PreparedBrain:
    """Resample an aligned brain once and scale its grey values.

    Images are sampled linearly, after a Gaussian where the source is finer than the grid; labels at the nearest voxel.

    Args:
        volume: Skull-stripped image, 0 outside the brain, and labels or None.
        grid: The prepared grid.
        matrix: (4, 4), from the world of the grid to that of the volume, RAS millimetres.
        keep_values: Whether grey values that are in [0, 1] already are left alone; default False.

    Returns:
        The brain on the grid.

    Raises:
        UserError: Nothing of the image is above 0, or nothing of the brain is inside the grid.
    """
    brain = brain_mask(volume)
    cut_share = cut_fraction(brain, volume.affine, grid, matrix)
    if cut_share == 1:
        raise UserError(
            f'no voxel of the brain of {volume.name} is inside the prepared grid',
            fix='the alignment has failed: check the header and the content of this image',
        )
    source = smooth_for(volume, grid, matrix)
    transform = AffineTransform(np.asarray(matrix, np.float64))
    images, maps = [], []
    for first in range(0, grid.shape[0], SLAB):
        slab = cut_grid(grid, (first, 0, 0), (min(SLAB, grid.shape[0] - first), *grid.shape[1:]))
        positions = moving_positions(transform, slab, volume.affine)
        images.append(sample_image(source, positions))
        if volume.labels is not None:
            maps.append(sample_labels(volume.labels, positions))
    image = np.concatenate(images)
    if not (keep_values and 0 <= volume.image.min() and volume.image.max() <= 1):
        image = scale_to_white(image, volume.name)
    labels = np.concatenate(maps) if maps else None
    return PreparedBrain(image, labels, cut_share, float(brain.sum() * volume.grid.voxel_mm3 / 1000))


def brain_mask(volume: Volume) -> np.ndarray:
    """Return where the brain is: any label where there are labels, what is above 0 otherwise.

    Raises:
        UserError: It is nowhere.
    """
    mask = volume.image > 0 if volume.labels is None else volume.labels > 0
    if not mask.any():
        what = 'image' if volume.labels is None else 'label map'
        raise UserError(f'the {what} of {volume.name} holds nothing above 0', fix='leave out this subject')
    return mask


def cut_fraction(brain: np.ndarray, affine: np.ndarray, grid: ImageGrid, matrix: np.ndarray) -> float:
    """Return which share of the brain's voxels have their centre outside the voxels of the grid.

    Args:
        brain: bool (D, H, W), at least one True.
        affine: (4, 4) of it.
        grid: The prepared grid.
        matrix: (4, 4), from the world of the grid to that of the brain, RAS millimetres.

    Returns:
        0 to 1.
    """
    positions = places_on_grid(brain, affine, grid, matrix)
    inside = ((positions >= -0.5) & (positions < np.asarray(grid.shape) - 0.5)).all(axis=-1)
    return float(1 - np.count_nonzero(inside) / inside.size)


def places_on_grid(brain: np.ndarray, affine: np.ndarray, grid: ImageGrid, matrix: np.ndarray) -> np.ndarray:
    """Return where each voxel of a brain lies, in voxels of the prepared grid, float64 (N, 3); see `cut_fraction`."""
    return to_world(np.linalg.inv(np.asarray(matrix) @ grid.affine) @ affine, np.argwhere(brain))


def smooth_for(volume: Volume, grid: ImageGrid, matrix: np.ndarray) -> np.ndarray:
    """Take out of an image what a coarser grid cannot hold.

    Along an axis on which a step of the grid spans f > 1 voxels of the image, a Gaussian of full width
    sqrt(f^2 - 1) voxels makes up the difference between the two voxel sizes.

    Args:
        volume: The image.
        grid: The grid it will be sampled on.
        matrix: (4, 4), from the world of the grid to that of the image.

    Returns:
        float32 (D, H, W), the image itself where it is not finer than the grid.
    """
    origin, steps = np.zeros((1, 3)), np.eye(3)
    mapped = to_voxels(volume.affine, to_world(np.asarray(matrix) @ grid.affine, np.concatenate([origin, steps])))
    factors = np.linalg.norm(mapped[1:] - mapped[0], axis=0)
    sigmas = np.sqrt(np.maximum(factors**2 - 1, 0)) / FWHM
    if sigmas.max() < SMALLEST_SIGMA:
        return volume.image
    return ndimage.gaussian_filter(np.asarray(volume.image, np.float32), sigmas, mode='constant')


def scale_to_white(image: np.ndarray, name: str) -> np.ndarray:
    """Scale grey values so that 0 stays 0 and nearly the brightest of the brain is 1: min(max(x, 0) / p, 1).

    Args:
        image: Real numbers, 0 outside the brain; p is the 99.9th percentile of what is above 0.
        name: Name of this image in an error message.

    Returns:
        float32 of the same shape, in [0, 1].

    Raises:
        UserError: Nothing is above 0.
    """
    above = image[image > 0]
    if not above.size:
        raise UserError(f'nothing of {name} inside the prepared grid is above 0', fix='leave out this subject')
    white = np.percentile(above.astype(np.float64), WHITE_PERCENTILE)
    return (np.clip(image, 0, white) / white).astype(np.float32)


def centred_grid(source: ImageGrid, target: Grid) -> ImageGrid:
    """Return the grid that crops or pads an image around its centre, with axes as close to R, A and S as it has them.

    Where the voxel size is the wanted one, voxels coincide with those of the image, so that nothing is interpolated.

    Args:
        source: The voxels of the image.
        target: Shape and voxel size.

    Returns:
        The grid, in the world of the image.
    """
    upright = canonical_grid(source)
    ratio = np.asarray(target.spacing) / upright.spacing
    start = (np.asarray(upright.shape) - 1) / 2 - (np.asarray(target.shape) - 1) / 2 * ratio
    start = np.where(np.abs(ratio - 1) < SAME_SPACING, np.trunc(start), start)
    return respace_grid(cut_grid(upright, start.tolist(), target.shape), target.spacing, target.shape)
