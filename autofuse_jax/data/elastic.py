"""Random smooth deformations in the plane, which never fold: cubic B-splines of a coarse lattice of points."""

import numpy as np

# Control points a plane axis and along the third: a deformation wavers about as fast as the walls of a heart do.
PLANE_CELLS, DEPTH_CELLS = 8, 4
# Largest displacement of a control point, as a fraction of their distance, for which a cubic B-spline deformation of
# a plane cannot fold, whatever the displacements: 1 / 2.0464 (Choi and Lee, Graphical Models 62, 2000).
INJECTIVE_LIMIT = 0.488


def random_elastic_positions(shape: tuple[int, int, int], largest: float, rng: np.random.Generator) -> np.ndarray:
    """Draw a deformation of each plane that changes smoothly from plane to plane.

    `x_in = x + sum_i c_i beta(x - i)`, beta the cubic B-spline and c uniform in [-largest, largest] times the distance
    of control points. Its typical displacement is a fifth of that limit.

    Args:
        shape: (D, H, W) of the volume; D and H span the plane.
        largest: Limit of the control points' displacement as a fraction of their distance, 0 to `INJECTIVE_LIMIT`.
        rng: Source of the draws.

    Returns:
        (D, H, W, 2) float64, positions in the plane that voxels take their value from, in voxels.
    """
    cells = (PLANE_CELLS, PLANE_CELLS, DEPTH_CELLS)
    first, second, third = (_basis(size, count) for size, count in zip(shape, cells, strict=True))
    fractions = rng.uniform(-largest, largest, (*(count + 3 for count in cells), 2))
    distances = np.array(shape[:2]) / PLANE_CELLS
    displacement = np.einsum('ai,bj,ck,ijkl->abcl', first, second, third, fractions * distances, optimize=True)
    plane = np.stack(np.meshgrid(*map(np.arange, shape[:2]), indexing='ij'), axis=-1)
    return plane[:, :, None] + displacement


def _basis(size: int, cells: int) -> np.ndarray:
    """Return the weights (size, cells + 3) of control points at the centres of an axis' voxels; rows add up to 1."""
    cell, within = np.divmod((np.arange(size) + 0.5) * cells / size, 1.0)
    pieces = (
        (1 - within) ** 3 / 6,
        (3 * within**3 - 6 * within**2 + 4) / 6,
        (-3 * within**3 + 3 * within**2 + 3 * within + 1) / 6,
        within**3 / 6,
    )
    weights = np.zeros((size, cells + 3))
    for step, piece in enumerate(pieces):
        weights[np.arange(size), cell.astype(int) + step] = piece
    return weights
