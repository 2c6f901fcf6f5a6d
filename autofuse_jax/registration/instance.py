"""Instance optimisation: the stationary velocity field of one pair by gradient descent, from coarse to fine."""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from autofuse_jax.choices import AUTO, CORRELATION, MATCHED
from autofuse_jax.fields import integrate_velocity, resample_displacement
from autofuse_jax.progress import OnProgress
from autofuse_jax.registration.contrast import match_contrast
from autofuse_jax.registration.coverage import border_of
from autofuse_jax.registration.guide import GridGuide
from autofuse_jax.registration.instance_levels import instance_levels, velocity_shape
from autofuse_jax.registration.instance_loss import (
    DIRECTIONS,
    LevelData,
    LossOptions,
    classes_at,
    instance_loss,
    points_at,
)
from autofuse_jax.registration.instance_settings import InstanceSettings
from autofuse_jax.registration.kept_programs import KeptProgram
from autofuse_jax.registration.minimise import Schedule, minimise, say_step
from autofuse_jax.registration.sides import make_side
from autofuse_jax.registration.working_grid import PairOnGrid

__all__ = ['InstanceResult', 'InstanceSettings', 'exponentials', 'optimise_instance', 'velocity_shape']


class InstanceResult(NamedTuple):
    """A velocity field and how it was found.

    Attributes:
        velocity: float32 (d, h, w, 3), in voxels of its own grid per unit time, over the working grid's field of view.
        displacement: float32 (D, H, W, 3), in voxels of the working grid, pull.
        inverse_displacement: float32 (D, H, W, 3), the inverse map, likewise.
        stages: One record a level: name, seconds, steps, loss_first, loss_last, stopped.
    """

    velocity: np.ndarray
    displacement: np.ndarray
    inverse_displacement: np.ndarray
    stages: tuple[dict[str, Any], ...]


class _Place(NamedTuple):
    """What of a pair is the same at all levels; see the arguments of `optimise_instance`."""

    valid: tuple[np.ndarray, np.ndarray]  # how much each voxel of the fixed and of the moving image counts
    open_faces: tuple[np.ndarray, np.ndarray]  # `Border.open` of both
    extent: np.ndarray  # (3,), of the grid, in the unit of the spacing
    enlargement: float
    moves: np.ndarray  # (3,), 1 for directions in which anything may move, 0 for others


