"""Linear alignment of two images in world space, by the similarity that suits them."""

import dataclasses
import math

import numpy as np

from autofuse_jax.choices import AUTO, CORRELATION, DESCRIPTORS, MATCHED, MUTUAL_INFORMATION, NONE
from autofuse_jax.data.volumes import Volume
from autofuse_jax.progress import OnProgress
from autofuse_jax.registration.alignment_settings import AlignmentSettings, level_spacings
from autofuse_jax.registration.contrast import MATCHING_DEPENDENCE, Contrast, contrast_of, matched_volumes
from autofuse_jax.registration.single_alignment import Alignment, align_by_one

__all__ = ['Alignment', 'AlignmentSettings', 'align']

# Before the names of the stages that go on from mutual information with matched contrasts.
IN_ONE_CONTRAST = 'in one contrast: '


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
    align_pair = _align_by_what_suits if settings.similarity == AUTO else align_by_one
    found = align_pair(fixed, moving, settings, initial, in_plane, on_progress)
    if found.similarity == MATCHED and settings.kind != NONE:
        return _go_on_in_one_contrast(fixed, moving, settings, found, in_plane, on_progress)
    return found


def _align_by_what_suits(
    fixed: Volume,
    moving: Volume,
    settings: AlignmentSettings,
    initial: np.ndarray | None,
    in_plane: bool,
    on_progress: OnProgress | None,
) -> Alignment:
    """Align by correlation, and by mutual information where that leads to images of different contrasts."""

    def aligned_by(similarity: str) -> tuple[Alignment, Contrast]:
        by_one = dataclasses.replace(settings, similarity=similarity)
        found = align_by_one(fixed, moving, by_one, initial, in_plane, on_progress)
        return found, contrast_of(fixed, moving, found.matrix)

    first, contrast = aligned_by(CORRELATION)
    if contrast.same:
        return dataclasses.replace(first, contrast=contrast)
    second, contrast_there = aligned_by(MUTUAL_INFORMATION)
    # What was tried, whichever is chosen.
    stages = (*first.stages, *second.stages)
    better = _lie_better(contrast_there, contrast)
    found, contrast = (second, contrast_there) if better else (first, contrast)
    return dataclasses.replace(found, stages=stages, similarity=_similarity_for(contrast), contrast=contrast)


def _lie_better(there: Contrast, here: Contrast) -> bool:
    """Whether images lie at least as well on each other there as here: what one says of the other is more then.

    Where they share too few voxels to tell, they do not.
    """
    return math.isfinite(there.dependence) and not there.dependence < here.dependence


def _similarity_for(contrast: Contrast) -> str:
    """The similarity that suits aligned images."""
    if contrast.same:
        return CORRELATION
    return MATCHED if contrast.dependence >= MATCHING_DEPENDENCE else DESCRIPTORS


def _go_on_in_one_contrast(
    fixed: Volume,
    moving: Volume,
    settings: AlignmentSettings,
    found: Alignment,
    in_plane: bool,
    on_progress: OnProgress | None,
) -> Alignment:
    """Go on from an alignment by mutual information, which ends a voxel beside it, by correlation in one contrast."""
    # The images lie nearly on each other: the coarsest level, where there are others, has nothing left to find.
    first = 1 if len(settings.steps) > 1 else 0
    by_correlation = dataclasses.replace(
        settings,
        similarity=CORRELATION,
        spacings=level_spacings(settings, fixed, moving)[first:],
        steps=settings.steps[first:],
    )
    # The moving image is brought to the fixed one before, so that this alignment starts from the identity.
    pair = matched_volumes(fixed, moving, found.matrix)
    then = align_by_one(*pair, by_correlation, np.eye(4), in_plane, on_progress, doubted=False)
    stages = tuple(stage | {'name': f'{IN_ONE_CONTRAST}{stage["name"]}'} for stage in then.stages)
    return dataclasses.replace(found, matrix=found.matrix @ then.matrix, stages=(*found.stages, *stages))
