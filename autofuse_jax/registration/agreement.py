"""Whether an alignment comes to the same place from either side: fixed to moving, and moving to fixed turned round."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from autofuse_jax.registration.alignment_loss import Frame
from autofuse_jax.registration.coverage import BACKGROUND_TOLERANCE
from autofuse_jax.registration.pyramid import Level
from autofuse_jax.transforms.grids import to_world

# (map to start from, kind of map, level=..., frame=...) -> the map that a descent at a level reaches.
Descend = Callable[..., np.ndarray]


class Agreement(NamedTuple):
    """How far the alignments of both directions are apart at the coarsest level.

    Attributes:
        mean_mm: Mean distance over what the fixed image shows, millimetres.
        share: The same as a share of the mean distance of what it shows from its centre.
    """

    mean_mm: float
    share: float


def agreement_of(
    level: Sequence[Level],
    frame: Frame,
    start: np.ndarray,
    reached: np.ndarray,
    descend: Descend,
    kinds: Sequence[str],
) -> Agreement | None:
    """Align in the other direction from the same start, and measure how far the inverse is from what was reached.

    With A the map that was reached from the fixed to the moving world and B the one from the moving to the fixed world,
    it is the mean of `|A(p) - B^-1(p)|`. Where the images decide the alignment, it is a fraction of a voxel of the
    level; where one direction has been led astray, the other one hardly ends at the same place.

    Args:
        level: The fixed and the moving image at the coarsest level.
        frame: Frame of the alignment.
        start: float64 (4, 4), map that the alignment started from, from the fixed to the moving world.
        reached: float64 (4, 4), map that it has reached at this level.
        descend: Descent from a map.
        kinds: Kinds of map that are sought, in their order.

    Returns:
        The agreement; None where the fixed image shows nothing.
    """
    fixed, moving = level
    back = np.linalg.inv(start)
    for kind in kinds:
        back = descend(back, kind, level=(moving, fixed), frame=Frame(moving.centre_of_mass_mm(), frame.radius))
    back = np.linalg.inv(back)
    shown = np.argwhere((np.abs(fixed.image) > BACKGROUND_TOLERANCE) & (fixed.inside > 0))
    if not shown.size:
        return None
    points = to_world(fixed.grid.affine, shown)
    apart = np.linalg.norm(to_world(reached, points) - to_world(back, points), axis=-1)
    radius = np.linalg.norm(points - points.mean(axis=0), axis=-1).mean()
    return Agreement(float(apart.mean()), float(apart.mean() / max(radius, np.finfo(float).tiny)))
