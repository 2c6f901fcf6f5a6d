"""How good a registration is: similarity, overlap, surface distance, folding, inverse consistency."""

import dataclasses
from typing import Any

import numpy as np

from autofuse_jax.data.volumes import Volume
from autofuse_jax.evaluation.pair_data import AFTER, BEFORE, PairData
from autofuse_jax.evaluation.pair_scores import score_pair
from autofuse_jax.evaluation.protocol import DEFAULT, DSC, HD95, JACOBIAN_RANGE, NJD, SDLOGJ
from autofuse_jax.metrics.structures import label_ids, mean_over_structures
from autofuse_jax.transforms.grids import grid_points, slabs
from autofuse_jax.transforms.maps import DenseTransform

# What the report of a registration says of its transform.
REPORT = dataclasses.replace(DEFAULT, name='register', quantities=(DSC, HD95, NJD, SDLOGJ, JACOBIAN_RANGE))
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
    covered: np.ndarray | None = None,
) -> dict[str, Any]:
    """Score a registration on the fixed grid.

    Args:
        fixed: The fixed volume, with labels or without.
        transform: Transform from the fixed to the moving world, on the fixed grid.
        inverse: Transform from the moving to the fixed world, on the moving grid.
        moving_before: (D, H, W), the moving image on the fixed grid through the headers only.
        moved: (D, H, W), the moved image.
        labels_before: (D, H, W), moving labels on the fixed grid through the headers only, or None.
        moved_labels: (D, H, W), moved labels, or None.
        covered: bool (D, H, W), where both images are known after the registration; None: everywhere. What lies outside
            an image is no data, and enters no correlation.

    Returns:
        ncc_before, ncc_after (correlation of the images, -1 .. 1), njd_percent, sdlogj, jacobian_min,
        jacobian_max, inverse_consistency_mm (mean, p95, max); with labels of both images also dsc_before, dsc_after
        (0 .. 1) and hd95_mm_before, hd95_mm_after, as means over structures and, under the same names with _per_label,
        one by one. Where structures are in only one of the two label maps, whose DSC is 0 in those means, also
        structures_in_one_map (their ids) and dsc_before_in_both, dsc_after_in_both, the means without them. NaN where
        something cannot be measured.
    """
    pair = PairData(
        transform.displacement,
        fixed.affine,
        fixed_labels=fixed.labels,
        warped_labels=None if moved_labels is None else {BEFORE: labels_before, AFTER: moved_labels},
        structures=label_ids(fixed.labels, labels_before, moved_labels),
    )
    measures = score_pair(pair, REPORT)
    return {
        'ncc_before': correlation(fixed.image, moving_before, covered),
        'ncc_after': correlation(fixed.image, moved, covered),
        'inverse_consistency_mm': inverse_consistency(transform, inverse),
        **measures,
        **_means_in_both(measures, fixed.labels, labels_before, moved_labels),
    }


def _means_in_both(
    measures: dict[str, Any], fixed: np.ndarray | None, before: np.ndarray | None, after: np.ndarray | None
) -> dict[str, Any]:
    """Means of the DSC without the structures that only one of the two label maps has; empty where both have all."""
    if fixed is None or (before is None and after is None):
        return {}
    single = sorted({*label_ids(fixed)} ^ {*label_ids(before, after)})
    if not single:
        return {}
    means = {
        f'{DSC}_{when}_in_both': mean_over_structures(
            {label: score for label, score in measures[f'{DSC}_{when}_per_label'].items() if label not in single}
        )
        for when in (BEFORE, AFTER)
        if f'{DSC}_{when}_per_label' in measures
    }
    return {'structures_in_one_map': single, **means}


def correlation(first: np.ndarray, second: np.ndarray, covered: np.ndarray | None = None) -> float:
    """Return Pearson's correlation of two images; nan where one is the same everywhere.

    Args:
        first: (D, H, W).
        second: (D, H, W).
        covered: bool (D, H, W), voxels that count; None: all. Voxels that hold no number in either image never do.
    """
    # Slab by slab, because copies of whole images in float64 take several times their memory.
    parts = slabs(first.shape)

    def known_in(rows: slice) -> list[np.ndarray]:
        known = np.isfinite(first[rows]) & np.isfinite(second[rows])
        if covered is not None:
            known &= covered[rows]
        return [np.asarray(image[rows][known], np.float64) for image in (first, second)]

    count, sums, products = 0, np.zeros(2), np.zeros(3)
    lowest, highest = np.full(2, np.inf), np.full(2, -np.inf)
    for rows in parts:
        values = known_in(rows)
        count += values[0].size
        sums += [value.sum() for value in values]
        lowest = np.minimum(lowest, [value.min(initial=np.inf) for value in values])
        highest = np.maximum(highest, [value.max(initial=-np.inf) for value in values])
    if (lowest >= highest).any():
        return float('nan')
    for rows in parts:
        a, b = (value - mean for value, mean in zip(known_in(rows), sums / count, strict=True))
        products += [(a * a).sum(), (b * b).sum(), (a * b).sum()]
    scale = np.sqrt(products[0] * products[1])
    return float(products[2] / scale) if scale > 0 else float('nan')


def inverse_consistency(transform: DenseTransform, inverse: DenseTransform) -> dict[str, float]:
    """Return how far going to the moving image and back misses the start: `|inverse(transform(p)) - p|`.

    Args:
        transform: Transform from the fixed to the moving world, on the fixed grid.
        inverse: Transform from the moving to the fixed world, on the moving grid.

    Returns:
        'mean', 'p95' and 'max' in millimetres over the voxels of the fixed grid that the transform brings inside the
        moving grid; nan where there is none.
    """
    pieces = []
    for rows in slabs(transform.grid.shape):
        points = grid_points(transform.grid, rows).reshape(-1, 3)
        there = transform.map_points(points)
        inside = inverse.covers(there)
        missed = np.linalg.norm(inverse.map_points(there[inside]) - points[inside], axis=-1)
        pieces.append(missed.astype(np.float32))
    apart = np.concatenate(pieces)
    if not apart.size:
        return dict.fromkeys(('mean', 'p95', 'max'), float('nan'))
    return {
        'mean': float(apart.mean(dtype=np.float64)),
        'p95': float(np.percentile(apart, HIGH_PERCENTILE)),
        'max': float(apart.max()),
    }
