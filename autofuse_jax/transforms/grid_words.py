"""Voxel grids in words: one alone, or two that differ, with as many digits as it takes to see where."""

import numpy as np

from autofuse_jax.transforms.grids import ImageGrid

FEWEST_DIGITS = 4
# Digits behind which two numbers are told apart at last.
MOST_DIGITS = 9


def describe_grid(grid: ImageGrid, digits: int = FEWEST_DIGITS) -> str:
    """Return shape and voxel size in words, such as '128x128x32, 1.5x1.5x3.15 mm'.

    Args:
        grid: Any grid.
        digits: Significant digits of the voxel size; default 4.
    """
    shape = 'x'.join(str(size) for size in grid.shape)
    return f'{shape}, {"x".join(f"{length:.{digits}g}" for length in grid.spacing)} mm'


def describe_place(grid: ImageGrid, digits: int = FEWEST_DIGITS) -> str:
    """Return shape, voxel size, directions and first voxel of a grid in words.

    Args:
        grid: Any grid.
        digits: Significant digits of the voxel size; of the first voxel's place, one digit of a millimetre for 4.
    """
    # Adding 0 turns a rounded -0 into 0.
    first = ', '.join(
        f'{round(value, digits - 3) + 0.0:.{max(digits - 3, 1)}f}' for value in grid.affine[:3, 3].tolist()
    )
    return f'{describe_grid(grid, digits)}, axes {grid.orientation}, from ({first})'


def describe_difference(one: ImageGrid, other: ImageGrid) -> tuple[str, str, str]:
    """Describe two grids so that it can be seen in what they differ.

    Args:
        one: A grid.
        other: Another grid.

    Returns:
        Words for each, with as many digits as differ, and '; corners are up to ... apart', empty for other shapes.
    """
    counts = range(FEWEST_DIGITS, MOST_DIGITS)
    first = next((n for n in counts if describe_place(one, n) != describe_place(other, n)), MOST_DIGITS)
    # The first digit that differs may be nothing but rounding; the next shows by how much.
    digits = FEWEST_DIGITS if tuple(one.shape) != tuple(other.shape) else first + 1
    apart = ''
    if tuple(one.shape) == tuple(other.shape):
        distance = one.misfit_mm(other.affine)
        apart = f'; corners are up to {distance:.3g} mm apart, {distance / min(one.spacing):.3g} of a voxel'
        turned = _angle_degrees(one, other)
        if describe_place(one, digits) == describe_place(other, digits) or turned > 0.001:
            apart += f', axes up to {turned:.3g} degrees'
    return describe_place(one, digits), describe_place(other, digits), apart


def _angle_degrees(one: ImageGrid, other: ImageGrid) -> float:
    """Largest angle between axes of the same number."""
    axes = [grid.affine[:3, :3] / grid.spacing for grid in (one, other)]
    chords = np.linalg.norm(axes[0] - axes[1], axis=0)
    return float(np.degrees(2 * np.arcsin(np.clip(chords / 2, 0, 1))).max())
