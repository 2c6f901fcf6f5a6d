"""One step of a composition: a transform file with its way forward and its way back."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from autofuse_jax.errors import UserError
from autofuse_jax.transforms.grid_words import describe_difference
from autofuse_jax.transforms.grids import ImageGrid
from autofuse_jax.transforms.inversion import NumericalInverse, inverse_affine
from autofuse_jax.transforms.maps import AffineTransform, Chain, DenseTransform, Transform
from autofuse_jax.transforms_io.files import read_transform
from autofuse_jax.transforms_io.sidecar import ImageRecord

INVERSE_PREFIX = 'inverse:'
# How far beyond the outermost voxel centres an image and a field are known, in voxels: the faces of the voxels, and a
# thousandth for the rounding of headers.
REACH = 0.501


@dataclasses.dataclass(frozen=True, eq=False)
class Step:
    """A transform as it is used.

    Attributes:
        name: Name that the user gave it.
        forward: Transform from the world of `fixed` to that of `moving`; images are sampled through it.
        backward: Transform from the world of `moving` to that of `fixed`: the exact inverse of `forward`, solved
            point by point where `forward` is dense.
        fixed: The image onto whose grid this step brings an image, None where it is not known.
        moving: The image that it brings there, None where it is not known.
        grid: The grid on which the dense transform is known, None for an affine one; it lies in the world of `fixed`,
            or in that of `moving` where the step is an inverse that is solved for.
        grid_is_fixed: Whether `grid` lies in the world of `fixed`.
        source: Origin of `forward`, in words.
    """

    name: str
    forward: Transform
    backward: Transform
    fixed: ImageRecord | None
    moving: ImageRecord | None
    grid: ImageGrid | None
    grid_is_fixed: bool
    source: str

    def inverted(self) -> 'Step':
        """Return the step in the other direction."""
        return dataclasses.replace(
            self,
            forward=self.backward,
            backward=self.forward,
            fixed=self.moving,
            moving=self.fixed,
            grid_is_fixed=not self.grid_is_fixed,
        )


def load_step(
    text: str,
    convention: str | None = None,
    *,
    inverse: bool = False,
    fixed: ImageRecord | None = None,
    moving: ImageRecord | None = None,
) -> Step:
    """Read a transform as the user names it.

    Args:
        text: A path, or 'inverse:' and a path.
        convention: Convention that the user says the file is in; None recognises it.
        inverse: Whether it is to be inverted; 'inverse:' inverts once more.
        fixed: The fixed image of the file (not of its inverse), where the user names it.
        moving: The moving image of the file, where the user names it.

    Returns:
        The step. An inverse is the file that the sidecar names where it is there, exact for affine transforms, and
        solved for each point otherwise.

    Raises:
        UserError: A file cannot be read, or the inverse that the sidecar names does not belong to it.
    """
    inverse ^= text.startswith(INVERSE_PREFIX)
    path = Path(text.removeprefix(INVERSE_PREFIX))
    transform, info = read_transform(path, convention, fixed=fixed, moving=moving)
    if isinstance(transform, AffineTransform):
        step = Step(
            text, transform, inverse_affine(transform), info.fixed, info.moving, None, True, f'affine, {path.name}'
        )
        return step.inverted() if inverse else step
    partner, partner_path = None, None
    if info.inverse is not None and (path.parent / info.inverse).is_file():
        partner_path = path.parent / info.inverse
        partner, partner_info = read_transform(partner_path)
        _check_partner(path, info.moving, partner_path, partner_info.fixed)
    if inverse and partner is not None:
        # The field that was saved as the inverse is used as it is: it needs no solving and has no gaps at folds.
        grid = partner.grid if isinstance(partner, DenseTransform) else None
        back = NumericalInverse(partner, start=transform)
        return Step(text, partner, back, info.moving, info.fixed, grid, True, f'inverse saved as {partner_path.name}')
    back = NumericalInverse(transform, start=partner)
    step = Step(text, transform, back, info.fixed, info.moving, transform.grid, True, path.name)
    if not inverse:
        return step
    return dataclasses.replace(step.inverted(), source=f'inverse of {path.name}, solved for each point')


def forward_of(steps: Sequence[Step]) -> Chain:
    """Return the map from the last step's fixed world to the first one's moving world."""
    return Chain(tuple(step.forward for step in steps))


def backward_of(steps: Sequence[Step]) -> Chain:
    """Return the map from the first step's moving world to the last one's fixed world."""
    return Chain(tuple(step.backward for step in reversed(steps)))


def record_of_field(step: Step) -> ImageRecord | None:
    """Return the grid of a field whose fixed image has no name."""
    if step.grid is None or not step.grid_is_fixed:
        return None
    return ImageRecord(f'grid of {step.source}', step.grid)


def gaps(steps: Sequence[Step]) -> list[str]:
    """Return a sentence for each pair of steps that do not meet: one ends on an image, the next starts from another.

    Args:
        steps: Steps in the order in which an image passes through them.

    Returns:
        The sentences; none where the images are not known. Images on other grids of the same space are no error.
    """
    sentences = []
    for first, second in zip(steps[:-1], steps[1:], strict=True):
        end, start = first.fixed, second.moving
        if end is not None and start is not None and not end.grid.same_as(start.grid):
            here, there, _ = describe_difference(end.grid, start.grid)
            sentences.append(
                f'{first.name} ends on the grid of {end.file} ({here}), {second.name} starts from {start.file} '
                f'({there}); right only if both show the same space'
            )
    return sentences


def inside(steps: Sequence[Step], fixed_points: np.ndarray, moving_points: np.ndarray) -> np.ndarray:
    """Tell which points the transforms know: inside the images at both ends and inside every field between them.

    Args:
        steps: Steps in the order in which an image passes through them.
        fixed_points: (N, 3) in the last fixed world, RAS millimetres.
        moving_points: (N, 3), the same points in the first moving world.

    Returns:
        bool (N,). Images and fields reach half a voxel beyond their outer voxel centres.
    """
    flags = np.ones(len(fixed_points), bool)
    if steps[-1].fixed is not None:
        flags &= steps[-1].fixed.grid.contains(fixed_points, margin=REACH)
    if steps[0].moving is not None:
        flags &= steps[0].moving.grid.contains(moving_points, margin=REACH)
    points = fixed_points
    for step in reversed(steps):
        if step.grid is not None and step.grid_is_fixed:
            flags &= step.grid.contains(points, margin=REACH)
        points = step.forward.map_points(points)
        if step.grid is not None and not step.grid_is_fixed:
            flags &= step.grid.contains(points, margin=REACH)
    return flags


def _check_partner(path: Path, moving: ImageRecord | None, partner: Path, fixed: ImageRecord | None) -> None:
    if moving is not None and fixed is not None and not moving.grid.same_as(fixed.grid):
        here, there, _ = describe_difference(fixed.grid, moving.grid)
        raise UserError(
            f'{partner} is no inverse of {path}: it lies on the grid of {fixed.file} ({here}), the moving image of '
            f'{path.name} is {moving.file} ({there})',
            fix='copy both files of the same registration again, or move the inverse away to have it solved for',
        )
