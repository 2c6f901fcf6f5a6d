"""Points that guide: those outside of their image, and their distances before and after."""

import numpy as np
import pytest

from autofuse_jax.registration.guide import Guide
from autofuse_jax.registration.guide_points import point_evidence, point_record, point_sentence
from autofuse_jax.transforms.grids import ImageGrid
from autofuse_jax.transforms.maps import AffineTransform

FIXED = ImageGrid((10, 10, 10), np.diag([2.0, 2.0, 4.0, 1.0]))
MOVING = ImageGrid((20, 20, 20), np.diag([1.0, 1.0, 2.0, 1.0]))
POINTS = np.array([[4.0, 4.0, 8.0], [-4.0, -4.0, 8.0]])


def shift(*millimetres):
    matrix = np.eye(4)
    matrix[:3, 3] = millimetres
    return AffineTransform(matrix)


def test_points_outside_and_distances_are_counted():
    guide = Guide(fixed_points=POINTS, moving_points=np.abs(POINTS) + [0.0, 3.0, 0.0])
    record = point_record(guide, FIXED, MOVING, shift(0.0, 3.0, 0.0))
    far = np.hypot(8, 11), np.hypot(8, 8)
    assert record['points_outside'] == {'fixed': 1, 'moving': 0}
    assert record['points_mm'] == pytest.approx({'before': (3 + far[0]) / 2, 'after': far[1] / 2})
    assert point_evidence(record, 2.0) == pytest.approx(
        {'points_outside': 1, 'points_growth': (far[1] - 3 - far[0]) / 4}
    )
    assert point_sentence(record) == ', on average 8.30 mm apart before and 5.66 mm after, 1 outside of the fixed image'


def test_a_transform_that_takes_points_apart_is_seen():
    guide = Guide(fixed_points=POINTS[:1], moving_points=POINTS[:1])
    record = point_record(guide, FIXED, MOVING, shift(0.0, 0.0, 5.0))
    assert point_evidence(record, 2.0) == {'points_outside': 0, 'points_growth': 2.5}
    assert 'outside' not in point_sentence(record)


def test_without_points_there_is_nothing_to_say():
    assert (
        point_record(None, FIXED, MOVING, shift(0, 0, 0)) == {} == point_record(Guide(), FIXED, MOVING, shift(0, 0, 0))
    )
    assert point_evidence({}, 1.0) == {}
