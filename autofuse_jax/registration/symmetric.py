"""Two images that register to the same map whichever of them is fixed."""

import dataclasses

import numpy as np

from autofuse_jax.data.background import choose_background
from autofuse_jax.data.intensity import fill_missing
from autofuse_jax.data.resample import move_volume
from autofuse_jax.data.volumes import Volume
from autofuse_jax.errors import UserError
from autofuse_jax.progress import OnProgress
from autofuse_jax.registration.guide import Guide
from autofuse_jax.registration.instance import InstanceSettings
from autofuse_jax.registration.pipeline import RegistrationResult, register_volumes
from autofuse_jax.registration.pipeline_settings import PipelineSettings
from autofuse_jax.transforms.inversion import inverse_affine

# Weight of the similarity of the inverse map, where the settings name none: both images count alike.
INVERSE_WEIGHT = 1.0


def register_symmetrically(
    fixed: Volume,
    moving: Volume,
    settings: PipelineSettings | None = None,
    *,
    guide: Guide | None = None,
    on_progress: OnProgress | None = None,
) -> RegistrationResult:
    """Register two images so that an exchange of the two turns the result round and changes nothing else.

    The map is sought from the image with the larger structures, see `structure_size`, with the similarity of the
    inverse map beside its own, and turned round where that is the moving image. What is left of a difference is the
    error of the inverse on the grid.

    Args:
        fixed: The fixed volume.
        moving: The moving volume.
        settings: Steps of the registration, see `register_volumes`; where instance optimisation gives the inverse map
            no weight, it gets `INVERSE_WEIGHT`.
        guide: Classes and points that guide instance optimisation, or None.
        on_progress: Callback, see `register_volumes`.

    Returns:
        The result, as of `register_volumes`.

    Raises:
        UserError: See `register_volumes`; or the spread is asked for, which lies on the grid of one of the two, or the
            guide is `aligned`, which lies in the world of one of the two.
    """
    settings = settings or PipelineSettings()
    if guide is not None and guide.aligned:
        raise UserError(
            'the guide of a symmetric registration lies in the world of the fixed image',
            expected='classes of each image in its own world, whichever the map is sought from',
            fix='give the moving classes where the moving image lies, without aligned=True',
        )
    if settings.samples:
        raise UserError('samples of a symmetric registration are asked for', fix='leave out one of the two')
    settings = dataclasses.replace(settings, instance=_weighed(settings.instance))
    if _comes_first(fixed, moving):
        return register_volumes(fixed, moving, settings, guide=guide, on_progress=on_progress)
    result = register_volumes(
        moving, fixed, settings, guide=None if guide is None else _turned_guide(guide), on_progress=on_progress
    )
    return _turned(result, settings.background)


def _comes_first(fixed: Volume, moving: Volume) -> bool:
    """Whether the map is sought from the fixed image. The answer turns round with the images unless they are the same:
    of a copy that is shifted or mirrored, or has another header, the structures are as large, and the content decides.
    """
    sizes = structure_size(fixed), structure_size(moving)
    if sizes[0] != sizes[1]:
        return sizes[0] > sizes[1]
    first, second = ((volume.image.tobytes(), volume.affine.tobytes()) for volume in (fixed, moving))
    return first >= second


def structure_size(volume: Volume) -> float:
    """Return how large the structures of an image are: standard deviation over mean gradient, millimetres.

    It is the same in every unit and for every zero of the intensities. Of a heart, the dilated phase has the larger
    one; maps that are sought from there, where the walls are far apart, came out better than those from the contracted
    phase.

    Args:
        volume: The volume.

    Returns:
        The size; 0 of an image without contrast.
    """
    image = np.asarray(fill_missing(volume).image, np.float64)
    axes = [axis for axis, size in enumerate(image.shape) if size > 1]
    slopes = [np.gradient(image, float(volume.spacing[axis]), axis=axis) for axis in axes]
    steepness = float(np.sqrt(sum(np.square(slope) for slope in slopes)).mean())
    return float(image.std()) / steepness if steepness else 0.0


def _weighed(instance: InstanceSettings | None) -> InstanceSettings | None:
    if instance is None or instance.inverse:
        return instance
    return dataclasses.replace(instance, inverse=INVERSE_WEIGHT)


def _turned_guide(guide: Guide) -> Guide:
    return dataclasses.replace(
        guide,
        fixed=guide.moving,
        moving=guide.fixed,
        fixed_points=guide.moving_points,
        moving_points=guide.fixed_points,
    )


def _turned(result: RegistrationResult, background: float | str) -> RegistrationResult:
    """Turn a registration round: its moving image becomes the fixed one."""
    fixed, moving = result.moving, result.fixed
    chosen = choose_background(moving.image, background)
    warped = move_volume(moving, fixed.grid, result.inverse, background=chosen.value)
    alignment, record = inverse_affine(result.alignment), result.alignment_record
    return dataclasses.replace(
        result,
        fixed=fixed,
        moving=moving,
        transform=result.inverse,
        inverse=result.transform,
        alignment=alignment,
        moved=warped.image,
        moved_labels=warped.labels,
        guide=None if result.guide is None else _turned_guide(result.guide),
        background=chosen,
        alignment_record=None if record is None else dataclasses.replace(record, matrix=alignment.matrix),
        chain=result.inverse_chain,
        inverse_chain=result.chain,
    )
