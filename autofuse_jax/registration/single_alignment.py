"""Alignment by one similarity: a start, levels from coarse to fine, and what says whether the end can be trusted."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from autofuse_jax.choices import AFFINE, AUTO, CORRELATION, MUTUAL_INFORMATION, NONE, RIGID, ROTATIONS, TRANSLATION
from autofuse_jax.data.volumes import Volume
from autofuse_jax.progress import OnProgress
from autofuse_jax.registration.agreement import Agreement, agreement_of
from autofuse_jax.registration.alignment_settings import AlignmentSettings, level_spacings
from autofuse_jax.registration.contrast import Contrast
from autofuse_jax.registration.descents import Descents
from autofuse_jax.registration.starts import Start, first_start, mirrored_similarity, search_rotations

# Level, from 0, at which mirror images are tried: fine enough to tell left from right.
MIRROR_LEVEL = 1
# Few parameters first, where the images may still be far apart.
KINDS = (TRANSLATION, RIGID, AFFINE)
# Starts, by their names in the settings, at which large rotations and mirror images are tried as well.
SEARCHED_STARTS = (AUTO, ROTATIONS)
# Name of a start that the caller gives.
INITIAL = 'initial transform'


@dataclasses.dataclass(frozen=True, eq=False)
class Alignment:
    """A linear map between two images.

    Attributes:
        matrix: float64 (4, 4), from the fixed to the moving world, RAS millimetres (pull).
        start: Start that was taken.
        stages: Records of the stages: name, seconds, steps, loss_first, loss_last, stopped.
        similarity: Similarity that suits the pair, for the deformation that follows: the one that was asked for, or the
            one that was chosen.
        contrast: What the choice rests on; None where there was none.
        mirrored: Similarity of the best mirror image as a share of the one that was reached, see
            `starts.mirrored_similarity`; None where it was not measured.
        agreement: Distance from the alignment in the other direction; None where it was not measured.
    """

    matrix: np.ndarray
    start: str
    stages: tuple[dict[str, Any], ...]
    similarity: str
    contrast: Contrast | None = None
    mirrored: float | None = None
    agreement: Agreement | None = None


def align_by_one(
    fixed: Volume,
    moving: Volume,
    settings: AlignmentSettings,
    initial: np.ndarray | None,
    in_plane: bool,
    on_progress: OnProgress | None,
    *,
    doubted: bool = True,
) -> Alignment:
    """Align by one similarity.

    Args:
        fixed: The fixed image.
        moving: The moving image.
        settings: Settings with any similarity but 'auto'; all but correlation are mutual information here.
        initial: (4, 4), map to start from; None: the start that the settings name.
        in_plane: Whether planes across the third axis of the world stay where they are.
        on_progress: Callback (stage, steps done, steps at most, loss).
        doubted: Whether the other way and mirror images are looked at, too, for a kind with rotations; default True.

    Returns:
        The alignment, without contrast.

    Raises:
        UserError: An image has no contrast, or the loss became infinite.
    """
    descents = Descents(
        (fixed, moving),
        level_spacings(settings, fixed, moving),
        settings.steps,
        CORRELATION if settings.similarity == CORRELATION else MUTUAL_INFORMATION,
        learning_rate=settings.learning_rate,
        tolerance=settings.tolerance,
        in_plane=in_plane,
        on_progress=on_progress,
    )
    if initial is None:
        start = first_start(descents.levels[0], descents.frame, settings.start, descents.measure)
    else:
        start = Start(INITIAL, initial)
    if settings.kind == NONE:
        return Alignment(start.matrix, start.name, (), settings.similarity)
    kinds = KINDS[: KINDS.index(settings.kind) + 1]
    searched = settings.start in SEARCHED_STARTS
    doubted = doubted and settings.kind in (RIGID, AFFINE)
    start, matrix = _descend_coarsest(
        descents, start, kinds, rotations=searched and initial is None, always=settings.start == ROTATIONS
    )
    agreement = _agreement(descents, start, matrix, kinds) if doubted else None
    matrix, mirrored = _descend_finer(descents, matrix, settings.kind, mirrors=doubted and searched)
    if settings.exact_steps:
        matrix = descents.exact_end(matrix, settings.kind, settings.exact_steps)
    stages = tuple(descents.stages)
    return Alignment(matrix, start.name, stages, settings.similarity, mirrored=mirrored, agreement=agreement)


def _descend_coarsest(
    descents: Descents, start: Start, kinds: Sequence[str], *, rotations: bool, always: bool
) -> tuple[Start, np.ndarray]:
    """Descend at the coarsest level by kinds of map in order.

    Args:
        descents: The levels.
        start: Where to start.
        kinds: Kinds of map.
        rotations: Whether large rotations are tried against the rigid map that is reached.
        always: Whether the best of them are refined however similar they are.

    Returns:
        The start, which is another one where a rotation fits better, and the map that is reached from it.
    """
    level, frame, matrix = descents.levels[0], descents.frame, start.matrix
    for kind in kinds:
        matrix = descents.at(0, matrix, kind)
        if rotations and kind == RIGID:
            refine = functools.partial(descents.at, 0, kind=RIGID, why='rotations: ')
            rotated = search_rotations(
                level, frame, matrix, refine, descents.measure, always=always, in_plane=descents.in_plane
            )
            if rotated is not None:
                start, matrix = rotated, rotated.matrix
    return start, matrix


def _agreement(descents: Descents, start: Start, reached: np.ndarray, kinds: Sequence[str]) -> Agreement | None:
    """Compare what was reached at the coarsest level with the alignment in the other direction."""
    other_way = functools.partial(descents.at, 0, why='other way: ')
    # A rigid map holds the translation: without a descent of its own, it costs a third less.
    return agreement_of(descents.levels[0], descents.frame, start.matrix, reached, other_way, kinds[1:])


def _descend_finer(
    descents: Descents, matrix: np.ndarray, kind: str, *, mirrors: bool
) -> tuple[np.ndarray, float | None]:
    """Descend at all levels but the coarsest.

    Args:
        descents: The levels.
        matrix: Map to start from.
        kind: Kind of map.
        mirrors: Whether mirror images are tried.

    Returns:
        The map that is reached, and `mirrored_similarity`, None where no mirror image was tried.
    """
    mirrored = None
    for number, level in enumerate(descents.levels[1:], 1):
        matrix = descents.at(number, matrix, kind)
        if mirrors and number == MIRROR_LEVEL:
            refine = functools.partial(descents.at, number, kind=kind, why='mirror image: ')
            mirrored = mirrored_similarity(
                level, descents.frame, matrix, refine, descents.measure, in_plane=descents.in_plane
            )
    return matrix, mirrored
