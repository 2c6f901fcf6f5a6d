"""What became of the points that guide: whether they lie in their images, and how far apart they are."""

from typing import Any

import numpy as np

from autofuse_jax.registration.guide import Guide
from autofuse_jax.transforms.grids import ImageGrid
from autofuse_jax.transforms.maps import Transform


def point_record(guide: Guide | None, fixed: ImageGrid, moving: ImageGrid, transform: Transform) -> dict[str, Any]:
    """Return what a report says of guiding points.

    Args:
        guide: Guide of a registration, or None.
        fixed: Grid of the fixed image.
        moving: Grid of the moving image.
        transform: What was found, from the fixed to the moving world.

    Returns:
        'points_outside': number outside the faces of the 'fixed' and of the 'moving' image; 'points_mm': mean distance
        of the pairs 'before', |y - x|, and 'after', |T(x) - y|, in millimetres. Empty without points.
    """
    if guide is None or guide.fixed_points is None or guide.moving_points is None:
        return {}
    points, counterparts = guide.fixed_points, guide.moving_points
    outside = {
        role: int(np.count_nonzero(~grid.contains(there)))
        for role, grid, there in (('fixed', fixed, points), ('moving', moving, counterparts))
    }
    apart = {
        when: float(np.linalg.norm(mapped - counterparts, axis=-1).mean())
        for when, mapped in (('before', points), ('after', transform.map_points(points)))
    }
    return {'points_outside': outside, 'points_mm': apart}


def point_evidence(record: dict[str, Any], smallest_spacing: float) -> dict[str, float]:
    """Return what a verdict needs to know of guiding points.

    Args:
        record: Result of `point_record`.
        smallest_spacing: Smallest voxel size of the fixed image in millimetres.

    Returns:
        points_outside, their number, and points_growth, by how much the mean distance grew, in voxels of that size.
        Empty without points.
    """
    if not record:
        return {}
    growth = record['points_mm']['after'] - record['points_mm']['before']
    return {'points_outside': sum(record['points_outside'].values()), 'points_growth': growth / smallest_spacing}


def point_sentence(record: dict[str, Any]) -> str:
    """Return a record in words, to follow the number of pairs."""
    apart, outside = record['points_mm'], record['points_outside']
    text = f', on average {apart["before"]:.2f} mm apart before and {apart["after"]:.2f} mm after'
    beyond = [f'{count} outside of the {role} image' for role, count in outside.items() if count]
    return text + ''.join(f', {part}' for part in beyond)
