"""The deformation beyond the alignment: by a network, by instance optimisation, or by one from what the other found."""

import functools
import math
import time
from typing import Any, NamedTuple

import numpy as np

from autofuse_jax.choices import AUTO, NETWORK
from autofuse_jax.data.volumes import Volume
from autofuse_jax.deployment.runtime import RuntimeModel
from autofuse_jax.errors import UserError
from autofuse_jax.progress import OnProgress
from autofuse_jax.registration.guide import Guide, guide_on_grid
from autofuse_jax.registration.instance import InstanceSettings, exponentials, optimise_instance, velocity_shape
from autofuse_jax.registration.network import NetworkField, network_field, network_guide, network_spread, velocity_on
from autofuse_jax.registration.pipeline_settings import PipelineSettings
from autofuse_jax.registration.spread import random_starts, spread_mm
from autofuse_jax.registration.working_grid import grid_of_content, pad_grid, pair_on_grid, working_grid
from autofuse_jax.transforms.grids import resize_grid
from autofuse_jax.transforms.maps import DenseTransform, Transform
from autofuse_jax.weights.pretrained import RegistrationModel


class Deformation(NamedTuple):
    """What was found beyond the alignment.

    Attributes:
        transform: Deformation of the fixed world, before the alignment.
        inverse: Its inverse.
        stages: Records of what was done.
        guide: What guided it; None: nothing did.
        spread: (D, H, W) in millimetres and the affine of its grid; None where no samples were asked for.
    """

    transform: DenseTransform
    inverse: DenseTransform
    stages: list[dict[str, Any]]
    guide: Guide | None
    spread: tuple[np.ndarray, np.ndarray] | None


def deform(
    fixed: Volume,
    moving: Volume,
    lead: Transform,
    back: Transform,
    settings: PipelineSettings,
    model: RegistrationModel | RuntimeModel | None,
    guide: Guide | str | None,
    in_plane: bool,
    on_progress: OnProgress | None,
) -> Deformation:
    """Deform by the network, by instance optimisation, or by the one from what the other found."""
    whole = working_grid(fixed.grid, spacing=settings.spacing_mm)
    grid = pad_grid(grid_of_content(whole, fixed, moving, lead))
    stages: list[dict[str, Any]] = []
    velocity, instance = None, settings.instance
    if model is not None:
        started = time.perf_counter()
        field = network_field(model, fixed, moving, lead)
        # The working grid may be coarser or finer than the network's; a velocity can be carried over exactly enough,
        # where a displacement would lose its inverse.
        half = resize_grid(grid, velocity_shape(grid.shape, (instance or InstanceSettings()).velocity_shrink))
        velocity = velocity_on(half, field)
        guide = _guide_by_network(guide, model, field, moving, lead, wanted=instance is not None)
        seconds = round(time.perf_counter() - started, 3)
        stages.append({'name': f'network {model.description.method}', 'seconds': seconds, 'runtime': model.runtime})
    spread = None
    if instance is None:
        displacement, inverse = exponentials(velocity, grid.shape)
        if settings.samples:
            spread = network_spread(model, fixed, moving, lead, settings.samples)
        transform, back_again = (DenseTransform(each, grid.affine) for each in (displacement, inverse))
        return Deformation(transform, back_again, stages, None, spread)
    # Without a network that segments, 'auto' is no guide.
    used = guide if isinstance(guide, Guide) else None
    pair = pair_on_grid(fixed, moving, lead, grid)
    optimise = functools.partial(
        optimise_instance,
        pair.fixed,
        pair.moving,
        instance,
        weights=pair.fixed_valid,
        moving_weights=pair.moving_valid,
        velocity=velocity,
        spacing=grid.spacing,
        enlargement=math.prod(grid.shape) / math.prod(whole.shape),
        guide=None if used is None else guide_on_grid(used, grid, lead, back),
        in_plane=in_plane,
        on_progress=on_progress,
    )
    result = optimise()
    stages += result.stages
    if settings.samples:
        started = time.perf_counter()
        restarts = (optimise(start=start).displacement for start in random_starts(grid.shape, settings.samples))
        spread = spread_mm(result.displacement, restarts, grid.affine), grid.affine
        stages.append({'name': f'{settings.samples} restarts', 'seconds': round(time.perf_counter() - started, 3)})
    transform, back_again = (
        DenseTransform(each, grid.affine) for each in (result.displacement, result.inverse_displacement)
    )
    return Deformation(transform, back_again, stages, used, spread)


def _guide_by_network(
    guide: Guide | str | None,
    model: RegistrationModel | RuntimeModel,
    field: NetworkField,
    moving: Volume,
    lead: Transform,
    *,
    wanted: bool,
) -> Guide | str | None:
    """Return the guide that was given, or what the network segments where its word was asked for.

    Raises:
        UserError: The network was asked to guide and segments nothing.
    """
    if guide == NETWORK and field.fixed_probabilities is None:
        raise UserError(
            f'the weights of {model.description.method} segment nothing, so they cannot guide',
            expected='weights of a network with a segmentation branch',
            fix='leave --guide at its default',
        )
    return network_guide(model, field, moving, lead) if wanted and guide in (AUTO, NETWORK) else guide
