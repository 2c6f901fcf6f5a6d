"""The whole way from two volumes to one transform: alignment, network, instance optimisation, composition."""

import dataclasses
import functools
import math
import time
from typing import Any

import numpy as np

from autofuse_jax.choices import AUTO, NETWORK, NONE
from autofuse_jax.data.background import choose_background
from autofuse_jax.data.intensity import fill_missing, scale_weights
from autofuse_jax.data.resample import canonical_volume, move_volume
from autofuse_jax.data.volumes import Volume
from autofuse_jax.deployment.runtime import RuntimeModel
from autofuse_jax.errors import POSITIVE, Range, UserError, check_option
from autofuse_jax.progress import OnProgress
from autofuse_jax.registration.alignment import Alignment, AlignmentSettings, align
from autofuse_jax.registration.guide import Guide, check_guide, guide_on_grid
from autofuse_jax.registration.initial import Initial, check_initial, moving_through
from autofuse_jax.registration.instance import InstanceSettings, exponentials, optimise_instance, velocity_shape
from autofuse_jax.registration.network import network_field, network_guide, network_spread, velocity_on
from autofuse_jax.registration.pair_checks import check_overlap, check_pair
from autofuse_jax.registration.planes import is_plane, plane_of, slabs_of
from autofuse_jax.registration.registered_pair import RegistrationResult
from autofuse_jax.registration.spread import on_image_grid, random_starts, spread_mm
from autofuse_jax.registration.working_grid import grid_of_content, pad_grid, pair_on_grid, working_grid
from autofuse_jax.runtime import drop_programs_if_many
from autofuse_jax.transforms.grids import resize_grid
from autofuse_jax.transforms.inversion import inverse_affine
from autofuse_jax.transforms.maps import AffineTransform, Chain, DenseTransform, Transform, to_dense
from autofuse_jax.weights.pretrained import RegistrationModel


@dataclasses.dataclass(frozen=True)
class PipelineSettings:
    """Which steps are carried out and how.

    Attributes:
        alignment: Linear alignment; its kind 'none' with start 'header' takes world positions as the files say.
        instance: Instance optimisation, or None to leave it out.
        background: Value of the moved image where the moving one does not reach: a number, 'min' or 'auto' (default),
            see `choose_background`.
        spacing_mm: Voxel size of the working grid, one number above 0; None chooses, see `working_grid`.
        samples: Number of restarts of instance optimisation, or without it of draws from a network's variance, over
            which the spread of the deformation is measured; default 0: it is not.

    Raises:
        UserError: A number is out of its range.
    """

    alignment: AlignmentSettings = AlignmentSettings()
    instance: InstanceSettings | None = InstanceSettings()
    spacing_mm: float | None = None
    background: float | str = AUTO
    samples: int = 0

    def __post_init__(self):
        if self.spacing_mm is not None:
            check_option('the spacing of the working grid in mm', self.spacing_mm, POSITIVE)
        check_option('the number of samples', self.samples, Range(least=0, whole=True))


def register_volumes(
    fixed: Volume,
    moving: Volume,
    settings: PipelineSettings | None = None,
    *,
    model: RegistrationModel | RuntimeModel | None = None,
    guide: Guide | str | None = AUTO,
    initial: Initial | None = None,
    on_progress: OnProgress | None = None,
) -> RegistrationResult:
    """Register a moving to a fixed volume of any size, spacing and orientation.

    With T_A the alignment and exp(v) the deformation of the working grid, a point p of the fixed world shows the point
    `T_A(exp(v)(p))` of the moving world; the inverse is `exp(-v)(T_A^-1(q))`. Both are sampled on the grids of the
    files as one field each, so that every image is interpolated once.

    Two images of one slice are registered in their plane, see `planes`; without a network, a guide or transforms to
    start from.

    Args:
        fixed: The fixed volume, 3-D, with labels and mask or without.
        moving: The moving volume, likewise.
        settings: Steps of the registration; default alignment by an affine map and instance optimisation.
        model: A trained network whose field comes between the two, or alone where `settings.instance` is None.
        guide: Classes and points that guide instance optimisation besides the images; 'auto': what the network
            segments, where there is a network that does; 'network': the same, and an error where it does not; None:
            nothing.
        initial: Transforms to start from. The alignment goes on from affine ones; a deformation I stays as it is, and
            p shows `I(T_A(exp(v)(p)))`.
        on_progress: Callback (name of the step, steps done, steps at most, loss).

    Returns:
        The result.

    Raises:
        UserError: A volume is not 3-D or has no contrast, the images do not overlap, the guide does not belong to them,
            or a loss became infinite.
    """
    settings = settings or PipelineSettings()
    drop_programs_if_many()
    check_pair(fixed, moving)
    # A grid that no machine can hold is refused before any work.
    working_grid(fixed.grid, spacing=settings.spacing_mm)
    if settings.samples and settings.instance is None and model is None:
        raise UserError(
            'samples of the deformation are asked for, and nothing is deformed',
            fix='leave out --no-deform or --samples',
        )
    if is_plane(fixed.grid):
        _refuse_beside_planes(model, guide, initial)
        return _register_planes(fixed, moving, settings, on_progress)
    if isinstance(guide, Guide):
        check_guide(guide, fixed.grid, moving.grid)
    elif guide == NETWORK and model is None:
        raise UserError(
            'the guide is a network, and there is none', fix='add --weights, or leave --guide at its default'
        )
    return _register(fixed, moving, settings, model, guide, initial, on_progress)


