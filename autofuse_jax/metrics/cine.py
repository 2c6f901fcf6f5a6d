"""Volumes of the structures and mean Jacobian determinants over the frames of a cine."""

import math
from collections.abc import Iterable, Mapping

import numpy as np

VOLUMES, DETERMINANTS = 'volume_ml', 'jacobian_mean'
WHOLE_IMAGE = 'whole image'
MM3_PER_ML = 1000.0


def cine_curves(
    reference_labels: np.ndarray,
    jacobians: Iterable[np.ndarray],
    names: Mapping[int, str],
    voxel_mm3: float,
    frame_labels: Iterable[np.ndarray] | None = None,
) -> dict[str, dict[str, list[float]]]:
    """Measure every frame of a cine whose frames (moving) were registered to one (fixed).

    Args:
        reference_labels: Integer labels of the reference frame, (D, H, W).
        jacobians: Determinants of each frame on the grid of the reference frame, (D, H, W) or one less along each
            axis; above 1 where the frame shows a place larger.
        names: Label id to name, background left out.
        voxel_mm3: Volume of a voxel.
        frame_labels: Labels of the reference frame warped onto each frame. Without them a volume is the
            volume in the reference frame times the mean determinant in the structure.

    Returns:
        'volume_ml' and 'jacobian_mean': name of the structure to one value for each frame, nan where the reference
        frame does not have the structure; the determinants also for the 'whole image'.
    """
    counts = {label: int(np.count_nonzero(reference_labels == label)) for label in names}
    means: dict[str, list[float]] = {name: [] for name in (*names.values(), WHOLE_IMAGE)}
    for determinant in jacobians:
        # Differences exist for all but the last voxel along each axis.
        voxel_labels = reference_labels[tuple(slice(size) for size in determinant.shape)]
        for label, name in names.items():
            inside = determinant[voxel_labels == label]
            means[name].append(float(inside.mean(dtype=np.float64)) if inside.size else math.nan)
        means[WHOLE_IMAGE].append(float(determinant.mean(dtype=np.float64)))
    ml = voxel_mm3 / MM3_PER_ML
    if frame_labels is None:
        volumes = {name: [counts[label] * ml * mean for mean in means[name]] for label, name in names.items()}
    else:
        volumes = {name: [] for name in names.values()}
        for labels in frame_labels:
            for label, name in names.items():
                volumes[name].append(np.count_nonzero(labels == label) * ml if counts[label] else math.nan)
    return {VOLUMES: volumes, DETERMINANTS: means}
