"""Area of the surface that passes between the eight voxels around a corner of the voxel grid.

The surface is that of marching cubes at the middle of the edges. Corners of the cube that are inside and joined by its
edges are cut off together by one patch; the patches of all groups are added. Where more than half of the corners are
inside, the corners outside are grouped instead, because inside and outside share their surface.

With voxels of a x b x c mm, the cube's faces across its axes have the areas F = (bc, ac, ab) mm^2. The vertices of a
patch are the middles of those edges that lead from a corner of the group to one that is not of it. All patches are made
of three pieces:

- The triangle around one corner, from which its vertices are at (a/2, 0, 0), (0, b/2, 0), (0, 0, c/2). Half the cross
  product of two sides is (bc, ac, ab) / 8, so that its area is |F| / 8.
- The strip along an edge, a rectangle. Along c, its sides are c and |(a, b)| / 2; its area is |(bc, ac)| / 2: half the
  norm of F without the face across that edge.
- The whole face, or the half of it that its diagonal leaves, half-way between two faces.

Joined groups have one to four corners:

- One: the triangle. Two: the strip along their edge. Four of a face: the whole face.
- Three, always of a face, here that across c. Half of the face lies above them at c/2. From its diagonal, a trapezoid
  leads down to the two edges at the fourth corner of the face. Its short side is half as long as the diagonal, so that
  it falls into three triangles of the same base and height, each as large as that around one corner.
- Four, one of which is joined to the other three: a hexagon in the plane x/a + y/b + z/c = 3/2 from that one. About its
  middle, it falls into six triangles, each as large as that around one corner.
- Four in a twisted row, whose three edges lead along all three axes: a hexagon that is not flat. For the row (1, 0, 0),
  (0, 0, 0), (0, 0, 1), (0, 1, 1) its vertices are, on a way round and in units of the sides, (0, 1/2, 0), (1, 1/2, 0),
  (1, 0, 1/2), (1/2, 0, 1), (1/2, 1, 1), (0, 1, 1/2). The first three are half of the strip along one outer edge of the
  row, cut along its diagonal, and the other three half of that along the other one. Between both halves lie two
  triangles, of the first, third and sixth and of the third, fourth and sixth vertex. Half the cross product of two of
  their sides is (bc, ac, ab) / 4 but for signs, so that each is as large as two triangles around a corner. Of the ways
  to cut the hexagon into triangles, which differ in area, this is that of the package surface-distance.
"""

import functools
import itertools
from collections.abc import Sequence

import numpy as np

CORNERS = tuple(itertools.product((0, 1), repeat=3))
# Weight of each corner in the code of a pattern; any order would do, as long as it is used throughout.
CORNER_WEIGHTS = 2 ** np.arange(len(CORNERS)).reshape(2, 2, 2)
ALL_INSIDE = 2 ** len(CORNERS) - 1


@functools.lru_cache(maxsize=32)
def surfel_areas(spacing: tuple[float, float, float]) -> np.ndarray:
    """Return the area of the surface inside a cube of 2 x 2 x 2 voxel centres, for every pattern of voxels.

    Args:
        spacing: Voxel size along (D, H, W), in millimetres.

    Returns:
        float64 (256,), in square millimetres, by the code of the pattern: the sum of `CORNER_WEIGHTS` of the corners
        that are inside; 0 for the first and the last.

    Reference:
        Lorensen and Cline, Marching cubes, Computer Graphics 21(4), 1987.
    """
    areas = np.zeros(ALL_INSIDE + 1)
    for code in range(1, ALL_INSIDE):
        inside = {corner for corner in CORNERS if code & CORNER_WEIGHTS[corner]}
        minority = inside if len(inside) <= len(CORNERS) // 2 else set(CORNERS) - inside
        areas[code] = sum((_patch_area(group, np.asarray(spacing, np.float64)) for group in _groups(minority)), 0.0)
    return areas


def corner_codes(mask: np.ndarray) -> np.ndarray:
    """Return the code of the pattern around every corner of the voxel grid.

    Args:
        mask: bool (D, H, W); voxels beyond it count as outside.

    Returns:
        uint8 (D + 1, H + 1, W + 1).
    """
    padded = np.pad(mask, 1).astype(np.uint8)
    codes = np.zeros([size - 1 for size in padded.shape], np.uint8)
    for corner in CORNERS:
        window = tuple(slice(start, start + size) for start, size in zip(corner, codes.shape, strict=True))
        codes += padded[window] * np.uint8(CORNER_WEIGHTS[corner])
    return codes


def _groups(corners: set[tuple[int, ...]]) -> list[list[tuple[int, ...]]]:
    """Split corners into groups that are joined by edges of the cube."""
    remaining, groups = set(corners), []
    while remaining:
        group = [remaining.pop()]
        for corner in group:
            near = [other for other in remaining if _axes_between(corner, other).sum() == 1]
            remaining.difference_update(near)
            group += near
        groups.append(group)
    return groups


def _axes_between(first: Sequence[int], second: Sequence[int]) -> np.ndarray:
    return np.asarray(first) != np.asarray(second)


def _patch_area(group: list[tuple[int, ...]], spacing: np.ndarray) -> float:
    """Area of the patch that cuts off one to four joined corners, see the module."""
    faces = np.prod(spacing) / spacing  # Area of the cube's face across each axis, F.
    triangle = float(np.linalg.norm(faces)) / 8
    if len(group) == 1:
        return triangle
    if len(group) == 2:
        return _strip(_axes_between(*group), faces)
    across = np.ptp(np.asarray(group), axis=0) == 0  # The axis along which a flat group has no extent.
    if len(group) == 3:
        return faces[across].item() / 2 + 3 * triangle
    if across.any():
        return faces[across].item()
    joined_to = [sum(_axes_between(corner, other).sum() == 1 for other in group) for corner in group]
    if max(joined_to) == 3:
        return 6 * triangle
    middle = _axes_between(*(corner for corner, count in zip(group, joined_to, strict=True) if count == 2))
    outer = np.eye(len(middle), dtype=bool)[~middle]
    return sum(_strip(edge, faces) for edge in outer) / 2 + 4 * triangle


def _strip(edge: np.ndarray, faces: np.ndarray) -> float:
    """Area of the strip along an edge of the cube, bool (3,) at its axis."""
    return float(np.linalg.norm(faces[~edge])) / 2
