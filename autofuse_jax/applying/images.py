"""Applying transforms to images, label maps and points: the work behind `python -m autofuse_jax.apply_transform`."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from autofuse_jax.applying.points import move_points
from autofuse_jax.applying.volumes import frame_by_frame, label_hint, moved_image, positions_in, warn_of_lost_labels
from autofuse_jax.choices import AUTO
from autofuse_jax.data.formats import IMAGE_KEY, LABELS_KEY, load_image, stem_of
from autofuse_jax.data.headers import HeaderFacts, read_header
from autofuse_jax.data.volumes import read_image, read_label_series, write_image, write_labels
from autofuse_jax.errors import UserError
from autofuse_jax.transforms.grid_words import describe_grid
from autofuse_jax.transforms.grids import ImageGrid, grid_points, slabs
from autofuse_jax.transforms.inversion import NumericalInverse
from autofuse_jax.transforms.maps import Transform, to_dense
from autofuse_jax.transforms.resampling import sample_labels, sample_labels_linear
from autofuse_jax.transforms_io.composition import (
    Ends,
    Step,
    elsewhere_in_itk,
    forward_of,
    gaps,
    linear_of,
    load_steps,
    parts_of,
    record_of_field,
    turned,
)
from autofuse_jax.transforms_io.conventions import CONVENTIONS, ITK
from autofuse_jax.transforms_io.files import check_target, write_transform
from autofuse_jax.transforms_io.points import read_points
from autofuse_jax.transforms_io.recognition import is_affine, is_composite
from autofuse_jax.transforms_io.sidecar import (
    ImageRecord,
    TransformInfo,
    check_replaceable,
    sidecar_path,
)
from autofuse_jax.transforms_io.staging import Staging, staging

SLICER_SUFFIX = '.fcsv'
LABELS_REMEDY = 'give it to --labels, because --image mixes neighbouring values'
LABEL_SAMPLERS = {'nearest': sample_labels, 'linear': sample_labels_linear}


@dataclasses.dataclass(frozen=True, eq=False)
class Request:
    """What is to be done, each entry the option of the same name.

    Attributes:
        transforms: Paths, 'inverse:' before those to turn round, in the order in which an image passes through them.
        inverse: Whether the whole composition is turned round.
        images: Files to interpolate linearly.
        labels: Label maps.
        label_interpolation: 'nearest' or 'linear'.
        points: CSV files.
        points_units: 'mm', 'mm-lps' or 'voxel'; None: what the files say.
        points_in: Image in which the points were set: 'moving' or 'fixed', of the composition as it is applied.
        background: Value of moved images where the image does not reach: a number, 'min', the smallest of the image, or
            'auto', its own background.
        reference: Image whose grid the results get; None: the fixed image of the composition.
        out: Folder of the results; needed where there are images, label maps or points.
        overwrite: Whether existing results may be replaced.
        save_transform: File of the composition, None for none.
        format: Its convention.
        convention: Convention of transform files that do not show it.
        fixed: Fixed image of a transform file that does not name it.
        moving: Moving image of a transform file that does not name it.
    """

    transforms: tuple[str, ...]
    inverse: bool = False
    images: tuple[Path, ...] = ()
    labels: tuple[Path, ...] = ()
    label_interpolation: str = 'nearest'
    points: tuple[Path, ...] = ()
    points_units: str | None = None
    points_in: str = 'moving'
    background: float | str = AUTO
    reference: ImageRecord | None = None
    out: Path | None = None
    overwrite: bool = False
    save_transform: Path | None = None
    format: str = ITK
    convention: str | None = None
    fixed: ImageRecord | None = None
    moving: ImageRecord | None = None


def apply(request: Request, say: Callable[[str], Any] = print) -> list[Path]:
    """Apply transforms; all results appear, or none.

    Args:
        request: The task.
        say: Callback for every sentence to the user.

    Returns:
        The files that were written, sidecars left out.

    Raises:
        UserError: An input cannot be read or does not fit, or a result exists already.
        OSError: A result cannot be written.
    """
    sources = [*request.images, *request.labels, *request.points]
    if not sources and request.save_transform is None:
        raise UserError('there is nothing to apply', fix='add --image, --labels, --points or --save-transform')
    if sources and request.out is None:
        raise UserError('no folder for the results is named', fix='add --out DIR')
    # What can be wrong with a file is found before the transforms, which may take long, are read and solved.
    headers = {path: read_header(path) for path in request.images}
    headers |= {path: read_header(path, key=LABELS_KEY) for path in request.labels}
    for path in request.points:
        read_points(path, request.points_units)
    with staging(request.overwrite) as stage:
        targets = {}
        for path in sources:
            targets[path] = _target(request, path, stage)
        _claim_transform(request, stage)
        steps = _load(request, say)
        _warn_of_direction(request, steps, headers, say)
        _warn_of_places(request, steps, headers, say)
        for path in request.points:
            target = stage.temporary(targets[path])
            move_points(
                steps,
                path,
                target,
                units=request.points_units,
                points_in=request.points_in,
                say=say,
                reference=request.reference,
            )
        if request.images or request.labels or request.save_transform is not None:
            _move_volumes(request, steps, targets, stage, say)
        files = list(targets.values())
        if request.save_transform is not None:
            files.append(request.save_transform)
        _say_inversions(steps, say)
    say('written: ' + ', '.join(str(path) for path in files))
    return files


def _target(request: Request, path: Path, stage: Staging) -> Path:
    suffix = '.nii.gz'
    if path in request.points:
        suffix = SLICER_SUFFIX if path.suffix.lower() == SLICER_SUFFIX else '.csv'
    target = request.out / f'{stem_of(path)}_moved{suffix}'
    stage.claim(target, str(path))
    return target


def _claim_transform(request: Request, stage: Staging) -> None:
    if request.save_transform is None:
        return
    check_target(request.save_transform, request.format)
    stage.claim(request.save_transform, '--save-transform')
    check_replaceable(request.save_transform)
    stage.claim(sidecar_path(request.save_transform), 'its sidecar')


def _load(request: Request, say: Callable[[str], Any]) -> list[Step]:
    """Read the transforms, in the order in which an image passes through them."""
    steps = load_steps(
        request.transforms,
        request.convention,
        inverse=request.inverse,
        fixed=request.fixed,
        moving=request.moving,
        ends=lambda: _ends(request),
    )
    for step in steps:
        onto = f' onto {step.fixed.file} ({describe_grid(step.fixed.grid)})' if step.fixed else ''
        say(f'transform: {step.source}, pulls {step.moving.file if step.moving else "the moving image"}{onto}')
    for sentence in gaps(steps):
        say(f'warning: {sentence}')
    return steps


def _warn_of_direction(
    request: Request, steps: Sequence[Step], headers: Mapping[Path, HeaderFacts], say: Callable[[str], Any]
) -> None:
    """Say of each image that lies where the transforms lead to, and not where they start from."""
    fixed, moving = steps[-1].fixed, steps[0].moving
    if fixed is None or moving is None:
        return
    fix = 'leave out --inverse' if request.inverse else f'take {turned(request.transforms)}'
    for path, facts in headers.items():
        if facts.grid.same_as(fixed.grid) and not facts.grid.same_as(moving.grid):
            say(
                f'warning: {path} lies on the grid of {fixed.file}, the fixed image, and not on that of {moving.file}, '
                f'which the transform moves; for the other direction {fix}'
            )


def _warn_of_places(
    request: Request, steps: Sequence[Step], headers: Mapping[Path, HeaderFacts], say: Callable[[str], Any]
) -> None:
    """Say of each image that a program of ITK, which made the transform, saw it at another place."""
    onto = request.reference or steps[-1].fixed
    obstacles = [(steps[0], facts.itk_obstacle) for facts in headers.values()]
    obstacles += [] if onto is None else [(steps[-1], onto.itk_obstacle)]
    for step, obstacle in dict.fromkeys(obstacles):
        if sentence := elsewhere_in_itk(step, obstacle):
            say(f'warning: {sentence}')


def _ends(request: Request) -> Ends:
    """The reference, and the image that is moved: as `flirt -applyxfm` takes them where nothing else is said."""
    records = []
    for paths, key in ((request.images, IMAGE_KEY), (request.labels, LABELS_KEY)):
        for path in paths:
            stored, array = load_image(path, key)
            grid = ImageGrid(array.shape[:3], stored.affine.astype(np.float64))
            records.append(ImageRecord(path.name, grid, fsl_obstacle=stored.notes.fsl_obstacle))
    alike = bool(records) and all(record.grid.same_as(records[0].grid) for record in records)
    return request.reference, records[0] if alike else None


def _move_volumes(
    request: Request, steps: Sequence[Step], targets: dict[Path, Path], stage: Staging, say: Callable[[str], Any]
) -> None:
    """Sample images and label maps on the output grid, and save the composition."""
    reference = request.reference or steps[-1].fixed or record_of_field(steps[-1])
    target = request.save_transform
    text = target is not None and is_affine(target)
    if text and linear_of(steps) is None:
        raise UserError(
            f'{target} can hold an affine transform only, and this one is dense',
            fix='name a .nii.gz or an .h5 file',
        )
    gridless = text or target is not None and is_composite(target) and parts_of(steps) is not None
    if reference is None and (request.images or request.labels or not gridless):
        raise UserError('the grid of the result is not known', fix='name an image on it with --reference')
    mapped = None
    if request.images or request.labels:
        mapped = _mapped(steps, reference.grid)
    for path in request.images:
        volume = read_image(path, allow_series=True, allow_missing=True, allow_constant=True)
        if hint := label_hint(path, volume.image, LABELS_REMEDY):
            say(hint)
        warped = moved_image(path, volume, positions_in(path, mapped, volume.grid), request.background, say)
        write_image(stage.temporary(targets[path]), warped, reference.grid.affine, volume.notes)
    for path in request.labels:
        labels, grid, notes = read_label_series(path)
        sample = LABEL_SAMPLERS[request.label_interpolation]
        warped = frame_by_frame(sample, labels, positions_in(path, mapped, grid))
        warn_of_lost_labels(path, labels, warped, say)
        write_labels(stage.temporary(targets[path]), warped, reference.grid.affine, notes)
    if request.save_transform is not None:
        _save(request, steps, reference, stage)


def _mapped(steps: Sequence[Step], grid: ImageGrid) -> np.ndarray:
    """Where each voxel of a grid lies in the first moving world, float64 (D, H, W, 3), RAS millimetres."""
    chain = forward_of(steps)
    # What is solved for is judged by all of its points; the rest takes less memory slab by slab.
    solved = any(isinstance(part, NumericalInverse) for part in chain.transforms)
    mapped = np.empty((*grid.shape, 3))
    for rows in [slice(None)] if solved else slabs(grid.shape):
        mapped[rows] = chain.map_points(grid_points(grid, rows))
    return mapped


def _save(request: Request, steps: Sequence[Step], reference: ImageRecord | None, stage: Staging) -> None:
    path = request.save_transform
    moving = steps[0].moving
    if CONVENTIONS[request.format].needs_moving and moving is None:
        raise UserError(
            f'--format {request.format} needs the moving image, which no sidecar names', fix='name it with --moving'
        )
    transform: Transform | None = linear_of(steps)
    if is_composite(path) and transform is None:
        transform = parts_of(steps)
    if transform is None or not (is_affine(path) or is_composite(path)):
        transform = to_dense([step.forward for step in steps], reference.grid)
    settings = {'composed_of': [step.source for step in steps]}
    info = TransformInfo(fixed=reference, moving=moving, settings=settings)
    write_transform(stage.temporary(path), transform, request.format, info)


def _say_inversions(steps: Sequence[Step], say: Callable[[str], Any]) -> None:
    for step in steps:
        for way in (step.forward, step.backward):
            if isinstance(way, NumericalInverse) and way.inversions:
                worst = max(way.inversions, key=lambda inversion: inversion.max_mm)
                say(f'{step.name}: {worst.sentence}')
