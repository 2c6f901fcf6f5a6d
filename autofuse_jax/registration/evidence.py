"""What speaks for and against a registration, whatever it started from: the evidence that a verdict rests on."""

from typing import Any

import numpy as np

from autofuse_jax.data.intensity import fill_missing, window_normalise
from autofuse_jax.data.volumes import Volume
from autofuse_jax.metrics.local_correlation import local_correlation
from autofuse_jax.registration.alignment import Alignment
from autofuse_jax.registration.coverage import BACKGROUND_TOLERANCE, border_of, coverage_at, validity_rim
from autofuse_jax.transforms.grids import slabs
from autofuse_jax.transforms.maps import DenseTransform
from autofuse_jax.transforms.resampling import moving_positions, sample_image

# Percentiles of the Jacobian determinant that count as its extremes: single voxels say little.
JACOBIAN_PERCENTILES = (1.0, 99.0)


def covered_voxels(fixed: Volume, moving: Volume, transform: DenseTransform) -> np.ndarray:
    """Return where both images are known: inside the moving image or where beyond it there is background only.

    Args:
        fixed: The fixed image, with a mask or without.
        moving: The moving image, likewise.
        transform: Transform from the fixed to the moving world, on the fixed grid.

    Returns:
        bool (D, H, W) on the fixed grid.
    """
    scaled = window_normalise(fill_missing(moving))
    known = np.ones(moving.image.shape, np.float32) if scaled.mask is None else scaled.mask
    rimmed = validity_rim(known, border_of(scaled.image, known).open)
    covered = np.empty(fixed.grid.shape, bool)
    for rows in slabs(covered.shape):
        covered[rows] = coverage_at(rimmed, moving_positions(transform, fixed.grid, moving.affine, rows)) > 0.5
    covered &= np.isfinite(fixed.image)
    return covered if fixed.mask is None else covered & (fixed.mask > 0)


def evidence_of(
    fixed: Volume,
    moving: Volume,
    transform: DenseTransform,
    alignment: Alignment,
    covered: np.ndarray,
    jacobian: np.ndarray,
) -> dict[str, Any]:
    """Measure what a verdict needs to know besides the scores.

    Args:
        fixed: The fixed image.
        moving: The moving image.
        transform: Transform from the fixed to the moving world, on the fixed grid.
        alignment: The linear part.
        covered: bool (D, H, W), result of `covered_voxels`.
        jacobian: Jacobian determinant of the transform's displacement.

    Returns:
        local_correlation (0 .. 1, where the fixed image shows anything), foreground_overlap (Dice of what is not
        background in both, where both are known), covered_percent (of the fixed image's foreground), volume_change
        (determinant of the linear part), stretch (its largest over its smallest scale), mirrored (similarity of the
        best mirror image over that reached, or None), correlation and dependence of the grey values where the contrast
        was looked at, same_contrast, jacobian_p1 and jacobian_p99.
    """
    first, second = (window_normalise(fill_missing(volume)) for volume in (fixed, moving))
    borders = [border_of(volume.image, volume.mask) for volume in (first, second)]
    values = second.image - np.float32(borders[1].background)
    moved = np.empty(fixed.grid.shape, np.float32)
    for rows in slabs(moved.shape):
        moved[rows] = sample_image(values, moving_positions(transform, fixed.grid, moving.affine, rows))
    shown = np.abs(first.image - borders[0].background) > BACKGROUND_TOLERANCE
    moved_shown = np.abs(moved) > BACKGROUND_TOLERANCE
    both = (shown & moved_shown & covered).sum()
    either = (shown & covered).sum() + (moved_shown & covered).sum()
    scales = np.linalg.svd(alignment.matrix[:3, :3], compute_uv=False)
    low, high = np.percentile(jacobian, JACOBIAN_PERCENTILES)
    contrast = alignment.contrast
    return {
        'local_correlation': local_correlation(first.image, moved, covered),
        'foreground_overlap': float(2 * both / either) if either else float('nan'),
        'covered_percent': float(100 * (shown & covered).sum() / max(shown.sum(), 1)),
        'volume_change': float(np.linalg.det(alignment.matrix[:3, :3])),
        'stretch': float(scales[0] / scales[-1]),
        'mirrored': alignment.mirrored,
        'correlation': None if contrast is None else contrast.correlation,
        'dependence': None if contrast is None else contrast.dependence,
        'same_contrast': None if contrast is None else contrast.same,
        'jacobian_p1': float(low),
        'jacobian_p99': float(high),
    }
