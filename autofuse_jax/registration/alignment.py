"""Linear alignment of two images in world space: centres of mass, then rigid, then affine, from coarse to fine."""

import dataclasses
import functools
from typing import Any

import numpy as np

from autofuse_jax.choices import (
    AFFINE,
    AUTO,
    CORRELATION,
    DESCRIPTORS,
    LINEAR_MAPS,
    MATCHED,
    MUTUAL_INFORMATION,
    NONE,
    RIGID,
    ROTATIONS,
    SIMILARITIES,
    STARTS,
    TRANSLATION,
)
from autofuse_jax.data.volumes import Volume
from autofuse_jax.errors import COUNT, POSITIVE, SHARE, WHOLE, UserError, check_numbers, check_option
from autofuse_jax.progress import OnProgress
from autofuse_jax.registration.agreement import Agreement, agreement_of
from autofuse_jax.registration.contrast import MATCHING_DEPENDENCE, Contrast, contrast_of, matched_volumes
from autofuse_jax.registration.descents import Descents
from autofuse_jax.registration.pyramid import in_proportion
from autofuse_jax.registration.starts import first_start, mirrored_similarity, search_rotations

# Voxel sizes of the levels for images of the size of a body.
SPACINGS_MM = (8.0, 4.0, 2.0)
# Level, from 0, at which mirror images are tried: fine enough to tell left from right.
MIRROR_LEVEL = 1
# Few parameters first, where the images may still be far apart.
KINDS = (TRANSLATION, RIGID, AFFINE)
# Before the names of the stages that go on from mutual information with matched contrasts.
IN_ONE_CONTRAST = 'in one contrast: '
# Name of a start that the caller gives.
INITIAL = 'initial transform'


@dataclasses.dataclass(frozen=True)
class AlignmentSettings:
    """How to align.

    Attributes:
        kind: 'none', 'translation', 'rigid' or 'affine' (default).
        similarity: 'ncc', local correlation in a window of 9 voxels; 'mi', mutual information, for images of different
            contrasts; 'mind', the same here, since descriptors turn with the image; 'matched', the same, and then the
            correlation of both images in one contrast, which can be told only once they are aligned; or 'auto'
            (default): correlation, and 'matched' where that leads to images of different contrasts.
        start: 'header' (world positions as the files say), 'centres' (of the grids), 'masses' (centres of the
            intensities), 'rotations' (large rotations about the centres of the intensities are tried as well), or
            'auto' (default): the most similar of the three, and rotations where they are promising.
        spacings: Voxel sizes of the levels from coarse to fine, millimetres; None (default): 8, 4 and 2 for images
            that reach 120 mm or more, and in proportion for smaller ones.
        steps: Largest number of steps of each level, 1 or more; default 120, 40 and 5: the finer the level, the more a
            step costs and the nearer the exact end already is.
        exact_steps: Largest number of evaluations of the loss by L-BFGS at the end, 0: none; default 12.
        learning_rate: Millimetres a step at the first step of a level, as a share of its voxel size.
        tolerance: Tolerance of `Schedule`.

    Raises:
        UserError: An option is unknown or out of its range, or spacings and steps differ in length.
    """

    kind: str = AFFINE
    similarity: str = AUTO
    start: str = 'auto'
    spacings: tuple[float, ...] | None = None
    steps: tuple[int, ...] = (120, 40, 5)
    exact_steps: int = 12
    learning_rate: float = 0.15
    tolerance: float = 0.002

    def __post_init__(self):
        check_option('the kind of the alignment', self.kind, LINEAR_MAPS)
        check_option('the similarity of the alignment', self.similarity, (AUTO, *SIMILARITIES))
        check_option('the start of the alignment', self.start, STARTS)
        spacings = SPACINGS_MM if self.spacings is None else self.spacings
        check_numbers('the spacings of the alignment', spacings, POSITIVE)
        check_numbers('the steps of the alignment', self.steps, COUNT)
        if len(spacings) != len(self.steps):
            raise UserError(
                f'the alignment has {len(spacings)} spacings and {len(self.steps)} numbers of steps',
                expected='one number of steps for each spacing',
                fix='add or remove steps',
            )
        check_option('the number of exact steps of the alignment', self.exact_steps, WHOLE)
        check_option('the learning rate of the alignment', self.learning_rate, POSITIVE)
        check_option('the tolerance of the alignment', self.tolerance, SHARE)


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


