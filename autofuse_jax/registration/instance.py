"""Instance optimisation: the stationary velocity field of one pair by gradient descent, from coarse to fine."""

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from autofuse_jax.choices import AUTO, CORRELATION, IN_TURN, MATCHED, SIMILARITIES
from autofuse_jax.data.resample import resize_image
from autofuse_jax.errors import (
    COUNT,
    POSITIVE,
    SHARE,
    WEIGHT,
    UserError,
    check_numbers,
    check_odd,
    check_option,
)
from autofuse_jax.fields import integrate_velocity, resample_displacement
from autofuse_jax.losses.guide import class_guide_loss, point_guide_loss
from autofuse_jax.losses.regularity import gradient_penalty, negative_jacobian_loss
from autofuse_jax.losses.similarity import NCC_WINDOW
from autofuse_jax.progress import OnProgress
from autofuse_jax.registration.contrast import match_contrast
from autofuse_jax.registration.coverage import border_of
from autofuse_jax.registration.guide import GridGuide, maps_at
from autofuse_jax.registration.kept_programs import KeptProgram
from autofuse_jax.registration.minimise import Schedule, minimise, say_step
from autofuse_jax.registration.sides import Side, make_side, similarity_of
from autofuse_jax.registration.working_grid import PairOnGrid

# Axes with fewer voxels than this are not halved any further.
SMALLEST_SIDE = 8
# Voxels above which a level is large.
LARGE_LEVEL = 1_500_000
# Directions in which a pair is registered.
DIRECTIONS = 2


@dataclasses.dataclass(frozen=True)
class InstanceSettings:
    """How to optimise a velocity field.

    Attributes:
        similarity: 'ncc', local correlation; 'mind', differences of descriptors that do not depend on the contrast;
            'matched', local correlation once each image has the contrast of the other, see `contrast.match_contrast`;
            'mi', mutual information of the whole images; or 'auto' (default): the one that suits the pair, by its
            alignment, and without one the correlation.
        shrink: Factor by which each level is coarser than the working grid, from coarse to fine; default 4, 2, 1.
        steps: Largest number of Adam steps of each level.
        steps_of_large: Largest number of steps of a level of more than 1.5 million voxels, where a step takes longest;
            default 10.
        learning_rate: Learning rate of the velocity, in its voxels, at the first step of a level.
        smoothness: Weight of the mean squared gradient of the velocity, in mm per mm; with a velocity given to start
            from, of the gradient of the departure from it.
        jacobian: Weight of the mean negative part of the Jacobian determinant.
        inverse: Weight w of the same similarity for the inverse map, which registers fixed to moving: each term becomes
            `(forward + w backward) / (1 + w)`. With 1 the result does not depend on which image is called fixed, but
            for its grid; unless it is 0 (default), a step takes twice the work. 'turns': one step lowers the forward,
            the next the backward loss, which comes near to 1 at the work of 0.
        ncc_window: Side of the correlation window in voxels of each level, odd.
        velocity_shrink: The velocity's voxels are this many times those of its level, as in the network.
        tolerance: Tolerance of `Schedule`.
        trust: Share of a given velocity that the search starts from and departs from, in [0, 1]. Between 0.5 and 1 it
            hardly matters for pairs on which a network is as good as in training; the less it is, the less a
            network that has not seen such images can mislead.
        guide: Weight of the classes of a guide, see `losses.guide.class_guide_loss`; without effect without a guide.
        points: Weight of the points of a guide per millimetre, see `losses.guide.point_guide_loss`; likewise.

    Raises:
        UserError: A number is out of its range, the window even, or levels and steps differ in length.
    """

    similarity: str = AUTO
    shrink: tuple[int, ...] = (4, 2, 1)
    steps: tuple[int, ...] = (60, 40, 20)
    steps_of_large: int = 10
    learning_rate: float = 0.15
    smoothness: float = 0.5
    jacobian: float = 1.0
    inverse: float | str = 0.0
    ncc_window: int = NCC_WINDOW
    velocity_shrink: int = 2
    tolerance: float = 0.002
    trust: float = 0.5
    guide: float = 1.0
    points: float = 0.1

    def __post_init__(self):
        check_option('the similarity of the deformation', self.similarity, (AUTO, *SIMILARITIES))
        check_numbers('shrink', self.shrink, COUNT)
        check_numbers('steps', self.steps, COUNT)
        check_option('steps_of_large', self.steps_of_large, COUNT)
        if len(self.shrink) != len(self.steps):
            raise UserError(
                f'instance optimisation has {len(self.shrink)} levels and {len(self.steps)} numbers of steps',
                expected='one number of steps for each level',
                fix='add or remove steps',
            )
        for name in ('smoothness', 'jacobian', 'guide', 'points'):
            check_option(name, getattr(self, name), WEIGHT)
        if self.inverse != IN_TURN:
            check_option('inverse', self.inverse, WEIGHT)
        check_option('learning_rate', self.learning_rate, POSITIVE)
        check_option('tolerance', self.tolerance, SHARE)
        check_option('trust', self.trust, SHARE)
        check_option('velocity_shrink', self.velocity_shrink, COUNT)
        check_odd('ncc_window', self.ncc_window)


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


