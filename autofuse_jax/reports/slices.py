"""Which slice of a volume a picture shows, and how it lies on the page."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Slice:
    """Which slice is shown and how it lies on the page.

    Attributes:
        axis: Volume axis across the slice.
        index: Slice number along it.
        right: Volume axis that points right.
        up: Volume axis that points up.
        spacing: Millimetres per voxel along (right, up).
    """

    axis: int
    index: int
    right: int
    up: int
    spacing: tuple[float, float]

    def cut(self, volume: np.ndarray) -> np.ndarray:
        """The slice as (up, right), the order in which rows and columns are drawn."""
        return np.take(volume, min(self.index, volume.shape[self.axis] - 1), self.axis).T

    def extent(self, rows: int, columns: int, shift: float = 0.0) -> tuple[float, float, float, float]:
        """Edges (left, right, bottom, top) in millimetres; `shift` in voxels moves the centre of the first voxel."""
        first = shift - 0.5
        right, up = self.spacing
        return first * right, (first + columns) * right, first * up, (first + rows) * up


def choose_slice(
    spacing: tuple[float, float, float], labels: np.ndarray | None, fixed: np.ndarray, moving: np.ndarray
) -> Slice:
    """Pick the slice with most labelled voxels or, without labels, the one where the two images differ most.

    Args:
        spacing: Voxel size along (D, H, W), in millimetres.
        labels: Fixed label map, (D, H, W), or None.
        fixed: Fixed image, (D, H, W).
        moving: Moving image, (D, H, W).

    Returns:
        The slice, across the axis with the largest spacing; of equal ones the last.
    """
    axis = max(range(3), key=lambda candidate: (spacing[candidate], candidate))
    right, up = (other for other in range(3) if other != axis)
    labelled = labels is not None and labels.any()
    weight = (labels > 0) if labelled else np.abs(np.asarray(fixed, float) - moving)
    index = int(np.argmax(weight.sum(axis=(right, up))))
    return Slice(axis, index, right, up, (float(spacing[right]), float(spacing[up])))
