"""Fitting an aligned brain into the prepared grid where the grid would cut off more than a trace of it."""

import dataclasses

import numpy as np

from autofuse_jax.preparation.brain_resampling import places_on_grid
from autofuse_jax.transforms.grids import ImageGrid

# The share of a brain's voxels that may be cut off before anything is done about it.
LARGEST_CUT = 1e-3
# What a fitted brain may still lose: a little less.
FITTED_CUT = 0.9 * LARGEST_CUT


@dataclasses.dataclass(frozen=True, eq=False)
class Fit:
    """How an alignment was changed for the grid.

    Attributes:
        matrix: float64 (4, 4), from the world of the grid to that of the brain.
        scale: Factor along the axes of the grid; 1 where the brain was not made smaller.
        shift_mm: Shift of the brain's middle along the axes of the grid in millimetres.
    """

    matrix: np.ndarray
    scale: tuple[float, ...]
    shift_mm: tuple[float, ...]


def fit_into(brain: np.ndarray, affine: np.ndarray, grid: ImageGrid, matrix: np.ndarray) -> Fit:
    """Shift, and where that is not enough shrink, a brain along the axes of a grid until the grid holds it.

    Along each axis on which voxels are outside, the smallest change is made that leaves at most its part of 0.09 % of
    all voxels outside: of the range that holds all voxels but those, an end outside the grid is shifted to its edge; a
    range longer than the grid is shrunk to its length and centred.

    Args:
        brain: bool (D, H, W), at least one True.
        affine: (4, 4) of it.
        grid: The prepared grid.
        matrix: (4, 4), from the world of the grid to that of the brain, RAS millimetres.

    Returns:
        The changed alignment; it cuts off less than 0.1 %.
    """
    positions = places_on_grid(brain, affine, grid, matrix)
    edges = [(-0.5, size - 0.5) for size in grid.shape]
    sticking_out = sum(
        bool((positions[:, axis] < first).any() or (positions[:, axis] > last).any())
        for axis, (first, last) in enumerate(edges)
    )
    spare = int(len(positions) * FITTED_CUT / max(sticking_out, 1) / 2)
    change = np.eye(4)
    scales, shifts = np.ones(3), np.zeros(3)
    for axis, (first, last) in enumerate(edges):
        low, high = _range(positions[:, axis], spare)
        if high - low > last - first:
            scales[axis] = (last - first) / (high - low)
            shifts[axis] = (first + last) / 2 - (low + high) / 2
        else:
            shifts[axis] = max(first - low, 0) - max(high - last, 0)
        # x -> scale * (x - middle) + middle + shift
        middle = (low + high) / 2
        change[axis, axis] = scales[axis]
        change[axis, 3] = middle * (1 - scales[axis]) + shifts[axis]
    alignment = matrix @ grid.affine @ np.linalg.inv(change) @ np.linalg.inv(grid.affine)
    return Fit(alignment, tuple(scales.tolist()), tuple((shifts * grid.spacing).tolist()))


def _range(positions: np.ndarray, spare: int) -> tuple[float, float]:
    """Return the ends between which all positions lie but `spare` of them on either side."""
    ordered = np.partition(positions, (spare, len(positions) - 1 - spare))
    # A hair wider, so that rounding does not leave the outermost kept voxels outside.
    return float(ordered[spare]) - 1e-6, float(ordered[len(positions) - 1 - spare]) + 1e-6
