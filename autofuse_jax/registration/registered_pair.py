"""What a registration of two images gives."""

import dataclasses
from typing import Any

import numpy as np

from autofuse_jax.data.background import ZERO, Background
from autofuse_jax.data.volumes import Volume
from autofuse_jax.registration.alignment import Alignment
from autofuse_jax.registration.guide import Guide
from autofuse_jax.registration.initial import Initial
from autofuse_jax.transforms.maps import AffineTransform, Chain, DenseTransform


@dataclasses.dataclass(frozen=True, eq=False)
class RegistrationResult:
    """A registered pair.

    Attributes:
        fixed: The fixed volume, as given.
        moving: The moving volume, as given.
        transform: Alignment and deformation in one, from the fixed to the moving world on the fixed grid.
        inverse: Transform from the moving to the fixed world on the moving grid.
        alignment: The linear part alone; with an initial deformation, what follows that one.
        moved: float32 (D, H, W), the moving image on the fixed grid, interpolated once.
        moved_labels: Moving labels on the fixed grid, nearest; None without labels.
        stages: One record a step: name, seconds, steps, loss_first, loss_last, stopped.
        seconds: Wall time of the whole, with compilation where there was any.
        guide: Guide of the deformation besides the images; None: none.
        initial: Transforms that it started from; None: none.
        background: Value of `moved` where the moving image does not reach.
        alignment_record: How the linear part was found: start, similarity, contrast, mirror images; None: it was given.
        spread: float32 (D, H, W) on the fixed grid, spread of the deformation in millimetres; None: not measured.
        chain: Parts of `transform` in the order in which an image passes through them: what it started from, the linear
            part, and the deformation on its own grid.
        inverse_chain: Parts of `inverse`, likewise.
    """

    fixed: Volume
    moving: Volume
    transform: DenseTransform
    inverse: DenseTransform
    alignment: AffineTransform
    moved: np.ndarray
    moved_labels: np.ndarray | None
    stages: tuple[dict[str, Any], ...]
    seconds: float
    guide: Guide | None = None
    initial: Initial | None = None
    background: Background = ZERO
    alignment_record: Alignment | None = None
    spread: np.ndarray | None = None
    chain: Chain = Chain(())
    inverse_chain: Chain = Chain(())

    @property
    def similarity(self) -> str | None:
        """Name of the similarity that the deformation maximised, or that the alignment chose for it; None: unknown."""
        return None if self.alignment_record is None else self.alignment_record.similarity