class _Data(NamedTuple):
    sides: tuple[Side, ...]  # the fixed and the moving image
    prior: jax.Array  # (d, h, w, 3), the velocity to start from
    spacing: jax.Array  # (3,), of the velocity's voxels
    enlargement: jax.Array  # voxels of the grid over those of the field of view
    classes: tuple[jax.Array, ...]  # (d, h, w, C) of the fixed and the moving image; or nothing
    class_weights: tuple[jax.Array, ...]  # (d, h, w), or nothing
    points: tuple[jax.Array, ...]  # (N, 3) of the fixed and the moving image in voxels of the level; or nothing
    voxel: jax.Array  # (3,), size of the level's voxels in millimetres
    moves: jax.Array  # (3,), 1 for directions in which anything may move, 0 for others


class _Options(NamedTuple):
    """What the loss of a level is compiled for; see `InstanceSettings`."""

    similarity: str
    smoothness: float
    jacobian: float
    in_turn: bool
    inverse: float
    ncc_window: int
    guide: float
    points: float


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
    say = on_progress or (lambda *_: None)
    weights, moving_weights = (np.ones(fixed.shape, np.float32) if w is None else w for w in (weights, moving_weights))
    pair = PairOnGrid(fixed, moving, weights, moving_weights)
    open_faces = border_of(fixed, weights).open, border_of(moving, moving_weights).open
    pairs: tuple[PairOnGrid, ...] = (pair,)
    stages = []
    in_turn = settings.inverse == IN_TURN
    options = _Options(
        similarity,
        settings.smoothness,
        settings.jacobian,
        in_turn,
        0.0 if isinstance(settings.inverse, str) else settings.inverse,
        settings.ncc_window,
        settings.guide,
        settings.points,
    )
    guide = guide or GridGuide()
    departure: np.ndarray | jax.Array | None = start
    moves = np.array([1, 1, 0 if in_plane else 1], np.float32)
    levels = list(zip(settings.shrink, settings.steps, strict=True))
    if settings.similarity == MATCHED:
        # Contrasts are matched at the beginning of a level: once more where the images lie best.
        levels.append(levels[-1])
    for shrink, steps in levels:
        shape = _shrunk(fixed.shape, shrink)
        if math.prod(shape) > LARGE_LEVEL:
            steps = min(steps, settings.steps_of_large)
        velocity_grid = _shrunk(shape, settings.velocity_shrink)
        prior = settings.trust * _resampled(velocity, velocity_grid)
        begin = _resampled(departure, velocity_grid)
        size = np.asarray(spacing) * fixed.shape / velocity_grid
        if settings.similarity == MATCHED:
            # Anew at each level: the better the images lie, the more their grey values say of each other.
            so_far = None if departure is None else exponentials(np.asarray(prior + begin), fixed.shape)[0]
            pairs = match_contrast(pair, so_far)
        forms = [one.fixed for one in pairs], [one.moving for one in pairs]
        sides = [
            make_side(images, valid, faces, shape, similarity)
            for images, valid, faces in zip(forms, (weights, moving_weights), open_faces, strict=True)
        ]
        voxel = np.asarray(spacing) * fixed.shape / shape
        data = _Data(
            (sides[0], sides[1]),
            prior,
            jnp.asarray(size, jnp.float32),
            jnp.asarray(enlargement, jnp.float32),
            *(_classes_at(guide, weights * moving_weights, shape) if settings.guide else ((), ())),
            _points_at(guide, shape) if settings.points else (),
            jnp.asarray(voxel, jnp.float32),
            jnp.asarray(moves),
        )
        name = f'velocity at 1/{shrink}' if shrink > 1 else 'velocity at full size'
        minimum = minimise(
            _loss,
            begin,
            data,
            options,
            Schedule(steps, settings.learning_rate, settings.tolerance, DIRECTIONS if in_turn else 1),
            functools.partial(say_step, say, name, steps),
        )
        departure = minimum.params
        stages.append(minimum.stage(name))
    velocity = np.asarray((prior + departure) * moves)
    return InstanceResult(velocity, *exponentials(velocity, fixed.shape), tuple(stages))


