"""One step of a composition: a transform file with its way forward and its way back."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import cast

import numpy as np

from autofuse_jax.errors import UserError
from autofuse_jax.transforms.grid_words import describe_difference
from autofuse_jax.transforms.grids import ImageGrid
from autofuse_jax.transforms.inversion import NumericalInverse, inverse_affine
from autofuse_jax.transforms.maps import AffineTransform, Chain, DenseTransform, Transform
from autofuse_jax.transforms.resampling import REACH
from autofuse_jax.transforms_io.files import missing_images, read_recognised
from autofuse_jax.transforms_io.recognition import recognise
from autofuse_jax.transforms_io.saved_inverse import open_saved_inverse
from autofuse_jax.transforms_io.sidecar import ImageRecord, TransformInfo

INVERSE_PREFIX = 'inverse:'


# The fixed and the moving image of a composition, None where it is not known.
Ends = tuple[ImageRecord | None, ImageRecord | None]


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
    lacking = [number for number, file in enumerate(files) if missing_images(file)]
    named: dict[int, Mapping[str, ImageRecord | None]] = {}
    if fixed is not None or moving is not None:
        # Images named by hand belong to one transform; which of several would be a guess.
        owner = lacking if len(files) > 1 else [0]
        if len(owner) != 1:
            raise UserError(
                f'several transforms together with --fixed or --moving, {len(lacking)} of them without their images',
                expected='one such transform',
                fix='save each as a file with sidecar first (--save-transform), then join those',
            )
        named[owner[0]] = {'fixed': fixed, 'moving': moving}
    steps: list[Step] = []
    for number, (text, file) in enumerate(zip(texts, files, strict=True)):
        backwards = inverse ^ text.startswith(INVERSE_PREFIX)
        images = dict(named.get(number, {}))
        roles = [role for role in missing_images(file) if images.get(role) is None]
        if roles:
            fixed_end, moving_end = ends()
            first = moving_end if number == 0 else None
            last = fixed_end if number == len(files) - 1 else None
            by_role = {'fixed': first, 'moving': last} if backwards else {'fixed': last, 'moving': first}
            images |= {role: by_role[role] for role in roles}
            if len(files) > 1 and None in images.values():
                raise UserError(
                    f'{text} cannot be read without the two images that it belongs to, which stand nowhere',
                    fix='save it as a file of ITK first: apply_transform --transform FILE --fixed IMAGE --moving IMAGE '
                    '--save-transform RESULT.tfm',
                )
        parts = _parts(text, file.path, *read_recognised(file, **images), inverse=backwards)
        steps += reversed(parts) if backwards else parts
    return steps


def _parts(text: str, path: Path, transform: Transform, info: TransformInfo, *, inverse: bool) -> list[Step]:
    """Return the steps of a file in its own order, each turned round where asked: one for each part of a composite."""
    if not isinstance(transform, Chain):
        return [_step(text, path, transform, info, inverse=inverse)]
    last = len(transform.transforms) - 1
    steps = []
    for number, part in enumerate(transform.transforms):
        part_info = dataclasses.replace(
            info,
            inverse=None,
            moving=info.moving if number == 0 else None,
            fixed=info.fixed if number == last else None,
        )
        step = _step(text, path, part, part_info, inverse=inverse)
        steps.append(dataclasses.replace(step, source=f'part {number + 1} of {last + 1}, {step.source}'))
    return steps


def _step(text: str, path: Path, transform: Transform, info: TransformInfo, *, inverse: bool) -> Step:
    if isinstance(transform, AffineTransform):
        step = Step(
            text, transform, inverse_affine(transform), info.fixed, info.moving, None, True, f'affine, {path.name}'
        )
        return step.inverted() if inverse else step
    dense = cast(DenseTransform, transform)
    saved = open_saved_inverse(path, dense, info)
    if inverse and saved is not None:
        # The field that was saved as the inverse is used as it is: it needs no solving and has no gaps at folds.
        saved.check(path)
        grid = saved.transform.grid if isinstance(saved.transform, DenseTransform) else None
        back = NumericalInverse(saved.transform, start=dense)
        source = f'inverse saved as {saved.path.name}'
        return Step(text, saved.transform, back, info.moving, info.fixed, grid, True, source)
    # An inverse of something else would lead the search astray.
    back = NumericalInverse(dense, start=saved.transform if saved is not None and saved.fits else None)
    step = Step(text, dense, back, info.fixed, info.moving, dense.grid, True, path.name)
    if not inverse:
        return step
    return dataclasses.replace(step.inverted(), source=f'inverse of {path.name}, solved for each point')


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