def align(
    fixed: Volume,
    moving: Volume,
    settings: AlignmentSettings | None = None,
    *,
    initial: np.ndarray | None = None,
    in_plane: bool = False,
    on_progress: OnProgress | None = None,
) -> Alignment:
    """Find the linear map that makes a moving image most similar to a fixed one.

    Each level minimises the negative similarity over the parameters of `linear_map` by Adam, a translation first at the
    coarsest level, then rigid, then what was asked for; at the end a few steps of L-BFGS reach the minimum, so that an
    image finds its own copy. What lies beyond the moving image counts as background where its border shows background
    only, and otherwise, like what a mask leaves out, not at all.

    Args:
        fixed: The fixed image, any grid, with a mask or without.
        moving: The moving image, likewise.
        settings: Settings; default `AlignmentSettings()`.
        initial: (4, 4), map from the fixed to the moving world to start from; None: the start that the settings name.
        in_plane: Whether planes across the third axis of the world stay where they are, for slabs of equal slices, see
            `planes`; default False.
        on_progress: Callback (stage, steps done, steps at most, loss).

    Returns:
        The alignment; the identity in world space for kind 'none' with start 'header'.

    Raises:
        UserError: An image has no contrast, or the loss became infinite.

    Reference:
        Jenkinson and Smith, A global optimisation method for robust affine registration of brain images, Medical Image
        Analysis 5(2), 2001, for the order of coarse to fine and few to many parameters.
    """
    settings = settings or AlignmentSettings()
    if settings.similarity != AUTO:
        only = _align(fixed, moving, settings, initial, in_plane, on_progress)
        return _matched(fixed, moving, settings, only, in_plane, on_progress) if only.similarity == MATCHED else only
    first = _align(fixed, moving, dataclasses.replace(settings, similarity=CORRELATION), initial, in_plane, on_progress)
    contrast = contrast_of(fixed, moving, first.matrix)
    if contrast.same:
        return dataclasses.replace(first, contrast=contrast)
    second = _align(
        fixed, moving, dataclasses.replace(settings, similarity=MUTUAL_INFORMATION), initial, in_plane, on_progress
    )
    contrast_there = contrast_of(fixed, moving, second.matrix)
    # What was tried, whichever is chosen.
    stages = (*first.stages, *second.stages)
    # What the grey values of one image say of the other is more where the images lie better.
    if contrast_there.dependence < contrast.dependence:
        second, contrast_there = first, contrast
    matched = contrast_there.dependence >= MATCHING_DEPENDENCE
    chosen = CORRELATION if contrast_there.same else MATCHED if matched else DESCRIPTORS
    found = dataclasses.replace(second, stages=stages, similarity=chosen, contrast=contrast_there)
    return _matched(fixed, moving, settings, found, in_plane, on_progress) if chosen == MATCHED else found


def _matched(
    fixed: Volume,
    moving: Volume,
    settings: AlignmentSettings,
    found: Alignment,
    in_plane: bool,
    on_progress: OnProgress | None,
) -> Alignment:
    """Go on from an alignment by mutual information, which ends a voxel beside it, by correlation in one contrast."""
    if settings.kind == NONE:
        return found
    pair = matched_volumes(fixed, moving, found.matrix)
    then = _align(*pair, _finer(settings, fixed, moving), np.eye(4), in_plane, on_progress, doubted=False)
    stages = tuple(stage | {'name': f'{IN_ONE_CONTRAST}{stage["name"]}'} for stage in then.stages)
    return dataclasses.replace(found, matrix=found.matrix @ then.matrix, stages=(*found.stages, *stages))


def _finer(settings: AlignmentSettings, fixed: Volume, moving: Volume) -> AlignmentSettings:
    """Correlation at all levels but the coarsest, where there are several."""
    first = 1 if len(settings.steps) > 1 else 0
    return dataclasses.replace(
        settings,
        similarity=CORRELATION,
        spacings=_spacings_of(settings, fixed, moving)[first:],
        steps=settings.steps[first:],
    )


def _spacings_of(settings: AlignmentSettings, fixed: Volume, moving: Volume) -> tuple[float, ...]:
    """Voxel sizes of the levels for a pair, millimetres."""
    if settings.spacings is not None:
        return settings.spacings
    return tuple(in_proportion(spacing, fixed.grid, moving.grid) for spacing in SPACINGS_MM)


def _align(
    fixed: Volume,
    moving: Volume,
    settings: AlignmentSettings,
    initial: np.ndarray | None,
    in_plane: bool,
    on_progress: OnProgress | None,
    *,
    doubted: bool = True,
) -> Alignment:
    """Align by one similarity; doubted: the other way and mirror images are looked at, too."""
    measure = CORRELATION if settings.similarity == CORRELATION else MUTUAL_INFORMATION
    descents = Descents(
        (fixed, moving),
        _spacings_of(settings, fixed, moving),
        settings.steps,
        measure,
        learning_rate=settings.learning_rate,
        tolerance=settings.tolerance,
        in_plane=in_plane,
        on_progress=on_progress,
    )
    coarsest, frame = descents.levels[0], descents.frame
    start, matrix = INITIAL, initial
    if initial is None:
        start, matrix = first_start(coarsest, frame, settings.start, measure)
    if settings.kind == NONE:
        return Alignment(matrix, start, (), settings.similarity)
    searched = settings.start in (AUTO, ROTATIONS)
    doubted = doubted and settings.kind in (RIGID, AFFINE)
    begin, kinds = matrix, KINDS[: KINDS.index(settings.kind) + 1]
    for kind in kinds:
        matrix = descents.at(0, matrix, kind)
        if initial is None and kind == RIGID and searched:
            refine = functools.partial(descents.at, 0, kind=RIGID, why='rotations: ')
            always = settings.start == ROTATIONS
            rotated = search_rotations(coarsest, frame, matrix, refine, measure, always=always, in_plane=in_plane)
            if rotated is not None:
                start, begin = rotated
                matrix = begin
    mirrored = agreement = None
    if doubted:
        other_way = functools.partial(descents.at, 0, why='other way: ')
        # A rigid map holds the translation: without a descent of its own, it costs a third less.
        agreement = agreement_of(coarsest, frame, begin, matrix, other_way, kinds[1:])
    for number, level in enumerate(descents.levels[1:], 1):
        matrix = descents.at(number, matrix, settings.kind)
        if doubted and searched and number == MIRROR_LEVEL:
            refine = functools.partial(descents.at, number, kind=settings.kind, why='mirror image: ')
            mirrored = mirrored_similarity(level, frame, matrix, refine, measure, in_plane=in_plane)
    if settings.exact_steps:
        matrix = descents.exact_end(matrix, settings.kind, settings.exact_steps)
    return Alignment(matrix, start, tuple(descents.stages), settings.similarity, mirrored=mirrored, agreement=agreement)