def _register(
    fixed: Volume,
    moving: Volume,
    settings: PipelineSettings,
    model: RegistrationModel | RuntimeModel | None,
    guide: Guide | str | None,
    initial: Initial | None,
    on_progress: OnProgress | None,
    *,
    in_plane: bool = False,
) -> RegistrationResult:
    started = time.perf_counter()
    # The same for every order and direction of the axes in the files, and finite.
    first, second = (canonical_volume(scale_weights(fill_missing(volume))) for volume in (fixed, moving))
    alignment = _align(first, second, settings.alignment, initial, in_plane, on_progress)
    if settings.instance is not None and settings.instance.similarity == AUTO:
        chosen = dataclasses.replace(settings.instance, similarity=alignment.similarity)
        settings = dataclasses.replace(settings, instance=chosen)
    linear = AffineTransform(alignment.matrix)
    forward: list[Transform] = [linear]
    backward: list[Transform] = [inverse_affine(linear)]
    if initial is not None and initial.matrix is None:
        forward.insert(0, initial.forward)
        backward.append(initial.backward)
    lead, back = Chain(tuple(forward)), Chain(tuple(backward))
    check_overlap(fixed, moving, lead)
    stages = list(_alignment_stages(settings.alignment, alignment))
    guide_used = spread = None
    if model is not None or settings.instance is not None:
        deformation, inverse, deformation_stages, guide_used, spread = _deform(
            first, second, lead, back, settings, model, guide, in_plane, on_progress
        )
        forward.append(deformation)
        backward.insert(0, inverse)
        stages += deformation_stages
    transform = to_dense(forward, fixed.grid)
    background = choose_background(moving.image, settings.background)
    warped = move_volume(moving, fixed.grid, transform, background=background.value)
    return RegistrationResult(
        fixed=fixed,
        moving=moving,
        transform=transform,
        inverse=to_dense(backward, moving.grid),
        alignment=linear,
        moved=warped.image,
        moved_labels=warped.labels,
        stages=tuple(stages),
        seconds=time.perf_counter() - started,
        guide=guide_used,
        initial=initial,
        background=background,
        alignment_record=alignment,
        # The files' axes may have another order than those that the deformation was sought in.
        spread=None if spread is None else on_image_grid(*spread, fixed.grid),
        chain=Chain(tuple(forward)),
        inverse_chain=Chain(tuple(backward)),
    )


def _register_planes(
    fixed: Volume, moving: Volume, settings: PipelineSettings, on_progress: OnProgress | None
) -> RegistrationResult:
    """Register slabs of two images of one slice, and take the result to the worlds and grids of the images."""
    started = time.perf_counter()
    slabs = slabs_of(fixed, moving)
    found = _register(slabs.fixed, slabs.moving, settings, None, None, None, on_progress, in_plane=True)
    chain = Chain((slabs.to_moving, *found.chain.transforms, inverse_affine(slabs.to_fixed)))
    inverse_chain = Chain((slabs.to_fixed, *found.inverse_chain.transforms, inverse_affine(slabs.to_moving)))
    linear = AffineTransform(slabs.to_moving.matrix @ found.alignment.matrix @ inverse_affine(slabs.to_fixed).matrix)
    transform = to_dense(chain.transforms, fixed.grid)
    background = choose_background(moving.image, settings.background)
    warped = move_volume(moving, fixed.grid, transform, background=background.value)
    record = found.alignment_record
    return dataclasses.replace(
        found,
        fixed=fixed,
        moving=moving,
        transform=transform,
        inverse=to_dense(inverse_chain.transforms, moving.grid),
        alignment=linear,
        moved=warped.image,
        moved_labels=warped.labels,
        seconds=time.perf_counter() - started,
        background=background,
        alignment_record=None if record is None else dataclasses.replace(record, matrix=linear.matrix),
        spread=None if found.spread is None else plane_of(found.spread, fixed.grid),
        chain=chain,
        inverse_chain=inverse_chain,
    )


