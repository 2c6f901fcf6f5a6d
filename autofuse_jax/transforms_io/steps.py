"""One step of a composition: a transform file with its way forward and its way back."""

import dataclasses
from pathlib import Path
from typing import cast

from autofuse_jax.transforms.grids import ImageGrid
from autofuse_jax.transforms.inversion import NumericalInverse, inverse_affine
from autofuse_jax.transforms.maps import AffineTransform, Chain, DenseTransform, Transform
from autofuse_jax.transforms_io.conventions import FSL, ITK
from autofuse_jax.transforms_io.saved_inverse import open_saved_inverse
from autofuse_jax.transforms_io.sidecar import ImageRecord, TransformInfo


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
        by_itk: Whether a program of ITK made it: its file is in ITK convention and has no sidecar.
    """

    name: str
    forward: Transform
    backward: Transform
    fixed: ImageRecord | None
    moving: ImageRecord | None
    grid: ImageGrid | None
    grid_is_fixed: bool
    source: str
    by_itk: bool = False

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


def steps_of_file(text: str, path: Path, transform: Transform, info: TransformInfo, *, inverse: bool) -> list[Step]:
    """Return the steps of a file, in the order in which an image passes through them.

    Args:
        text: Name that the user gave it.
        path: The file, for words and for the saved inverse beside it.
        transform: The transform as it was read.
        info: What the file and its sidecar say of it.
        inverse: Whether the file is turned round: each step, and their order.

    Returns:
        One step for each part of a composite, and one of any other transform.

    Raises:
        UserError: The inverse that the sidecar names does not belong to the transform.
    """
    steps = _parts(text, path, transform, info, inverse=inverse)
    # A sidecar always names the versions that it was made with.
    by_itk = info.convention == ITK and not info.versions
    steps = [dataclasses.replace(step, by_itk=by_itk) for step in steps]
    return steps[::-1] if inverse else steps


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
        # The same sixteen numbers in a .mat may be another program's, of which nothing in them tells.
        taken = ', taken for a matrix of FLIRT' if info.convention == FSL else ''
        source = f'affine, {path.name}{taken}'
        step = Step(text, transform, inverse_affine(transform), info.fixed, info.moving, None, True, source)
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
