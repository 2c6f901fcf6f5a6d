"""The affine part of a displacement field."""

import numpy as np
import pytest

from autofuse_jax.metrics.affine_part import affine_part

POINTS = np.stack(np.meshgrid(range(5), range(6), range(7), indexing='ij'), axis=-1).reshape(-1, 3).astype(float)


def test_an_affine_field_leaves_nothing():
    # 30 degrees about the last axis in millimetres, volume x 1.1^3, on voxels of 1 x 2 x 3 mm.
    spacing = np.array([1.0, 2.0, 3.0])
    angle = np.radians(30)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    matrix = 1.1 * turn * spacing / spacing[:, None]
    middle = POINTS.mean(axis=0)
    moved = (POINTS - middle) @ matrix.T + middle + [3.0, 0.0, 4.0 / 3.0]
    part = affine_part(POINTS, moved - POINTS, tuple(spacing))
    np.testing.assert_allclose(part.matrix, matrix, atol=1e-12)
    assert part.rotation_degrees == pytest.approx(30)
    assert part.volume_factor == pytest.approx(1.331)
    # (3, 0, 4/3) voxels are 3 and 4 mm.
    assert part.shift_mm == pytest.approx(5.0)
    assert part.rest_max_mm == pytest.approx(0.0, abs=1e-10)


def test_the_rest_comes_before_the_affine():
    rest = np.zeros_like(POINTS)
    rest[100] = [0.5, 0.0, 0.0]
    matrix, offset = np.diag([2.0, 1.0, 1.0]), np.array([10.0, 0.0, 0.0])
    displacement = (POINTS + rest) @ matrix.T + offset - POINTS
    part = affine_part(POINTS, displacement, (4.0, 1.0, 1.0))
    found = part.rest(POINTS, displacement)
    # One point of 210 hardly moves the fit: what is left of it is about half a voxel of 4 mm.
    np.testing.assert_allclose(found[100], rest[100], atol=0.02)
    assert np.abs(np.delete(found, 100, axis=0)).max() < 0.02
    assert part.rest_max_mm == pytest.approx(2.0, abs=0.05)
    assert part.rest_mean_mm < 0.05


def test_an_axis_of_one_voxel_is_left_as_it_is():
    flat = POINTS[POINTS[:, 2] == 0]
    part = affine_part(flat, np.full_like(flat, 2.0), (1.0, 1.0, 1.0))
    np.testing.assert_allclose(part.matrix, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(part.offset, 2.0)
