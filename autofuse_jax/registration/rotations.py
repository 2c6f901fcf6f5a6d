"""Rotations from which an alignment may start: all ways to turn a box onto its axes, each with turns around it."""

import itertools

import numpy as np

# Turns about each axis around every axis-aligned orientation, degrees: what lies between is within reach of a descent.
RING_DEGREES = (-40.0, 40.0)
# Rotations closer than this lead to the same place.
SAME_DEGREES = 30.0


def axis_rotations(*, in_plane: bool = False) -> np.ndarray:
    """Return the 24 rotations that map the axes onto themselves, the identity first, float64 (24, 3, 3).

    Args:
        in_plane: Only the 4 about the third axis; default False.
    """
    found = []
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1.0, -1.0), repeat=3):
            matrix = np.eye(3)[list(order)] * np.asarray(signs)[:, None]
            if np.linalg.det(matrix) > 0:
                found.append(matrix)
    found = [matrix for matrix in found if matrix[2, 2] == 1] if in_plane else found
    return np.stack(sorted(found, key=lambda matrix: -np.trace(matrix)))


def rotation_about(axis: int, degrees: float) -> np.ndarray:
    """Return the rotation about an axis.

    Args:
        axis: 0, 1 or 2.
        degrees: Angle.

    Returns:
        float64 (3, 3).
    """
    first, second = [other for other in range(3) if other != axis]
    angle = np.radians(degrees)
    matrix = np.eye(3)
    matrix[[first, second], [first, second]] = np.cos(angle)
    matrix[first, second], matrix[second, first] = -np.sin(angle), np.sin(angle)
    return matrix


def start_rotations(*, in_plane: bool = False) -> np.ndarray:
    """Return every rotation that a search tries, (168, 3, 3): 24 along the axes, each also turned about each axis.

    Args:
        in_plane: Only the 12 about the third axis; default False.
    """
    axes = (2,) if in_plane else range(3)
    turns = [np.eye(3), *(rotation_about(axis, angle) for axis in axes for angle in RING_DEGREES)]
    return np.stack([turn @ rotation for rotation in axis_rotations(in_plane=in_plane) for turn in turns])


def degrees_apart(first: np.ndarray, second: np.ndarray) -> float:
    """Return the angle of the rotation between two rotations.

    Args:
        first: (3, 3).
        second: (3, 3).
    """
    cosine = (np.trace(first.T @ second) - 1) / 2
    return float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))
