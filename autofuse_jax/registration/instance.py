"""Instance optimisation: the stationary velocity field of one pair by gradient descent, from coarse to fine."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from autofuse_jax.data.resample import resize_image
from autofuse_jax.errors import UserError
from autofuse_jax.fields import integrate_velocity, resample_displacement, warp_linear
from autofuse_jax.losses.regularity import gradient_penalty, negative_jacobian_loss
from autofuse_jax.losses.similarity import NCC_WINDOW, local_ncc
from autofuse_jax.registration.minimise import Schedule, minimise

# Axes with fewer voxels than this are not halved any further.
SMALLEST_SIDE = 8


@dataclasses.dataclass(frozen=True)
class InstanceSettings:
    """How to optimise a velocity field.

    Attributes:
        shrink: Factor by which each level is coarser than the working grid, from coarse to fine; default 4, 2, 1.
        steps: Largest number of Adam steps of each level.
        learning_rate: Of the velocity, in its voxels, at the first step of a level.
        refining_rate: The same where a velocity is given to start from, which large steps would undo.
        smoothness: Weight of the mean squared gradient of the velocity.
        jacobian: Weight of the mean negative part of the Jacobian determinant.
        inverse: Weight w of the same similarity for the inverse map, which registers fixed to moving: each term becomes
            `(forward + w backward) / (1 + w)`. Twice the work of a step for a result that does not depend on which
            image is called fixed.
        ncc_window: Side of the correlation window in voxels of each level, odd.
        velocity_shrink: The velocity's voxels are this many times those of its level, as in the network.
        tolerance: See `Schedule`.
    """

    shrink: tuple[int, ...] = (4, 2, 1)
    steps: tuple[int, ...] = (60, 40, 20)
    learning_rate: float = 0.15
    refining_rate: float = 0.05
    smoothness: float = 1.0
    jacobian: float = 1.0
    inverse: float = 0.0
    ncc_window: int = NCC_WINDOW
    velocity_shrink: int = 2
    tolerance: float = 0.002

    def __post_init__(self):
        if len(self.shrink) != len(self.steps) or not self.shrink:
            raise UserError(
                f'instance optimisation has {len(self.shrink)} levels and {len(self.steps)} numbers of steps',
                expected='one number of steps for each level',
            )
        if min(self.steps) < 1 or min(self.shrink) < 1 or self.velocity_shrink < 1:
            raise UserError(
                f'levels {self.shrink}, steps {self.steps}, velocity {self.velocity_shrink}',
                expected='whole numbers of at least 1',
            )
        if self.ncc_window < 1 or self.ncc_window % 2 == 0:
            raise UserError(f'the correlation window is {self.ncc_window} voxels', expected='an odd number')
        for name in ('smoothness', 'jacobian', 'inverse', 'learning_rate', 'refining_rate'):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise UserError(f'{name} is {value}', expected='a number of at least 0')


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
    fixed: jax.Array  # (D, H, W, 1)
    moving: jax.Array  # (D, H, W, 1)
    weights: jax.Array  # (D, H, W)


class _Options(NamedTuple):
    """What the loss of a level is compiled for; see `InstanceSettings`."""

    smoothness: float
    jacobian: float
    inverse: float
    ncc_window: int


OnProgress = Callable[[str, int, int, float], None]


def optimise_instance(
    fixed: np.ndarray,
    moving: np.ndarray,
    settings: InstanceSettings | None = None,
    *,
    weights: np.ndarray | None = None,
    velocity: np.ndarray | None = None,
    on_progress: OnProgress | None = None,
) -> InstanceResult:
    """Find the velocity field whose exponential makes the moving image most similar to the fixed one.

    Each level minimises `-NCC(fixed, moving o exp(v)) + a |grad v|^2 + b max(-det J, 0)` by Adam; the velocity of a
    level is where the next finer one starts.

    Args:
        fixed: (D, H, W), in [0, 1].
        moving: (D, H, W), in [0, 1], on the same grid.
        settings: How; default `InstanceSettings()`.
        weights: (D, H, W), at least 0: how much each voxel counts for the similarity. None: all alike.
        velocity: (d, h, w, 3) to start from, in voxels of its own grid over the same field of view, such as that of a
            network; None starts from zero. With one only the last level is carried out: coarser ones would undo its
            detail.
        on_progress: Called with the level, steps done, steps at most and the loss.

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
    say = on_progress or (lambda *_: None)
    weights = np.ones(fixed.shape, np.float32) if weights is None else weights
    stages = []
    levels = list(zip(settings.shrink, settings.steps, strict=True))
    rate = settings.learning_rate
    if velocity is not None:
        levels, rate = levels[-1:], settings.refining_rate
    options = _Options(settings.smoothness, settings.jacobian, settings.inverse, settings.ncc_window)
    for shrink, steps in levels:
        shape = _shrunk(fixed.shape, shrink)
        data = _Data(*(jnp.asarray(resize_image(image, shape)) for image in (fixed, moving, weights)))
        data = data._replace(fixed=data.fixed[..., None], moving=data.moving[..., None])
        current = _start(velocity, _shrunk(shape, settings.velocity_shrink))
        name = f'velocity at 1/{shrink}' if shrink > 1 else 'velocity at full size'
        found = minimise(
            _loss,
            current,
            data,
            options,
            Schedule(steps, rate, settings.tolerance),
            lambda done, value, name=name, steps=steps: say(name, done, steps, value),
        )
        velocity = np.asarray(found.params)
        stages.append(found.stage(name))
    return InstanceResult(velocity, *exponentials(velocity, fixed.shape), tuple(stages))


