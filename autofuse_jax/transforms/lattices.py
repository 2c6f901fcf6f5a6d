"""Points spread evenly over a grid, enough of them to tell where it lies, and whether two grids lie over each other."""

import numpy as np

from autofuse_jax.transforms.grids import ImageGrid, to_world

# Points along each axis at which fields of view are compared.
LATTICE = 24


def lattice_points(grid: ImageGrid, count: int = LATTICE) -> np.ndarray:
    """Return the centres of equal blocks that fill the field of view of a grid.

    Args:
        grid: The grid.
        count: Number of blocks along each axis, 1 or more, where the axis has as many voxels; default 24.

    Returns:
        float64 (N, 3), RAS millimetres, at most count ** 3 points.
    """
    axes = [np.linspace(-0.5, size - 0.5, 2 * min(count, size) + 1)[1::2] for size in grid.shape]
    return to_world(grid.affine, np.stack(np.meshgrid(*axes, indexing='ij'), -1).reshape(-1, 3))


def overlap(first: ImageGrid, second: ImageGrid) -> bool:
    """Tell whether the fields of view of two grids have a place in common that is worth anything.

    Args:
        first: A grid.
        second: Another one, in the same world.
    """
    # Either may be so small that no point of the other lies in it.
    return bool(first.contains(lattice_points(second)).any() or second.contains(lattice_points(first)).any())
