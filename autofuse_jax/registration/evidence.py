"""What speaks for and against a registration, whatever it started from: the evidence that a verdict rests on."""

from typing import Any

import numpy as np

from autofuse_jax.data.intensity import fill_missing, scale_weights, window_normalise
from autofuse_jax.data.volumes import Volume
from autofuse_jax.metrics.local_correlation import local_correlation
from autofuse_jax.registration.alignment import Alignment
from autofuse_jax.registration.coverage import BACKGROUND_TOLERANCE, border_of, coverage_at, validity_rim
from autofuse_jax.transforms.grids import slabs
from autofuse_jax.transforms.maps import DenseTransform
from autofuse_jax.transforms.resampling import moving_positions, sample_image

# Weight of a mask, as a share of its largest, above which a voxel counts as shown.
COUNTING_WEIGHT = 0.5
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
    scaled = window_normalise(scale_weights(fill_missing(moving)))
    known = np.ones(moving.image.shape, np.float32) if scaled.mask is None else scaled.mask
    rimmed = validity_rim(known, border_of(scaled.image, known).open)
    covered = np.empty(fixed.grid.shape, bool)
    for rows in slabs(covered.shape):
        covered[rows] = (
            coverage_at(rimmed, moving_positions(transform, fixed.grid, moving.affine, rows)) > COUNTING_WEIGHT
        )
    covered &= np.isfinite(fixed.image)
    mask = scale_weights(fixed).mask
    return covered if mask is None else covered & (mask > COUNTING_WEIGHT)


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
        background in both, where both are known), covered_percent (of the fixed image's foreground), shared_percent
        (the same, of the smaller foreground: by a small part or mask not much can be covered), volume_change
        (determinant of the linear part), stretch (its largest over its smallest scale), mirrored (similarity of the
        best mirror image over that reached, or None), both_ways_mm and both_ways_share (see `agreement.Agreement`, or
        None), correlation and dependence of the grey values where the contrast was looked at, same_contrast,
        jacobian_p1 and jacobian_p99.
    """
    first, second = (window_normalise(scale_weights(fill_missing(volume))) for volume in (fixed, moving))
    borders = [border_of(volume.image, volume.mask) for volume in (first, second)]
    values = second.image - np.float32(borders[1].background)
    moved = np.empty(fixed.grid.shape, np.float32)
    for rows in slabs(moved.shape):
        moved[rows] = sample_image(values, moving_positions(transform, fixed.grid, moving.affine, rows))
    shown, moving_shown = (
        np.abs(volume.image - border.background) > BACKGROUND_TOLERANCE
        for volume, border in zip((first, second), borders, strict=True)
    )
    if second.mask is not None:
        moving_shown &= second.mask > COUNTING_WEIGHT
    moved_shown = np.abs(moved) > BACKGROUND_TOLERANCE
    both = (shown & moved_shown & covered).sum()
    either = (shown & covered).sum() + (moved_shown & covered).sum()
    volume_change = float(np.linalg.det(alignment.matrix[:3, :3]))
    # What counts of the moving image, in voxels of the fixed one.
    there = moving_shown.sum() * moving.grid.voxel_mm3 / fixed.grid.voxel_mm3 / max(abs(volume_change), 1e-6)
    scales = np.linalg.svd(alignment.matrix[:3, :3], compute_uv=False)
    low, high = np.percentile(jacobian, JACOBIAN_PERCENTILES)
    contrast, agreement = alignment.contrast, alignment.agreement
    return {
        'local_correlation': local_correlation(first.image, moved, covered),
        'foreground_overlap': float(2 * both / either) if either else float('nan'),
        'covered_percent': float(100 * (shown & covered).sum() / max(shown.sum(), 1)),
        'shared_percent': float(100 * (shown & covered).sum() / max(min(shown.sum(), there), 1)),
        'volume_change': volume_change,
        'stretch': float(scales[0] / scales[-1]),
        'mirrored': alignment.mirrored,
        'both_ways_mm': None if agreement is None else agreement.mean_mm,
        'both_ways_share': None if agreement is None else agreement.share,
        'correlation': None if contrast is None else contrast.correlation,
        'dependence': None if contrast is None else contrast.dependence,
        'same_contrast': None if contrast is None else contrast.same,
        'jacobian_p1': float(low),
        'jacobian_p99': float(high),
    }
