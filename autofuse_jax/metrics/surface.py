"""Distances between the surfaces of two structures: 95th percentile Hausdorff distance (HD95) and mean (ASSD).

Two definitions of a surface are in use, and their numbers differ by up to about a voxel:

- 'voxels': the voxels of a structure that have a face neighbour outside it, at their centres, all of equal weight. Of a
  volume that is a single slice, these are the voxels of the outline within its plane.
- 'surfels': the corners of voxels around which not all eight voxels are inside or outside, each weighted by the area
  of the marching-cubes surface there. This is what the Python package surface-distance and Learn2Reg compute.
"""

import dataclasses
import math
from collections.abc import Iterable, Sequence

import numpy as np
from scipy import ndimage

from autofuse_jax.metrics.structures import BACKGROUND
from autofuse_jax.metrics.surfels import ALL_INSIDE, corner_codes, surfel_areas

ELEMENTS = ('voxels', 'surfels')
COMBINATIONS = ('max', 'union')


@dataclasses.dataclass(frozen=True)
class SurfaceDefinition:
    """What counts as the surface, and how its distances become one number.

    Attributes:
        elements: 'voxels' or 'surfels', see the module.
        combine: 'max': the larger of the two directed percentiles; 'union': the percentile of both directions together.
        percentile: 95 for HD95, 100 for the Hausdorff distance.
    """

    elements: str = 'voxels'
    combine: str = 'max'
    percentile: float = 95.0

    def __post_init__(self):
        for value, choices in ((self.elements, ELEMENTS), (self.combine, COMBINATIONS)):
            if value not in choices:
                raise ValueError(f'{value!r} is not one of {", ".join(choices)}')
        if not 0 < self.percentile <= 100:
            raise ValueError(f'percentile {self.percentile} must be above 0 and at most 100')


@dataclasses.dataclass(frozen=True)
class SurfaceDistances:
    """Distance of every element of one surface to the nearest element of the other, with its weight.

    Attributes:
        forward: (n,), from the first surface to the second, in millimetres.
        forward_weights: (n,).
        backward: (m,), from the second surface to the first, in millimetres.
        backward_weights: (m,).
    """

    forward: np.ndarray
    forward_weights: np.ndarray
    backward: np.ndarray
    backward_weights: np.ndarray


DEFAULT_DEFINITION = SurfaceDefinition()


def surface_distances(
    first: np.ndarray, second: np.ndarray, spacing: Sequence[float], elements: str = 'voxels'
) -> SurfaceDistances | None:
    """Distances between the surfaces of two masks, in both directions.

    Args:
        first: bool (D, H, W). What lies beyond the volume counts as outside, except across a single slice.
        second: bool, the same shape.
        spacing: Voxel size along (D, H, W), in millimetres.
        elements: 'voxels' or 'surfels', see the module.

    Returns:
        The distances; None where a mask is empty.

    Raises:
        ValueError: The shapes differ or are not 3-D.
    """
    first, second = np.asarray(first, bool), np.asarray(second, bool)
    if first.ndim != 3 or first.shape != second.shape:
        raise ValueError(f'masks of shapes {first.shape} and {second.shape} must have one shape (D, H, W)')
    if not first.any() or not second.any():
        return None
    neighbours = _neighbours(first.shape)
    # Nothing outside the box that holds both can be nearer.
    box = ndimage.find_objects((first | second).astype(np.uint8))[0]
    spacing = tuple(float(size) for size in spacing)
    surfaces, weights = zip(
        *(_surface(mask[box], spacing, elements, neighbours) for mask in (first, second)), strict=True
    )
    to_first, to_second = (ndimage.distance_transform_edt(~surface, sampling=spacing) for surface in surfaces)
    return SurfaceDistances(to_second[surfaces[0]], weights[0], to_first[surfaces[1]], weights[1])


def robust_hausdorff(
    first: np.ndarray,
    second: np.ndarray,
    spacing: Sequence[float],
    definition: SurfaceDefinition = DEFAULT_DEFINITION,
) -> float:
    """Percentile Hausdorff distance of two masks; with the default definition HD95 in millimetres.

    The percentile is the smallest distance d such that elements of at least that share of the surface (by weight) are
    not farther than d; nothing is interpolated.

    Args:
        first: bool (D, H, W).
        second: bool, the same shape.
        spacing: Voxel size along (D, H, W), in millimetres.
        definition: Definition of the surface.

    Returns:
        The distance in millimetres; nan where a mask is empty.

    Raises:
        ValueError: The shapes differ or are not 3-D.

    Reference:
        Huttenlocher et al., Comparing images using the Hausdorff distance, IEEE TPAMI 15(9), 1993.
    """
    return percentile_distance(surface_distances(first, second, spacing, definition.elements), definition)


