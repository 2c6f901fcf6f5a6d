"""Transforms of others that a registration starts from: read, and checked against the pair."""

import dataclasses
import os
from collections.abc import Sequence

import numpy as np

from autofuse_jax.data.background import choose_background
from autofuse_jax.data.volumes import Volume
from autofuse_jax.errors import UserError
from autofuse_jax.transforms.affine_fit import fit_affine
from autofuse_jax.transforms.grid_words import describe_grid
from autofuse_jax.transforms.grids import ImageGrid
from autofuse_jax.transforms.inversion import inverse_affine
from autofuse_jax.transforms.lattices import lattice_points
from autofuse_jax.transforms.maps import AffineTransform, Transform
from autofuse_jax.transforms.resampling import covered, moving_positions, sample_known
from autofuse_jax.transforms_io.composition import (
    backward_of,
    elsewhere_in_itk,
    forward_of,
    gaps,
    linear_of,
    load_steps,
    turned,
)
from autofuse_jax.transforms_io.sidecar import ImageRecord

# A smaller share of the smaller field of view in common is no overlap of two images of the same thing.
SMALLEST_OVERLAP = 0.1
# The other direction is proposed where it fits at least so well.
GOOD_OVERLAP = 0.5


@dataclasses.dataclass(frozen=True, eq=False)
class Initial:
    """What a registration starts from.

    Attributes:
        forward: Transform from the fixed to the moving world.
        backward: Its inverse, from the moving to the fixed world.
        names: Files, as the user names them, in the order in which an image passes through them.
        sentences: Words about them for the report.
    """

    forward: Transform
    backward: Transform
    names: tuple[str, ...] = ()
    sentences: tuple[str, ...] = ()

    @property
    def matrix(self) -> np.ndarray | None:
        """The (4, 4) matrix where everything is affine, None for a deformation."""
        return self.forward.matrix if isinstance(self.forward, AffineTransform) else None


# Files of transforms, or one of them, or what they hold.
InitialLike = Initial | str | os.PathLike | Sequence[str | os.PathLike]


def open_initial(initial: InitialLike | None, fixed: Volume, moving: Volume, convention: str | None) -> Initial | None:
    """Return what a registration starts from.

    Args:
        initial: Files in the order in which an image passes through them, 'inverse:' before those to turn round; one
            file; transforms; or None.
        fixed: The fixed image; what counts in the voxels of FSL takes it for the one of the last file.
        moving: The moving image, likewise of the first file.
        convention: Convention of files that do not show it, or None.

    Returns:
        The transforms, checked against the pair; None for None and for no files.

    Raises:
        UserError: A file cannot be read, is singular or has no inverse, or does not belong to the pair.
    """
    if initial is None or isinstance(initial, Initial):
        return initial
    texts = [os.fspath(text) for text in ([initial] if isinstance(initial, str | os.PathLike) else initial)]
    if not texts:
        return None
    records = ImageRecord.of(fixed), ImageRecord.of(moving)
    steps = load_steps(texts, convention, ends=lambda: records)
    first, last = steps[0].moving, steps[-1].fixed
    _check_direction(texts, (last, first), records)
    sentences = [f'initial transform: {step.source}' for step in steps] + gaps(steps)
    for role, end, record in (('ends on', last, records[0]), ('starts from', first, records[1])):
        if end is not None and not end.grid.same_as(record.grid):
            sentences.append(
                f'the initial transform {role} the grid of {end.file} ({describe_grid(end.grid)}), not on that of '
                f'{record.file} ({describe_grid(record.grid)}); right only if both show the same space'
            )
    for step, volume in ((steps[-1], fixed), (steps[0], moving)):
        if sentence := elsewhere_in_itk(step, volume.notes.itk_obstacle):
            sentences.append(sentence)
    linear = linear_of(steps)
    forward: Transform = linear or forward_of(steps)
    backward: Transform = inverse_affine(linear) if linear else backward_of(steps)
    return Initial(forward, backward, tuple(texts), tuple(sentences))


def check_initial(initial: Initial, fixed: Volume, moving: Volume) -> None:
    """Check that a transform brings the two fields of view over each other, and that it can be inverted.

    Args:
        initial: The transform.
        fixed: The fixed image.
        moving: The moving image.

    Raises:
        UserError: It leaves less than a tenth of the smaller field of view in common, or has no inverse.
    """
    overlap = _overlap(initial.forward, fixed.grid, moving.grid)
    if overlap < SMALLEST_OVERLAP:
        name = ' '.join(initial.names) or 'the initial transform'
        fix = 'name the transform that was made for these two images'
        if _overlap(initial.backward, fixed.grid, moving.grid) > max(GOOD_OVERLAP, overlap):
            fix = f'the other direction fits: {turned(initial.names)}'
        raise UserError(
            f'{name} brings {moving.name} away from {fixed.name}: '
            f'{100 * overlap:.0f} % of the smaller field of view is in common',
            expected='a transform that pulls the moving onto the fixed image (points go from fixed to moving)',
            fix=fix,
        )
    # A deformation without an inverse is refused now and not after the work.
    initial.backward.map_points(lattice_points(moving.grid))


def moving_through(initial: Initial, fixed: Volume, moving: Volume) -> Volume:
    """Return the moving image on the fixed grid through a transform, with a mask of what is known there.

    Args:
        initial: The transform.
        fixed: The fixed image.
        moving: The moving image, with a mask or without.

    Returns:
        Image and mask; labels are left out.
    """
    positions = moving_positions(initial.forward, fixed.grid, moving.affine)
    mask = covered(moving.grid.shape, positions).astype(np.float32)
    if moving.mask is not None:
        mask *= sample_known(moving.mask, positions, 0.0)
    image = sample_known(moving.image, positions, choose_background(moving.image).value)
    return Volume(image, None, fixed.affine, moving.name, mask if mask.min() < 1 else None)


def _check_direction(
    texts: Sequence[str],
    ends: tuple[ImageRecord | None, ImageRecord | None],
    pair: tuple[ImageRecord, ImageRecord],
) -> None:
    """Refuse transforms whose files say that they go the other way."""
    if None in ends or ends[0].grid.same_as(pair[0].grid) or ends[1].grid.same_as(pair[1].grid):
        return
    if ends[0].grid.same_as(pair[1].grid) and ends[1].grid.same_as(pair[0].grid):
        raise UserError(
            f'{" ".join(texts)} pulls {ends[1].file} onto {ends[0].file}, the fixed onto the moving image',
            expected='a transform that pulls the moving onto the fixed image',
            fix=f'turn it round: {turned(texts)}',
        )


def _overlap(transform: Transform, fixed: ImageGrid, moving: ImageGrid) -> float:
    """Return the share of the smaller field of view that a transform brings onto the other, 0 to 1."""
    points = lattice_points(fixed)
    mapped = transform.map_points(points)
    # The size that the moving field of view has in the fixed world, by the nearest affine map.
    scale = abs(float(np.linalg.det(fit_affine(points, mapped - points)[:3, :3])))
    volumes = [grid.voxel_mm3 * np.prod(grid.shape, dtype=float) for grid in (fixed, moving)]
    common = moving.contains(mapped).mean() * volumes[0]
    return float(common / min(volumes[0], volumes[1] / max(scale, 1e-9)))
