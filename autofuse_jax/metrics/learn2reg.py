"""The numbers of the Learn2Reg challenge where they differ from those of this package.

- Labels are warped by nearest sampling in which a position beyond the outermost voxel centres is background, and
  halves are rounded up.
- HD95 is that of the package surface-distance with voxels of size 1, whatever their size: `metrics.surface` with the
  elements 'surfels'.
- A label that the fixed or the moving map (before registration) does not hold is skipped.
- TRE: displacement by cubic splines, voxels of the size of the moving image's: `metrics.landmarks`.
- SDlogJ: see `sdlogj_of_shifted`; with central differences, on voxels two away from the border.

Reference:
    Hering et al., Learn2Reg: comprehensive multi-task medical image registration challenge, IEEE TMI 42(3), 2023; the
    public evaluation code of the challenge.
"""

from collections.abc import Iterable

import numpy as np
from scipy import ndimage

# The challenge adds this to every determinant, so that few of them are below zero, and clips the sum to these limits.
DETERMINANT_OFFSET = 3.0
DETERMINANT_LIMITS = (1e-9, 1e9)


def sample_labels_between_centres(labels: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Sample a label map at the nearest voxel, halves rounded up; 0 beyond the outermost voxel centres.

    Args:
        labels: Integer (D, H, W).
        positions: (3, ...), in voxels of the label map.

    Returns:
        Labels of the same type, (...).
    """
    return ndimage.map_coordinates(labels, positions, order=0, mode='constant', cval=0, prefilter=False)


def labels_in_both(fixed_labels: np.ndarray, moving_labels: np.ndarray, labels: Iterable[int]) -> list[int]:
    """Return those labels that both maps hold, in their order: the ones that Learn2Reg scores."""
    present = set(np.unique(fixed_labels).tolist()) & set(np.unique(moving_labels).tolist())
    return [label for label in labels if label in present]


def sdlogj_of_shifted(determinant: np.ndarray) -> float:
    """Return std(log(clip(det J + 3, 1e-9, 1e9))), the population standard deviation.

    The offset makes the value smaller than that of `folding.sdlogj`, and a fold hardly shows in it.

    Args:
        determinant: Jacobian determinants, any shape.
    """
    return float(np.std(np.log(np.clip(determinant + DETERMINANT_OFFSET, *DETERMINANT_LIMITS))))