def exponentials(velocity: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return the displacements of a velocity field and of its negative, its inverse.

    Args:
        velocity: (d, h, w, 3), in voxels of its own grid.
        shape: (D, H, W) of the grid, over the same field of view, on which the displacements are wanted.

    Returns:
        Two float32 (D, H, W, 3), in voxels of that grid.
    """
    return jax.device_get(_both_ways(jnp.asarray(velocity), shape=tuple(shape)))


def velocity_shape(shape: tuple[int, ...], shrink: int) -> tuple[int, ...]:
    """Return the shape of the velocity field that belongs to a grid."""
    return _shrunk(shape, shrink)


def _loss(departure: jax.Array, data: _Data, options: _Options, step: jax.Array) -> jax.Array:
    velocity = (data.prior + departure) * data.moves
    if options.in_turn:
        backward = step % DIRECTIONS == 1
        turned = jax.tree.map(lambda ahead, back: jnp.where(backward, back, ahead), data, _exchanged(data))
        value = _one_way(jnp.where(backward, -velocity, velocity), turned, options)
    else:
        value = _one_way(velocity, data, options)
        if options.inverse:
            back = _one_way(-velocity, _exchanged(data), options)
            value = (value + options.inverse * back) / (1.0 + options.inverse)
    roughness = gradient_penalty(departure, spacing=data.spacing)
    return value + options.smoothness * data.enlargement * roughness


def _exchanged(data: _Data) -> _Data:
    """The same with the moving image as the fixed one."""
    return data._replace(sides=data.sides[::-1], classes=data.classes[::-1], points=data.points[::-1])


def _one_way(velocity: jax.Array, data: _Data, options: _Options) -> jax.Array:
    """Loss of the map of a velocity, without smoothness."""
    fixed, moving = data.sides
    half = integrate_velocity(velocity)
    displacement = resample_displacement(half, fixed.valid.shape)
    similarity = similarity_of(options.similarity, fixed, moving, displacement, window=options.ncc_window)
    folding = negative_jacobian_loss(displacement, reduction='mean') if options.jacobian else 0.0
    value = data.enlargement * (-similarity + options.jacobian * folding)
    if data.classes:
        (fixed_map, moving_map), (weights,) = data.classes, data.class_weights
        there = resample_displacement(half, weights.shape)
        value += options.guide * class_guide_loss(fixed_map, moving_map, there, weights=weights)
    if data.points:
        fixed_points, moving_points = data.points
        apart = point_guide_loss(fixed_points, moving_points, displacement, spacing=data.voxel)
        value += options.points * apart
    return value


def _classes_at(
    guide: GridGuide, weights: np.ndarray, shape: tuple[int, ...]
) -> tuple[tuple[jax.Array, ...], tuple[jax.Array, ...]]:
    """Classes of both images and the weights of voxels at a level; nothing without classes."""
    if guide.fixed is None or guide.moving is None:
        return (), ()
    fixed, moving = (jnp.asarray(maps_at(maps, shape)) for maps in (guide.fixed, guide.moving))
    return (fixed, moving), (jnp.asarray(resize_image(weights, fixed.shape[:3])),)


def _points_at(guide: GridGuide, shape: tuple[int, ...]) -> tuple[jax.Array, ...]:
    """Points of both images in voxels of a level; nothing without points."""
    if guide.fixed_points is None or guide.moving_points is None:
        return ()
    size = np.asarray(shape)
    return tuple(jnp.asarray(points * size - 0.5, jnp.float32) for points in (guide.fixed_points, guide.moving_points))


def _exponentials(velocity: jax.Array, *, shape: tuple[int, ...]) -> tuple[jax.Array, jax.Array]:
    forward, backward = (resample_displacement(integrate_velocity(v), shape) for v in (velocity, -velocity))
    return forward, backward


_both_ways = KeptProgram(_exponentials, ('shape',), lambda velocity: (0, 0))


def _shrunk(shape: tuple[int, ...], factor: int) -> tuple[int, ...]:
    """Shape at a coarser level; short axes keep at least `SMALLEST_SIDE` voxels."""
    return tuple(max(-(-size // factor), min(size, SMALLEST_SIDE)) for size in shape)


def _resampled(velocity: np.ndarray | jax.Array | None, shape: tuple[int, ...]) -> jax.Array:
    """A velocity on another grid over the same field of view, zero for None."""
    if velocity is None:
        return jnp.zeros((*shape, 3), jnp.float32)
    return resample_displacement(jnp.asarray(velocity, jnp.float32), shape)
