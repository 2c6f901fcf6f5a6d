"""How the heart of the cine phantom moves: smooth, invertible, known everywhere, zero at the border of the volume.

The motion is a chain of maps x -> x + v(x). Each v falls off smoothly around the heart and is multiplied by a window
that is zero on the faces of the volume. The ranges of the strengths keep the slope of each v below one, so each map has
a positive Jacobian determinant and fixed point iteration inverts it.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

from autofuse_jax.data.phantom_anatomy import Anatomy, heart_axes, left_ellipsoid

# Iteration stops when no point moves by more than this (scaled units; a voxel is about 0.04).
INVERSION_TOLERANCE = 1e-10
INVERSION_STEPS = 300
# Falloff distances g0 of exp(-(g / g0)^4), in units where the relaxed inner wall is at g = 1. In the contracted left
# ventricle the inner wall is at about 0.65 and the outer one at 1.25, stretched by 0.9 and 0.2 of the gain: this keeps
# the volume of the wall nearly constant.
LEFT_REACH = 1.12
RIGHT_REACH = 1.05
# Width, in scaled units, over which the motion of the right ventricle sets in beside the septum.
SEPTUM_SOFTNESS = 0.08
# Power of the border window 1 - |n|^6: flat over the heart, steep near the faces.
WINDOW_POWER = 6


@dataclasses.dataclass(frozen=True)
class Motion:
    """Strength of one phantom's heart beat at full contraction.

    Attributes:
        left_gain: Radial stretch that takes the contracted left ventricle back to its relaxed size, 0 to 0.7.
        right_gain: Stretch that takes the free wall of the right ventricle back from the septum, 0 to 0.8.
        twist: Rotation of the apex against the base around the long axis, in radians, 0 to 0.3.
        shortening: Descent of the valve plane towards the apex, in units of half the stack, 0 to 0.2.
    """

    left_gain: float
    right_gain: float
    twist: float
    shortening: float


def random_motion(rng: np.random.Generator, anatomy: Anatomy) -> Motion:
    """Draw a beat with an ejection fraction of the left ventricle of about 52 to 65 %.

    With volume proportional to radius^2 * length, an ejection fraction E and a relative shortening s ask for a ratio
    of inner radii k = sqrt((1 - s) / (1 - E)); the gain follows from k - 1 = gain * exp(-(1 / (k * reach))^4).

    Args:
        rng: Source of all randomness.
        anatomy: Anatomy of the subject.

    Returns:
        The motion.
    """
    ejection = rng.uniform(0.52, 0.65)
    shortening = rng.uniform(0.14, 0.20)
    relative = shortening / (anatomy.base - anatomy.apex)
    ratio = np.sqrt((1 - relative) / (1 - ejection))
    return Motion(
        left_gain=float((ratio - 1) / np.exp(-((1 / (ratio * LEFT_REACH)) ** 4))),
        right_gain=rng.uniform(0.60, 0.75),
        twist=rng.uniform(0.12, 0.26),
        shortening=shortening,
    )


def to_reference(
    anatomy: Anatomy, motion: Motion, points: np.ndarray, amount: float, extent: tuple[float, float, float]
) -> np.ndarray:
    """Map points of a frame to where the same tissue lies at the end of diastole.

    Args:
        anatomy: Anatomy of the subject.
        motion: Motion of the heart.
        points: (..., 3) scaled coordinates in the frame.
        amount: Contraction of the frame, 0 (end of diastole) to 1 (end of systole).
        extent: Scaled coordinate of the outermost voxel centres along each axis; nothing moves there.

    Returns:
        (..., 3) scaled coordinates in the reference state.
    """
    for velocity in _chain(anatomy, motion, amount, extent):
        points = points + velocity(points)
    return points


def from_reference(
    anatomy: Anatomy, motion: Motion, points: np.ndarray, amount: float, extent: tuple[float, float, float]
) -> np.ndarray:
    """Invert `to_reference`: solve y + v(y) = x by y <- x - v(y), for the maps of the chain in reverse order.

    Args:
        anatomy: Anatomy of the subject.
        motion: Motion of the heart.
        points: (..., 3) scaled coordinates in the reference state.
        amount: Contraction of the frame to go to, 0 to 1.
        extent: Largest coordinates, as in `to_reference`.

    Returns:
        (..., 3) scaled coordinates in the frame.

    Raises:
        ArithmeticError: The iteration does not converge, which happens only outside the ranges of `Motion`.
    """
    for velocity in reversed(_chain(anatomy, motion, amount, extent)):
        points = _solve(velocity, points)
    return points


def _chain(
    anatomy: Anatomy, motion: Motion, amount: float, extent: tuple[float, float, float]
) -> list[Callable[[np.ndarray], np.ndarray]]:
    """The maps from a frame to the reference, in the order in which they apply."""
    if amount == 0:
        return []
    middle, half = left_ellipsoid(anatomy)
    outer_radius = anatomy.radius + anatomy.wall
    cosine, sine = np.cos(anatomy.rotation), np.sin(anatomy.rotation)

    def window(points: np.ndarray) -> np.ndarray:
        return np.prod(1 - np.minimum(np.abs(points / np.asarray(extent)), 1) ** WINDOW_POWER, axis=-1)

    def in_plane(along: np.ndarray, across: np.ndarray) -> np.ndarray:
        """Turn (p, q) components into (x, y, z) components."""
        return np.stack([cosine * along - sine * across, sine * along + cosine * across, np.zeros_like(along)], axis=-1)

    def lengthen(points: np.ndarray) -> np.ndarray:
        p, q, z = heart_axes(anatomy, points)
        # Strongest at the valve plane of the contracted heart; the apex stays where it is.
        plane = anatomy.base - amount * motion.shortening
        strength = np.exp(-(((z - plane) / 0.55) ** 2)) * np.exp(-((np.hypot(p - 0.2, q) / 0.85) ** 4))
        shift = amount * motion.shortening * strength * window(points)
        # Along the long axis, which the tilt inclines.
        return np.stack([anatomy.tilt[0] * shift, anatomy.tilt[1] * shift, shift], axis=-1)

    def untwist(points: np.ndarray) -> np.ndarray:
        p, q, z = heart_axes(anatomy, points)
        # The apex turns one way and the base a third as much the other way.
        profile = np.tanh((anatomy.base - z) / (anatomy.base - anatomy.apex) * 2 - 0.35)
        angle = -amount * motion.twist * profile * np.exp(-((np.hypot(p, q) / (1.3 * outer_radius)) ** 4))
        angle = angle * window(points)
        return in_plane((np.cos(angle) - 1) * p - np.sin(angle) * q, np.sin(angle) * p + (np.cos(angle) - 1) * q)

    def widen_left(points: np.ndarray) -> np.ndarray:
        p, q, z = heart_axes(anatomy, points)
        distance = np.sqrt((p**2 + q**2) / anatomy.radius**2 + ((z - middle) / half) ** 2)
        stretch = amount * motion.left_gain * np.exp(-((distance / LEFT_REACH) ** 4)) * window(points)
        return in_plane(stretch * p, stretch * q)

    def widen_right(points: np.ndarray) -> np.ndarray:
        p, q, z = heart_axes(anatomy, points)
        along, across = anatomy.right_size
        distance = np.sqrt(((p - anatomy.right_offset) / along) ** 2 + (q / across) ** 2 + ((z - middle) / half) ** 2)
        stretch = amount * motion.right_gain * np.exp(-((distance / RIGHT_REACH) ** 4)) * window(points)
        # The free wall moves towards the septum, which belongs to the left ventricle: a ramp that starts there.
        beyond = (p - outer_radius) / SEPTUM_SOFTNESS
        return in_plane(
            stretch * SEPTUM_SOFTNESS * np.logaddexp(0, beyond), 0.5 * stretch * q * 0.5 * (1 + np.tanh(beyond / 2))
        )

    return [lengthen, untwist, widen_left, widen_right]


def _solve(velocity: Callable[[np.ndarray], np.ndarray], points: np.ndarray) -> np.ndarray:
    """Solve y + v(y) = x for y."""
    guess = points
    for _ in range(INVERSION_STEPS):
        better = points - velocity(guess)
        change = np.abs(better - guess).max()
        guess = better
        if change < INVERSION_TOLERANCE:
            return guess
    raise ArithmeticError(f'inverting the phantom motion stopped at a change of {change:.1e} scaled units')