def average_surface_distance(
    first: np.ndarray,
    second: np.ndarray,
    spacing: Sequence[float],
    definition: SurfaceDefinition = DEFAULT_DEFINITION,
) -> float:
    """Average symmetric surface distance (ASSD): the weighted mean over the elements of both surfaces together.

    Args:
        first: bool (D, H, W).
        second: bool, the same shape.
        spacing: Voxel size along (D, H, W), in millimetres.
        definition: Definition of the surface.

    Returns:
        The distance in millimetres; nan where a mask is empty.

    Raises:
        ValueError: The shapes differ or are not 3-D.
    """
    return average_distance(surface_distances(first, second, spacing, definition.elements))


def percentile_distance(distances: SurfaceDistances | None, definition: SurfaceDefinition) -> float:
    """Return what `robust_hausdorff` returns, of distances that are known; nan for None."""
    if distances is None:
        return math.nan
    directed = [
        (distances.forward, distances.forward_weights),
        (distances.backward, distances.backward_weights),
    ]
    if definition.combine == 'union':
        values, weights = (np.concatenate(part) for part in zip(*directed, strict=True))
        directed = [(values, weights)]
    return max(_weighted_percentile(values, weights, definition.percentile) for values, weights in directed)


def average_distance(distances: SurfaceDistances | None) -> float:
    """Return what `average_surface_distance` returns, of distances that are known; nan for None."""
    if distances is None:
        return math.nan
    total = np.dot(distances.forward, distances.forward_weights) + np.dot(
        distances.backward, distances.backward_weights
    )
    return float(total / (distances.forward_weights.sum() + distances.backward_weights.sum()))


def distances_per_label(
    fixed_labels: np.ndarray,
    warped_labels: np.ndarray,
    labels: Iterable[int],
    spacing: Sequence[float],
    elements: str = 'voxels',
) -> dict[int, SurfaceDistances | None]:
    """Distances between the surfaces of every structure, from which HD95 and ASSD follow.

    Args:
        fixed_labels: Integer label map, (D, H, W).
        warped_labels: Integer label map of the same shape.
        labels: Ids to measure; the background 0 is left out even if it is named.
        spacing: Voxel size along (D, H, W), in millimetres.
        elements: 'voxels' or 'surfels', see the module.

    Returns:
        Label id to distances, in the order of `labels`; None where a map does not hold the label.

    Raises:
        ValueError: The shapes differ or are not 3-D.
    """
    fixed_labels, warped_labels = np.asarray(fixed_labels), np.asarray(warped_labels)
    if fixed_labels.shape != warped_labels.shape:
        raise ValueError(f'label maps of shapes {fixed_labels.shape} and {warped_labels.shape} must have equal shapes')
    fixed_boxes, warped_boxes = _boxes(fixed_labels), _boxes(warped_labels)
    distances: dict[int, SurfaceDistances | None] = {}
    for label in labels:
        if label == BACKGROUND:
            continue
        if label not in fixed_boxes or label not in warped_boxes:
            distances[int(label)] = None
            continue
        box = with_margin(
            slice(min(one.start, other.start), max(one.stop, other.stop))
            for one, other in zip(fixed_boxes[label], warped_boxes[label], strict=True)
        )
        one, other = (array[box] == label for array in (fixed_labels, warped_labels))
        distances[int(label)] = surface_distances(one, other, spacing, elements)
    return distances


def with_margin(box: Iterable[slice]) -> tuple[slice, ...]:
    """Return a box that is one voxel larger on each side: cut out by it, only a volume of one slice is a single slice.

    Args:
        box: Part of a volume along each axis, with both ends.
    """
    return tuple(slice(max(side.start - 1, 0), side.stop + 1) for side in box)


def _neighbours(shape: tuple[int, ...]) -> np.ndarray:
    """A voxel and its face neighbours as a structuring element; of a single slice only those within it."""
    cross = ndimage.generate_binary_structure(3, 1)
    # A line or a point has no plane, and no outline in it.
    if shape.count(1) != 1:
        return cross
    return cross[tuple(slice(1, 2) if size == 1 else slice(None) for size in shape)]


def _surface(
    mask: np.ndarray, spacing: tuple[float, ...], elements: str, neighbours: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Elements of a surface as a mask, and the weight of each in the order of that mask."""
    if elements == 'voxels':
        surface = mask & ~ndimage.binary_erosion(mask, neighbours)
        return surface, np.ones(np.count_nonzero(surface))
    codes = corner_codes(mask)
    surface = (codes != 0) & (codes != ALL_INSIDE)
    return surface, surfel_areas(spacing)[codes[surface]]


def _weighted_percentile(values: np.ndarray, weights: np.ndarray, percentile: float) -> float:
    order = np.argsort(values, kind='stable')
    shares = np.cumsum(weights[order]) / weights.sum()
    position = int(np.searchsorted(shares, percentile / 100))
    return float(values[order][min(position, len(values) - 1)])


def _boxes(labels: np.ndarray) -> dict[int, tuple[slice, ...]]:
    """Bounding box of every label above the background; ids may be far apart, so they are renumbered first."""
    ids, numbered = np.unique(labels, return_inverse=True)
    boxes = ndimage.find_objects(numbered.reshape(labels.shape) + 1)
    return {int(label): box for label, box in zip(ids, boxes, strict=True) if label != BACKGROUND}
