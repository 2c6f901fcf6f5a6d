"""What instance optimisation minimises at one level: similarity, roughness, folding, and what a guide adds."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from autofuse_jax.choices import IN_TURN
from autofuse_jax.data.resample import resize_image
from autofuse_jax.fields import integrate_velocity, resample_displacement
from autofuse_jax.losses.guide import class_guide_loss, point_guide_loss
from autofuse_jax.losses.regularity import gradient_penalty, negative_jacobian_loss
from autofuse_jax.registration.guide import GridGuide, maps_at
from autofuse_jax.registration.instance_settings import InstanceSettings
from autofuse_jax.registration.sides import Side, similarity_of

# Directions in which a pair is registered.
DIRECTIONS = 2


class LevelData(NamedTuple):
    """The pair at one level, as the loss sees it."""

    sides: tuple[Side, ...]  # the fixed and the moving image
    prior: jax.Array  # (d, h, w, 3), the velocity to start from
    spacing: jax.Array  # (3,), of the velocity's voxels
    enlargement: jax.Array  # voxels of the grid over those of the field of view
    classes: tuple[jax.Array, ...]  # (d, h, w, C) of the fixed and the moving image; or nothing
    class_weights: tuple[jax.Array, ...]  # (d, h, w), or nothing
    points: tuple[jax.Array, ...]  # (N, 3) of the fixed and the moving image in voxels of the level; or nothing
    voxel: jax.Array  # (3,), size of the level's voxels in millimetres
    moves: jax.Array  # (3,), 1 for directions in which anything may move, 0 for others


class LossOptions(NamedTuple):
    """What the loss of a level is compiled for; see `InstanceSettings`."""

    similarity: str
    smoothness: float
    jacobian: float
    in_turn: bool
    inverse: float
    ncc_window: int
    guide: float
    points: float

    @classmethod
    def of(cls, settings: InstanceSettings, similarity: str) -> 'LossOptions':
        """Return the options of settings, with the similarity that was chosen."""
        inverse = settings.inverse
        return cls(
            similarity,
            settings.smoothness,
            settings.jacobian,
            inverse == IN_TURN,
            0.0 if isinstance(inverse, str) else inverse,
            settings.ncc_window,
            settings.guide,
            settings.points,
        )


def instance_loss(departure: jax.Array, data: LevelData, options: LossOptions, step: jax.Array) -> jax.Array:
    """Return the loss of a departure from the prior's velocity, see `instance.optimise_instance`.

    Args:
        departure: (d, h, w, 3), in voxels of its own grid.
        data: The pair.
        options: What is compiled in.
        step: Number of the step, for losses in turn.
    """
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


def _exchanged(data: LevelData) -> LevelData:
    """The same with the moving image as the fixed one."""
    return data._replace(sides=data.sides[::-1], classes=data.classes[::-1], points=data.points[::-1])


def _one_way(velocity: jax.Array, data: LevelData, options: LossOptions) -> jax.Array:
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


def classes_at(
    guide: GridGuide, weights: np.ndarray, shape: tuple[int, ...]
) -> tuple[tuple[jax.Array, ...], tuple[jax.Array, ...]]:
    """Classes of both images and the weights of voxels at a level; nothing without classes."""
    if guide.fixed is None or guide.moving is None:
        return (), ()
    fixed, moving = (jnp.asarray(maps_at(maps, shape)) for maps in (guide.fixed, guide.moving))
    return (fixed, moving), (jnp.asarray(resize_image(weights, fixed.shape[:3])),)


def points_at(guide: GridGuide, shape: tuple[int, ...]) -> tuple[jax.Array, ...]:
    """Points of both images in voxels of a level; nothing without points."""
    if guide.fixed_points is None or guide.moving_points is None:
        return ()
    size = np.asarray(shape)
    return tuple(jnp.asarray(points * size - 0.5, jnp.float32) for points in (guide.fixed_points, guide.moving_points))