def _refuse_beside_planes(
    model: RegistrationModel | RuntimeModel | None, guide: Guide | str | None, initial: Initial | None
) -> None:
    """Refuse for images of one slice what is there for volumes only."""
    for name, option, given in (
        ('a network', '--weights', model is not None),
        ('a guide', '--guide and its files', guide not in (None, AUTO)),
        ('a transform to start from', '--initial', initial is not None),
    ):
        if given:
            raise UserError(
                f'the images have one slice, and {name} is given',
                expected=f'volumes with {name}',
                fix=f'leave out {option}',
            )


def _align(
    fixed: Volume,
    moving: Volume,
    settings: AlignmentSettings,
    initial: Initial | None,
    in_plane: bool,
    on_progress: OnProgress | None,
) -> Alignment:
    """Align from where the initial transforms lead, or with the moving image as an initial deformation shows it."""
    if initial is None:
        return align(fixed, moving, settings, in_plane=in_plane, on_progress=on_progress)
    check_initial(initial, fixed, moving)
    if initial.matrix is not None:
        return align(fixed, moving, settings, initial=initial.matrix, on_progress=on_progress)
    return align(fixed, moving_through(initial, fixed, moving), settings, initial=np.eye(4), on_progress=on_progress)


def _deform(
    fixed: Volume,
    moving: Volume,
    lead: Transform,
    back: Transform,
    settings: PipelineSettings,
    model: RegistrationModel | RuntimeModel | None,
    guide: Guide | str | None,
    in_plane: bool,
    on_progress: OnProgress | None,
) -> tuple[DenseTransform, DenseTransform, list[dict[str, Any]], Guide | None, tuple[np.ndarray, np.ndarray] | None]:
    """Return the deformation of the fixed world, its inverse, what was done, what guided it, and its spread with the
    affine of that."""
    whole = working_grid(fixed.grid, spacing=settings.spacing_mm)
    grid = pad_grid(grid_of_content(whole, fixed, moving, lead))
    stages: list[dict[str, Any]] = []
    velocity = None
    if model is not None:
        started = time.perf_counter()
        field = network_field(model, fixed, moving, lead)
        # The working grid may be coarser or finer than the network's; a velocity can be carried over exactly enough,
        # where a displacement would lose its inverse.
        half = resize_grid(grid, velocity_shape(grid.shape, (settings.instance or InstanceSettings()).velocity_shrink))
        velocity = velocity_on(half, field)
        if guide == NETWORK and field.fixed_probabilities is None:
            raise UserError(
                f'the weights of {model.description.method} segment nothing, so they cannot guide',
                expected='weights of a network with a segmentation branch',
                fix='leave --guide at its default',
            )
        if guide in (AUTO, NETWORK) and settings.instance is not None:
            guide = network_guide(model, field, moving, lead)
        seconds = round(time.perf_counter() - started, 3)
        stages.append({'name': f'network {model.description.method}', 'seconds': seconds, 'runtime': model.runtime})
    guide = guide if isinstance(guide, Guide) and settings.instance is not None else None
    spread = None
    if settings.instance is None:
        displacement, inverse = exponentials(velocity, grid.shape)
        if settings.samples:
            spread = network_spread(model, fixed, moving, lead, settings.samples)
    else:
        pair = pair_on_grid(fixed, moving, lead, grid)
        optimise = functools.partial(
            optimise_instance,
            pair.fixed,
            pair.moving,
            settings.instance,
            weights=pair.fixed_valid,
            moving_weights=pair.moving_valid,
            velocity=velocity,
            spacing=grid.spacing,
            enlargement=math.prod(grid.shape) / math.prod(whole.shape),
            guide=None if guide is None else guide_on_grid(guide, grid, lead, back),
            in_plane=in_plane,
            on_progress=on_progress,
        )
        result = optimise()
        displacement, inverse = result.displacement, result.inverse_displacement
        stages += result.stages
        if settings.samples:
            started = time.perf_counter()
            restarts = (optimise(start=start).displacement for start in random_starts(grid.shape, settings.samples))
            spread = spread_mm(displacement, restarts, grid.affine), grid.affine
            stages.append({'name': f'{settings.samples} restarts', 'seconds': round(time.perf_counter() - started, 3)})
    return DenseTransform(displacement, grid.affine), DenseTransform(inverse, grid.affine), stages, guide, spread


def _alignment_stages(settings: AlignmentSettings, alignment: Alignment) -> tuple[dict[str, Any], ...]:
    if settings.kind == NONE and alignment.start == 'header':
        return ()
    return ({'name': f'start: {alignment.start}', 'seconds': 0.0}, *alignment.stages)