def exponentials(velocity: np.ndarray, shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return the displacements of a velocity field and of its negative, its inverse.

    Args:
        velocity: (d, h, w, 3), in voxels of its own grid.
        shape: (D, H, W) of the grid, over the same field of view, on which the displacements are wanted.

    Returns:
        Two float32 (D, H, W, 3), in voxels of that grid.
    """
    return jax.device_get(_both_ways(jnp.asarray(velocity), shape=tuple(shape)))


def velocity_shape(shape: tuple[int, int, int], shrink: int) -> tuple[int, int, int]:
    """Return the shape of the velocity field that belongs to a grid."""
    return _shrunk(shape, shrink)


def _loss(velocity: jax.Array, data: _Data, options: _Options) -> jax.Array:
    def one_way(velocity: jax.Array, fixed: jax.Array, moving: jax.Array) -> jax.Array:
        displacement = resample_displacement(integrate_velocity(velocity), fixed.shape[:3])
        warped = warp_linear(moving, displacement)
        similarity = local_ncc(fixed, warped, window=options.ncc_window, weights=data.weights)
        folding = negative_jacobian_loss(displacement, reduction='mean') if options.jacobian else 0.0
        return -similarity + options.jacobian * folding

    value = one_way(velocity, data.fixed, data.moving)
    if options.inverse:
        backward = one_way(-velocity, data.moving, data.fixed)
        value = (value + options.inverse * backward) / (1.0 + options.inverse)
    return value + options.smoothness * gradient_penalty(velocity)


def _exponentials(velocity: jax.Array, *, shape: tuple[int, int, int]) -> tuple[jax.Array, jax.Array]:
    return tuple(resample_displacement(integrate_velocity(v), shape) for v in (velocity, -velocity))


_both_ways = jax.jit(_exponentials, static_argnames='shape')


def _shrunk(shape: tuple[int, ...], factor: int) -> tuple[int, ...]:
    """Shape at a coarser level; short axes keep at least `SMALLEST_SIDE` voxels."""
    return tuple(max(-(-size // factor), min(size, SMALLEST_SIDE)) for size in shape)


def _start(velocity: np.ndarray | None, shape: tuple[int, ...]) -> jax.Array:
    if velocity is None:
        return jnp.zeros((*shape, 3), jnp.float32)
    return resample_displacement(jnp.asarray(velocity, jnp.float32), shape)