def optimise_instance(
    fixed: np.ndarray,
    moving: np.ndarray,
    settings: InstanceSettings | None = None,
    *,
    weights: np.ndarray | None = None,
    moving_weights: np.ndarray | None = None,
    velocity: np.ndarray | None = None,
    spacing: Sequence[float] = (1.0, 1.0, 1.0),
    enlargement: float = 1.0,
    start: np.ndarray | None = None,
    guide: GridGuide | None = None,
    in_plane: bool = False,
    on_progress: OnProgress | None = None,
) -> InstanceResult:
    """Find the velocity field whose exponential makes the moving image most similar to the fixed one.

    Each level minimises `-NCC(fixed, moving o exp(v + d)) + a |grad d|^2 + b max(-det J, 0)` over the departure d by
    Adam, where v is the trusted share of the given velocity, such as a network's, or zero; `settings.inverse` brings
    in the same of the inverse map, `-NCC(moving, fixed o exp(-v - d)) + ...`. The departure of a level is
    where the next finer one starts. A given velocity is thus the mean of the prior: what a network has learned of
    plausible motion is not smoothed away, and the images decide the rest. A guide adds `g (1 - Dice)` of its classes
    and `h` times the distance of its points, with the weights `settings.guide` and `settings.points`.

    Args:
        fixed: (D, H, W), in [0, 1].
        moving: (D, H, W), in [0, 1], on the same grid.
        settings: Settings; default `InstanceSettings()`.
        weights: (D, H, W), at least 0: how much each voxel of the fixed image counts. None: all alike.
        moving_weights: (D, H, W), likewise of the moving image; it is moved with it. Beyond an image there is its
            background where its border shows nothing else, and otherwise nothing is known and nothing counts.
        velocity: (d, h, w, 3) to start from, in voxels of its own grid over the same field of view; None is zero.
        spacing: Voxel size along each axis, in any unit: smoothness is the same along all axes in space, not in voxels.
        enlargement: Number of voxels over the number of those in the field of view, for a grid that is padded or cut:
            similarity and penalties are means over the whole grid and count that many times.
        start: (d, h, w, 3), departure from the velocity at which the search begins, in voxels of any grid over the same
            field of view; None is zero.
        guide: Classes and points that should meet, on the grid of the images; None: the images alone.
        in_plane: Whether nothing moves along the last axis, for slabs of equal slices, see `planes`; default False.
        on_progress: Callback (level, steps done, steps at most, loss).

    Returns:
        Velocity and displacements.

    Raises:
        UserError: The loss became infinite or not a number.
        ValueError: The shapes differ.

    Reference:
        Arsigny et al., MICCAI 2006 (exponential); Avants et al., 2008 (correlation); Meng et al., AutoFuse, Eq. 1.
    """
    if fixed.shape != moving.shape or fixed.ndim != 3:
        raise ValueError(f'fixed {fixed.shape} and moving {moving.shape} must both be (D, H, W).')
    settings = settings or InstanceSettings()
    similarity = CORRELATION if settings.similarity in (AUTO, MATCHED) else settings.similarity
    options = LossOptions.of(settings, similarity)
    say = on_progress or (lambda *_: None)
    weights, moving_weights = (np.ones(fixed.shape, np.float32) if w is None else w for w in (weights, moving_weights))
    pair = PairOnGrid(fixed, moving, weights, moving_weights)
    place = _Place(
        (weights, moving_weights),
        (border_of(fixed, weights).open, border_of(moving, moving_weights).open),
        np.asarray(spacing, float) * fixed.shape,
        enlargement,
        np.array([1, 1, 0 if in_plane else 1], np.float32),
    )
    pairs: tuple[PairOnGrid, ...] = (pair,)
    turns = DIRECTIONS if options.in_turn else 1
    stages = []
    departure: np.ndarray | jax.Array | None = start
    for level in instance_levels(settings, fixed.shape, place.extent, guide):
        prior = settings.trust * _resampled(velocity, level.velocity_shape)
        begin = _resampled(departure, level.velocity_shape)
        if settings.similarity == MATCHED:
            # Anew at each level: the better the images lie, the more their grey values say of each other. They lie as
            # the loss compares them, through the given velocity from the first level on.
            so_far = np.asarray((prior + begin) * place.moves)
            pairs = match_contrast(pair, exponentials(so_far, fixed.shape)[0] if so_far.any() else None)
        schedule = Schedule(level.steps, settings.learning_rate, settings.tolerance, turns)
        minimum = minimise(
            instance_loss,
            begin,
            _level_data(place, pairs, level.shape, prior, options, guide or GridGuide()),
            options,
            schedule,
            functools.partial(say_step, say, level.name, schedule.most_steps),
        )
        departure = minimum.params
        stages.append(minimum.stage(level.name))
    # Both on the grid of the last level.
    found = np.asarray((prior + departure) * place.moves)
    return InstanceResult(found, *exponentials(found, fixed.shape), tuple(stages))


def _level_data(
    place: _Place,
    pairs: Sequence[PairOnGrid],
    shape: tuple[int, ...],
    prior: jax.Array,
    options: LossOptions,
    guide: GridGuide,
) -> LevelData:
    """Bring a pair, in the forms in which it is compared one by one, to a level."""
    forms = [one.fixed for one in pairs], [one.moving for one in pairs]
    fixed, moving = (
        make_side(images, valid, faces, shape, options.similarity)
        for images, valid, faces in zip(forms, place.valid, place.open_faces, strict=True)
    )
    return LevelData(
        (fixed, moving),
        prior,
        jnp.asarray(place.extent / prior.shape[:3], jnp.float32),
        jnp.asarray(place.enlargement, jnp.float32),
        *(classes_at(guide, place.valid[0] * place.valid[1], shape) if options.guide else ((), ())),
        points_at(guide, shape) if options.points else (),
        jnp.asarray(place.extent / shape, jnp.float32),
        jnp.asarray(place.moves),
    )


def exponentials(velocity: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return the displacements of a velocity field and of its negative, its inverse.

    Args:
        velocity: (d, h, w, 3), in voxels of its own grid.
        shape: (D, H, W) of the grid, over the same field of view, on which the displacements are wanted.

    Returns:
        Two float32 (D, H, W, 3), in voxels of that grid.
    """
    return jax.device_get(_both_ways(jnp.asarray(velocity), shape=tuple(shape)))


def _exponentials(velocity: jax.Array, *, shape: tuple[int, ...]) -> tuple[jax.Array, jax.Array]:
    forward, backward = (resample_displacement(integrate_velocity(v), shape) for v in (velocity, -velocity))
    return forward, backward


_both_ways = KeptProgram(_exponentials, ('shape',), lambda velocity: (0, 0))


def _resampled(velocity: np.ndarray | jax.Array | None, shape: tuple[int, ...]) -> jax.Array:
    """A velocity on another grid over the same field of view, zero for None."""
    if velocity is None:
        return jnp.zeros((*shape, 3), jnp.float32)
    return resample_displacement(jnp.asarray(velocity, jnp.float32), shape)
