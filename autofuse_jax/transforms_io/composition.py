"""Compositions: transform files as the user names them, and the maps that their steps make together."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from autofuse_jax.errors import UserError
from autofuse_jax.transforms.grid_words import describe_difference
from autofuse_jax.transforms.maps import AffineTransform, Chain, DenseTransform
from autofuse_jax.transforms.resampling import REACH
from autofuse_jax.transforms_io.files import missing_images, read_recognised
from autofuse_jax.transforms_io.recognition import Recognised, recognise
from autofuse_jax.transforms_io.sidecar import ImageRecord
from autofuse_jax.transforms_io.steps import Step, steps_of_file

INVERSE_PREFIX = 'inverse:'

# The fixed and the moving image of a composition, None where it is not known.
Ends = tuple[ImageRecord | None, ImageRecord | None]
# The images of one file, 'fixed' and 'moving', None where it is not known.
Images = dict[str, ImageRecord | None]


def load_steps(
    texts: Sequence[str],
    convention: str | None = None,
    *,
    inverse: bool = False,
    fixed: ImageRecord | None = None,
    moving: ImageRecord | None = None,
    ends: Callable[[], Ends] = lambda: (None, None),
) -> list[Step]:
    """Read transforms as the user names them.

    Args:
        texts: Paths, 'inverse:' before those to turn round, in the order in which an image passes through them.
        convention: Convention that the user says the files are in; None recognises it.
        inverse: Whether the whole is to be inverted; 'inverse:' inverts once more.
        fixed: The fixed image of the one file (not of its inverse) that does not say it, where the user names it.
        moving: The moving image of that file, where the user names it.
        ends: Function that returns the fixed and the moving image of the whole as it is applied, as far as they are
            known: the first file starts from this moving image and the last one ends on this fixed image, where they do
            not say otherwise and cannot be read without.

    Returns:
        The steps in the order in which an image passes through them; a composite has one for each part. An inverse is
        the file that the sidecar names where it is there, exact for affine transforms, and solved for each point
        otherwise.

    Raises:
        UserError: A file cannot be read, the inverse that the sidecar names does not belong to it, or it is not clear
            to which file the images belong.
    """
    if inverse:
        texts = list(reversed(texts))
    files = [recognise(Path(text.removeprefix(INVERSE_PREFIX)), convention) for text in texts]
    owner = None if fixed is None and moving is None else _owner_of_named_images(files)
    steps: list[Step] = []
    for number, (text, file) in enumerate(zip(texts, files, strict=True)):
        backwards = inverse ^ text.startswith(INVERSE_PREFIX)
        images: Images = {'fixed': fixed, 'moving': moving} if number == owner else {}
        lacking = [role for role in missing_images(file) if images.get(role) is None]
        if lacking:
            at_ends = _images_at_ends(ends(), number, len(files), backwards=backwards)
            images |= {role: at_ends[role] for role in lacking}
            if len(files) > 1 and None in images.values():
                raise UserError(
                    f'{text} cannot be read without the two images that it belongs to, which stand nowhere',
                    fix='save it as a file of ITK first: apply_transform --transform FILE --fixed IMAGE --moving IMAGE '
                    '--save-transform RESULT.tfm',
                )
        steps += steps_of_file(text, file.path, *read_recognised(file, **images), inverse=backwards)
    return steps


def _owner_of_named_images(files: Sequence[Recognised]) -> int:
    """Number of the file that images named by hand belong to: they belong to one; which of several would be a guess."""
    if len(files) < 2:
        return 0
    lacking = [number for number, file in enumerate(files) if missing_images(file)]
    if len(lacking) != 1:
        raise UserError(
            f'several transforms together with --fixed or --moving, {len(lacking)} of them without their images',
            expected='one such transform',
            fix='save each as a file with sidecar first (--save-transform), then join those',
        )
    return lacking[0]


def _images_at_ends(ends: Ends, number: int, count: int, *, backwards: bool) -> Images:
    """The images of a file as far as the ends of the whole tell them: only the first and the last file reach there.

    An image enters the first file and leaves the last one. It enters a file at its moving image and leaves it at its
    fixed one, but for a file that is turned round.
    """
    fixed_end, moving_end = ends
    entered = moving_end if number == 0 else None
    left = fixed_end if number == count - 1 else None
    return {'fixed': entered, 'moving': left} if backwards else {'fixed': left, 'moving': entered}


def turned(texts: Sequence[str]) -> str:
    """Return the words that name the inverse of what the user named.

    Args:
        texts: Paths, 'inverse:' before those to turn round, in the order in which an image passes through them.
    """
    return ' '.join(
        text.removeprefix(INVERSE_PREFIX) if text.startswith(INVERSE_PREFIX) else f'{INVERSE_PREFIX}{text}'
        for text in reversed(texts)
    )


def forward_of(steps: Sequence[Step]) -> Chain:
    """Return the map from the last step's fixed world to the first one's moving world."""
    return Chain(tuple(step.forward for step in steps))


def backward_of(steps: Sequence[Step]) -> Chain:
    """Return the map from the first step's moving world to the last one's fixed world."""
    return Chain(tuple(step.backward for step in reversed(steps)))


def linear_of(steps: Sequence[Step]) -> AffineTransform | None:
    """Return the map of `forward_of` as one matrix where all steps are affine, and None otherwise."""
    # A point goes through the last one first.
    matrix = np.eye(4)
    for step in steps:
        if not isinstance(step.forward, AffineTransform):
            return None
        matrix = matrix @ step.forward.matrix
    return AffineTransform(matrix)


def parts_of(steps: Sequence[Step]) -> Chain | None:
    """Return the steps as a file can hold them one by one; None where one is solved for point by point."""
    chain = forward_of(steps)
    return chain if all(isinstance(part, AffineTransform | DenseTransform) for part in chain.transforms) else None


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


def elsewhere_in_itk(step: Step, obstacle: str) -> str:
    """Say that the program that made a step saw an image at another place than this package.

    Args:
        step: The step that begins or ends with the image.
        obstacle: Reason in its file why ITK places it elsewhere, empty where it does not.

    Returns:
        The sentence; empty where the step is not of a program of ITK, or the image is where that puts it.
    """
    if not obstacle or not step.by_itk:
        return ''
    return (
        f'{obstacle}; {step.name} was made by a program of ITK, so that the result may be off by as much: save the '
        'image at the place that ITK takes'
    )


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
