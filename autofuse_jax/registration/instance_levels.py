"""Levels of instance optimisation: how coarse the images and the velocity are at each, and how many steps it has."""

import math
from typing import NamedTuple

import numpy as np

from autofuse_jax.choices import MATCHED
from autofuse_jax.registration.guide import GridGuide
from autofuse_jax.registration.instance_settings import InstanceSettings

# Axes with fewer voxels than this are not halved any further.
SMALLEST_SIDE = 8
# Voxels above which a level is large.
LARGE_LEVEL = 1_500_000
# Along an axis whose voxels are larger than the finest ones by more than this factor, as those across thick slices are,
# a guide's classes come in steps, and a finer velocity follows the steps: twice the time, and no better overlap.
COARSE_AXIS = 1.5


class InstanceLevel(NamedTuple):
    """One level.

    Attributes:
        name: Name in reports.
        shape: (D, H, W) of the images.
        velocity_shape: (d, h, w) of the velocity, over the same field of view.
        steps: Largest number of steps.
    """

    name: str
    shape: tuple[int, ...]
    velocity_shape: tuple[int, ...]
    steps: int


def instance_levels(
    settings: InstanceSettings, shape: tuple[int, ...], extent: np.ndarray, guide: GridGuide | None
) -> list[InstanceLevel]:
    """Return the levels of a pair, from coarse to fine.

    Args:
        settings: Settings.
        shape: (D, H, W) of the pair's grid.
        extent: (3,), of that grid, in the unit of the spacing.
        guide: What guides the deformation besides the images; None: nothing.
    """
    factors_and_steps = list(zip(settings.shrink, settings.steps, strict=True))
    if settings.similarity == MATCHED:
        # Contrasts are matched at the beginning of a level: once more where the images lie best.
        factors_and_steps.append(factors_and_steps[-1])
    guided = guide is not None and guide.fixed is not None and bool(settings.guide)
    levels = []
    for shrink, steps in factors_and_steps:
        name = f'velocity at 1/{shrink}' if shrink > 1 else 'velocity at full size'
        at_level = _shrunk(shape, shrink)
        velocity = velocity_shape(at_level, settings.velocity_shrink)
        if math.prod(at_level) > LARGE_LEVEL:
            steps = min(steps, settings.steps_of_large)
        elif guided:
            fine = velocity_shape(at_level, settings.guided_velocity_shrink)
            velocity = _finer_where_detailed(velocity, fine, extent / at_level)
        levels.append(InstanceLevel(name, at_level, velocity, steps))
    return levels


def velocity_shape(shape: tuple[int, ...], shrink: int) -> tuple[int, ...]:
    """Return the shape of the velocity field that belongs to a grid."""
    return _shrunk(shape, shrink)


def _finer_where_detailed(coarse: tuple[int, ...], fine: tuple[int, ...], voxel: np.ndarray) -> tuple[int, ...]:
    """Shape that is the fine one along the axes whose voxels, of sizes (3,), are small enough, and else the coarse."""
    return tuple(np.where(voxel <= COARSE_AXIS * voxel.min(), fine, coarse).tolist())


def _shrunk(shape: tuple[int, ...], factor: int) -> tuple[int, ...]:
    """Shape at a coarser level; short axes keep at least `SMALLEST_SIDE` voxels."""
    return tuple(max(-(-size // factor), min(size, SMALLEST_SIDE)) for size in shape)
