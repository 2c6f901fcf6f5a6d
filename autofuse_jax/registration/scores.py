"""How good a registration is: similarity, overlap, surface distance, folding, inverse consistency."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from autofuse_jax.data.volumes import Volume
from autofuse_jax.metrics.folding import jacobian_determinant, njd_percent, sdlogj
from autofuse_jax.metrics.overlap import BACKGROUND, dice_per_label, mean_dice
from autofuse_jax.metrics.surface import hausdorff_per_label
from autofuse_jax.transforms.grids import grid_points
from autofuse_jax.transforms.maps import DenseTransform

# Percentile of the inverse consistency error that is reported beside its mean and its largest value.
HIGH_PERCENTILE = 95


def score_registration(
    fixed: Volume,
    transform: DenseTransform,
    inverse: DenseTransform,
    *,
    moving_before: np.ndarray,
    moved: np.ndarray,
    labels_before: np.ndarray | None = None,
    moved_labels: np.ndarray | None = None,
) -> dict[str, Any]:
    """Score a registration on the fixed grid.

    Args:
        fixed: The fixed volume, with labels or without.
        transform: From the fixed to the moving world, on the fixed grid.
        inverse: From the moving to the fixed world, on the moving grid.
        moving_before: (D, H, W), the moving image on the fixed grid through the headers only.
        moved: (D, H, W), the moved image.
        labels_before: (D, H, W), moving labels on the fixed grid through the headers only, or None.
        moved_labels: (D, H, W), moved labels, or None.

    Returns:
        ncc_before, ncc_after (correlation of the whole images, -1 .. 1), njd_percent, sdlogj, jacobian_min,
        jacobian_max, inverse_consistency_mm (mean, p95, max); with labels of both images also dsc_before, dsc_after
        (0 .. 1) and hd95_mm_before, hd95_mm_after, as means over structures and, under the same names with _per_label,
        one by one. NaN where something cannot be measured.
    """
    determinant = jacobian_determinant(transform.displacement)
    scores: dict[str, Any] = {
        'ncc_before': correlation(fixed.image, moving_before),
        'ncc_after': correlation(fixed.image, moved),
        'njd_percent': njd_percent(determinant),
        'sdlogj': sdlogj(determinant),
        'jacobian_min': float(determinant.min()),
        'jacobian_max': float(determinant.max()),
        'inverse_consistency_mm': inverse_consistency(transform, inverse),
    }
    if fixed.labels is None or labels_before is None or moved_labels is None:
        return scores
    structures = scored_labels(fixed.labels, labels_before, moved_labels)
    for when, labels in (('before', labels_before), ('after', moved_labels)):
        overlap = dice_per_label(fixed.labels, labels, structures)
        distance = hausdorff_per_label(fixed.labels, labels, structures, fixed.spacing)
        known = [value for value in distance.values() if np.isfinite(value)]
        scores |= {
            f'dsc_{when}': mean_dice(overlap),
            f'dsc_{when}_per_label': overlap,
            f'hd95_mm_{when}': float(np.mean(known)) if known else float('nan'),
            f'hd95_mm_{when}_per_label': distance,
        }
    return scores


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Return Pearson's correlation of two images over all voxels; nan where one is the same everywhere.

    Args:
        first: (D, H, W).
        second: (D, H, W).
    """
    a, b = (np.asarray(image, np.float64) - np.mean(image, dtype=np.float64) for image in (first, second))
    scale = np.sqrt((a * a).sum() * (b * b).sum())
    return float((a * b).sum() / scale) if scale > 0 else float('nan')


def inverse_consistency(transform: DenseTransform, inverse: DenseTransform) -> dict[str, float]:
    """Return how far going to the moving image and back misses the start: `|inverse(transform(p)) - p|`.

    Args:
        transform: From the fixed to the moving world, on the fixed grid.
        inverse: From the moving to the fixed world, on the moving grid.

    Returns:
        'mean', 'p95' and 'max' in millimetres over the voxels of the fixed grid that the transform brings inside the
        moving grid; nan where there is none.
    """
    points = grid_points(transform.grid).reshape(-1, 3)
    there = transform.map_points(points)
    inside = inverse.covers(there)
    if not inside.any():
        return dict.fromkeys(('mean', 'p95', 'max'), float('nan'))
    apart = np.linalg.norm(inverse.map_points(there[inside]) - points[inside], axis=-1)
    return {
        'mean': float(apart.mean()),
        'p95': float(np.percentile(apart, HIGH_PERCENTILE)),
        'max': float(apart.max()),
    }


def scored_labels(*maps: np.ndarray) -> Sequence[int]:
    """Return the ids that occur in any of the maps, background left out, in ascending order."""
    found = set().union(*(np.unique(labels).tolist() for labels in maps))
    return sorted(found - {BACKGROUND})
