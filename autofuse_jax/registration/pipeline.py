"""The whole way from two volumes to one transform: alignment, network, instance optimisation, composition."""

import dataclasses
import time
from typing import Any

import numpy as np

from autofuse_jax.choices import AUTO, NETWORK, NONE
from autofuse_jax.data.background import choose_background
from autofuse_jax.data.intensity import fill_missing, scale_weights
from autofuse_jax.data.resample import canonical_volume, move_volume
from autofuse_jax.data.volumes import Volume
from autofuse_jax.deployment.runtime import RuntimeModel
from autofuse_jax.errors import UserError
from autofuse_jax.progress import OnProgress
from autofuse_jax.registration.alignment import Alignment, AlignmentSettings, align
from autofuse_jax.registration.deformation import deform
from autofuse_jax.registration.guide import Guide, check_guide
from autofuse_jax.registration.initial import Initial, check_initial, moving_through
from autofuse_jax.registration.pair_checks import check_overlap, check_pair
from autofuse_jax.registration.pipeline_settings import PipelineSettings
from autofuse_jax.registration.planes import is_plane, plane_of, slabs_of
from autofuse_jax.registration.registered_pair import RegistrationResult
from autofuse_jax.registration.spread import on_image_grid
from autofuse_jax.registration.working_grid import working_grid
from autofuse_jax.runtime import drop_programs_if_many
from autofuse_jax.transforms.inversion import inverse_affine
from autofuse_jax.transforms.maps import AffineTransform, Chain, Transform, to_dense
from autofuse_jax.weights.pretrained import RegistrationModel


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
    deformation = None
    if model is not None or settings.instance is not None:
        deformation = deform(first, second, lead, back, settings, model, guide, in_plane, on_progress)
        forward.append(deformation.transform)
        backward.insert(0, deformation.inverse)
        stages += deformation.stages
    spread = None if deformation is None else deformation.spread
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
        guide=None if deformation is None else deformation.guide,
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


def _alignment_stages(settings: AlignmentSettings, alignment: Alignment) -> tuple[dict[str, Any], ...]:
    if settings.kind == NONE and alignment.start == 'header':
        return ()
    return ({'name': f'start: {alignment.start}', 'seconds': 0.0}, *alignment.stages)
