"""A pair of images in memory with what its scores are made of."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

BEFORE, AFTER = 'before', 'after'


@dataclasses.dataclass(frozen=True, eq=False)
class Segmentation:
    """A segmentation of the fixed image that a network predicted beside the registration.

    Attributes:
        labels: Integer (D, H, W), the true label map, of the classes that the network knows.
        predicted: Integer (D, H, W), its prediction.
        classes: Ids to score.
        kind: Kind of the ids, which names the entry of the record: 'label' where they are those of the registration's
            structures, else 'training_class'.
    """

    labels: np.ndarray
    predicted: np.ndarray
    classes: Sequence[int]
    kind: str = 'label'


@dataclasses.dataclass(frozen=True, eq=False)
class PairData:
    """A pair in memory.

    Attributes:
        displacement: (D, H, W, 3), in voxels of the fixed grid, along (D, H, W), pull direction; None for a pair that
            is not registered, of which only the state before is scored.
        fixed_affine: (4, 4), from fixed voxels to RAS millimetres; default the identity.
        moving_affine: (4, 4), from moving voxels to RAS millimetres; default the identity.
        to_moving: (4, 4), from positions in fixed voxels to positions in moving voxels where nothing is displaced: the
            identity (default) where displacements relate array indices (Learn2Reg), else through the world.
        fixed_labels: Integer (D, H, W) on the fixed grid, or None.
        moving_labels: Integer (D', H', W') on the moving grid, or None.
        fixed_points: (n, 3) landmarks in fixed voxels, or None.
        moving_points: (n, 3) landmarks in moving voxels, or None.
        seconds: Seconds that the registration took, or None where that is not known.
        structures: Ids that the data set scores, where the protocol lists none; None: all that its label maps hold.
        warped_labels: Moving labels on the fixed grid, (D, H, W), 'before' and 'after' registration, of a pair that has
            been warped already; they are scored instead of `moving_labels`. None: warped as the protocol says.
        segmentation: Predicted segmentation, or None.
        measurements: Further entries of the pair's record, such as gate means.
    """

    displacement: np.ndarray | None = None
    fixed_affine: np.ndarray = dataclasses.field(default_factory=lambda: np.eye(4))
    moving_affine: np.ndarray = dataclasses.field(default_factory=lambda: np.eye(4))
    to_moving: np.ndarray = dataclasses.field(default_factory=lambda: np.eye(4))
    fixed_labels: np.ndarray | None = None
    moving_labels: np.ndarray | None = None
    fixed_points: np.ndarray | None = None
    moving_points: np.ndarray | None = None
    seconds: float | None = None
    structures: Sequence[int] | None = None
    warped_labels: Mapping[str, np.ndarray] | None = None
    segmentation: Segmentation | None = None
    measurements: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def states(self) -> tuple[str, ...]:
        """States that can be scored: 'before' registration and, where it is registered, 'after'."""
        return (BEFORE,) if self.displacement is None else (BEFORE, AFTER)

    @property
    def unwarped_labels(self) -> np.ndarray | None:
        """Label map of the moving image before registration, on its own grid where that is known."""
        return self.warped_labels[BEFORE] if self.moving_labels is None and self.warped_labels else self.moving_labels


def through_the_world(fixed_affine: np.ndarray, moving_affine: np.ndarray) -> np.ndarray:
    """Return the (4, 4) matrix from fixed voxels to moving voxels at the same place of the world."""
    return np.linalg.inv(moving_affine) @ fixed_affine
