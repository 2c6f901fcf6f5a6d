"""Strain of walls around a cavity, such as the myocardium: how much longer they become across and around."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

RADIAL, CIRCUMFERENTIAL = 'radial_strain_percent', 'circumferential_strain_percent'
# A structure surrounds its own middle in a slice when it lies in each of so many sectors around it.
SECTORS = 8


class Wall(NamedTuple):
    """Voxels of a wall, and the directions across and around it.

    Attributes:
        voxels: (N, 3) indices.
        radial: (N, 3) unit vectors along the axes of the array, away from the middle of the slice.
        circumferential: (N, 3) unit vectors, in the plane of the slice at right angles to those.
    """

    voxels: np.ndarray
    radial: np.ndarray
    circumferential: np.ndarray


def strain_curves(
    reference_labels: np.ndarray,
    displacements: Iterable[np.ndarray],
    names: Mapping[int, str],
    spacing: Sequence[float],
) -> dict[str, dict[str, list[float]]]:
    """Measure the strain of every wall over the frames of a cine whose frames (moving) were registered to one (fixed).

    With `F = I + grad u` in millimetres and e a direction in the reference frame, the strain is `|F e| - 1`: the change
    of a length over that length, 0 in the reference frame; its mean over the voxels of the wall.

    Args:
        reference_labels: Integer labels of the reference frame, (D, H, W).
        displacements: (D, H, W, 3) of each frame, in voxels: the reference shows at x what the frame shows at x + u(x).
        names: Label id to name, background left out.
        spacing: Voxel size along (D, H, W), millimetres. The slices are those at right angles to the largest, which
            are short-axis slices in a short-axis cine; the last axis where all are the same. A single slice is one
            whatever its thickness.

    Returns:
        'radial_strain_percent' and 'circumferential_strain_percent': name of each structure that surrounds its own
        middle to one value a frame; empty where there is no such structure.

    Reference:
        Smiseth et al., Myocardial strain imaging: how useful is it in clinical decision making?, European Heart Journal
        37, 2016, for the meaning of Lagrangian strain.
    """
    axis = _slice_axis(reference_labels.shape, spacing)
    sought = {name: find_wall(reference_labels == label, spacing, axis) for label, name in names.items()}
    walls = {name: wall for name, wall in sought.items() if wall is not None}
    curves: dict[str, dict[str, list[float]]] = {
        kind: {name: [] for name in walls} for kind in (RADIAL, CIRCUMFERENTIAL)
    }
    if not walls:
        return {}
    for displacement in displacements:
        gradient = deformation_gradient(displacement, spacing)
        for name, wall in walls.items():
            inside = gradient[tuple(wall.voxels.T)]
            for kind, directions in ((RADIAL, wall.radial), (CIRCUMFERENTIAL, wall.circumferential)):
                stretched = np.einsum('nij,nj->ni', inside, directions)
                curves[kind][name].append(100 * float(np.mean(np.linalg.norm(stretched, axis=-1) - 1)))
    return curves


def deformation_gradient(displacement: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """Return `F_ij = delta_ij + d u_i / d x_j`, both in millimetres along the axes of the array.

    Args:
        displacement: (D, H, W, 3), in voxels.
        spacing: Voxel size along (D, H, W).

    Returns:
        float64 (D, H, W, 3, 3), by central differences, one-sided at the border, 0 along an axis of a single voxel.
    """
    lengths = np.asarray(displacement, np.float64) * np.asarray(spacing)
    columns = [
        np.gradient(lengths, float(step), axis=axis) if lengths.shape[axis] > 1 else np.zeros_like(lengths)
        for axis, step in enumerate(spacing)
    ]
    return np.stack(columns, axis=-1) + np.eye(3)


def find_wall(inside: np.ndarray, spacing: Sequence[float], axis: int) -> Wall | None:
    """Return the slices of a structure in which it surrounds its own middle.

    Args:
        inside: bool (D, H, W).
        spacing: Voxel size along (D, H, W).
        axis: The axis at right angles to the slices.

    Returns:
        The wall; None where there is no such slice.
    """
    plane = [other for other in range(3) if other != axis]
    voxels, radial = [], []
    for number in np.flatnonzero(inside.any(axis=tuple(plane))):
        places = np.argwhere(np.take(inside, number, axis)) * np.take(spacing, plane)
        away = places - places.mean(axis=0)
        distance = np.linalg.norm(away, axis=1)
        sectors = np.floor((np.arctan2(away[:, 1], away[:, 0]) / math.tau + 0.5) * SECTORS) % SECTORS
        pixel = float(np.take(spacing, plane).max())
        if np.unique(sectors).size < SECTORS or distance.min() < pixel:
            continue
        indices = np.empty((len(places), 3), int)
        indices[:, plane] = np.argwhere(np.take(inside, number, axis))
        indices[:, axis] = number
        directions = np.zeros((len(places), 3))
        directions[:, plane] = away / distance[:, None]
        voxels.append(indices)
        radial.append(directions)
    if not voxels:
        return None
    outwards = np.concatenate(radial)
    normal = np.eye(3)[axis]
    return Wall(np.concatenate(voxels), outwards, np.cross(normal, outwards))


def _slice_axis(shape: Sequence[int], spacing: Sequence[float]) -> int:
    """The axis of a single slice, or else of the thickest voxels, the last one among equals."""
    return max(range(3), key=lambda axis: (shape[axis] == 1, round(spacing[axis], 3), axis))
