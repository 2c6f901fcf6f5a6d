"""Where an alignment starts: positions by the headers or the contents, and a search over rotations."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from autofuse_jax.choices import ROTATIONS, TRANSLATION
from autofuse_jax.registration.alignment_loss import Frame, similarities
from autofuse_jax.registration.pyramid import Level
from autofuse_jax.registration.rotations import SAME_DEGREES, axis_rotations, degrees_apart, start_rotations

# A start must beat the one by the headers by this share of its similarity, because scanners usually know best.
START_MARGIN = 0.02
# A rotation that is not refined yet is worth refining above this share of what the start without it has reached.
WORTH_REFINING = 0.9
# The most rotations that are refined.
MOST_REFINED = 3
# A mirror image that is not refined yet is worth refining above this share of what was reached without mirroring.
WORTH_MIRRORING = 0.6
# A refined rotation must beat the start without it by this share of its similarity.
ROTATION_MARGIN = 0.1


class Start(NamedTuple):
    """A map to start from.

    Attributes:
        name: Name in reports.
        matrix: float64 (4, 4), from the fixed to the moving world.
    """

    name: str
    matrix: np.ndarray


# (map to start from) -> the map that a descent reaches.
Refine = Callable[[np.ndarray], np.ndarray]


def first_start(level: Sequence[Level], frame: Frame, name: str, similarity: str) -> Start:
    """Return the start by the headers or the contents.

    Args:
        level: The fixed and the moving image at the coarsest level.
        frame: Its centre is the centre of mass of the fixed image.
        name: 'header', 'centres', 'masses', or any other: the most similar of the three.
        similarity: One of `choices.SIMILARITIES`.
    """
    fixed, moving = level
    shifts = {
        'header': np.zeros(3),
        'centres': moving.grid.centre_mm - fixed.grid.centre_mm,
        'masses': moving.centre_of_mass_mm() - frame.centre,
    }
    starts = [Start(label, _shifted(np.eye(3), frame.centre, shift)) for label, shift in shifts.items()]
    if name in shifts:
        return starts[list(shifts).index(name)]
    reached = similarities(level, [start.matrix for start in starts], frame, TRANSLATION, similarity)
    best = int(reached.argmax())
    return starts[best if reached[best] > reached[0] * (1 + START_MARGIN) else 0]


def search_rotations(
    level: Sequence[Level],
    frame: Frame,
    reached: np.ndarray,
    refine: Refine,
    similarity: str,
    *,
    always: bool = False,
    in_plane: bool = False,
) -> Start | None:
    """Look whether the images fit better after a large rotation.

    Each of `rotations.start_rotations` about the centres of mass is measured; the best that are far from one another
    and from what was reached are refined, if they are similar enough to be promising.

    Args:
        level: The fixed and the moving image at the coarsest level.
        frame: Its centre is the centre of mass of the fixed image.
        reached: Map that a descent without a rotation has reached.
        refine: Descent from a map.
        similarity: One of `choices.SIMILARITIES`.
        always: Whether the best are refined however similar they are.
        in_plane: Whether only rotations about the third axis are tried.

    Returns:
        The start that led to a clearly more similar place; None where there is none.
    """
    moving = level[1]
    shift = moving.centre_of_mass_mm() - frame.centre
    candidates = [_shifted(rotation, frame.centre, shift) for rotation in start_rotations(in_plane=in_plane)]
    of_reached, *values = similarities(level, [reached, *candidates], frame, TRANSLATION, similarity)
    rotations = [_rotation_of(reached)]
    refined: list[np.ndarray] = []
    for index in np.argsort(values)[::-1]:
        if len(refined) == MOST_REFINED or not (always or values[index] > WORTH_REFINING * of_reached):
            break
        rotation = candidates[index][:3, :3]
        if min(degrees_apart(rotation, other) for other in rotations) >= SAME_DEGREES:
            rotations.append(rotation)
            refined.append(refine(candidates[index]))
    if not refined:
        return None
    of_refined = similarities(level, refined, frame, TRANSLATION, similarity)
    best = int(of_refined.argmax())
    return Start(ROTATIONS, refined[best]) if of_refined[best] > of_reached * (1 + ROTATION_MARGIN) else None


def mirrored_similarity(
    level: Sequence[Level],
    frame: Frame,
    reached: np.ndarray,
    refine: Refine,
    similarity: str,
    *,
    in_plane: bool = False,
) -> float:
    """Return how similar the images become where one of them is mirrored, as a share of what was reached without.

    A header that mistakes left for right, or top for bottom, cannot be mended by a rotation. More than 1 says that the
    images fit better as mirror images: one of the headers is wrong, or one of the organs is the other side's.

    Args:
        level: The fixed and the moving image at one level.
        frame: Its centre is the centre of mass of the fixed image.
        reached: Map that was reached, from the fixed to the moving world.
        refine: Descent from a map.
        similarity: One of `choices.SIMILARITIES`.
        in_plane: Whether only mirror images within planes across the third axis are tried.

    Returns:
        The share, at least 0; 0 where nothing was similar at all.
    """
    shift = level[1].centre_of_mass_mm() - frame.centre
    mirrors = [np.diag(np.where(np.arange(3) == axis, -1.0, 1.0)) for axis in range(2 if in_plane else 3)]
    candidates = [reached @ _shifted(mirror, frame.centre, np.zeros(3)) for mirror in mirrors]
    turned = (rotation @ mirrors[0] for rotation in axis_rotations(in_plane=in_plane))
    candidates += [_shifted(matrix, frame.centre, shift) for matrix in turned]
    of_reached, *values = similarities(level, [reached, *candidates], frame, TRANSLATION, similarity)
    best = int(np.argmax(values))
    if of_reached <= 0 or values[best] < WORTH_MIRRORING * of_reached:
        return float(max(values[best], 0.0) / of_reached) if of_reached > 0 else 0.0
    refined = similarities(level, [refine(candidates[best])], frame, TRANSLATION, similarity)
    return float(max(refined[0], values[best]) / of_reached)


def _shifted(rotation: np.ndarray, centre: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """The map `p -> rotation (p - centre) + centre + shift`."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotation
    matrix[:3, 3] = centre + shift - rotation @ centre
    return matrix


def _rotation_of(matrix: np.ndarray) -> np.ndarray:
    """The rotation nearest to the linear part of a map."""
    left, _, right = np.linalg.svd(matrix[:3, :3])
    return left @ np.diag([1, 1, np.linalg.det(left @ right)]) @ right
