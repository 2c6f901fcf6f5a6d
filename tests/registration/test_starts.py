"""Starts of an alignment: rotations that are tried, large ones that are found, mirror images that are noticed."""

import dataclasses

import numpy as np
import pytest

from autofuse_jax.registration.alignment import AlignmentSettings, align
from autofuse_jax.registration.rotations import axis_rotations, degrees_apart, rotation_about, start_rotations
from autofuse_jax.transforms.grids import grid_points
from autofuse_jax.transforms.maps import AffineTransform
from tests.registration.scenes import centred_grid, picture, world_difference

GRID = centred_grid((24, 28, 22), (4.0, 4.0, 4.0))
SETTINGS = AlignmentSettings(kind='rigid', similarity='ncc', spacings=(8.0, 4.0), steps=(40, 30), exact_steps=0)


def lopsided(points):
    """The scene without any symmetry: one end of it is drawn out."""
    return points * (1 + 0.35 * np.tanh(points / 30.0)) + 4.0 * np.sin(points[..., [1, 2, 0]] / 15.0)


def pair(rotation):
    """The same picture twice, the header of the second turned."""
    fixed = picture(GRID, lopsided, texture=True)
    matrix = np.eye(4)
    matrix[:3, :3] = rotation
    return fixed, dataclasses.replace(fixed, affine=matrix @ fixed.affine, name='turned'), matrix


def test_every_way_to_turn_a_box_is_tried():
    rotations = axis_rotations()
    assert len({tuple(matrix.ravel()) for matrix in rotations}) == 24
    np.testing.assert_array_equal(rotations[0], np.eye(3))
    for matrix in start_rotations():
        np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(matrix) == pytest.approx(1)
    assert len(start_rotations()) == 24 * 7


def test_angles_between_rotations():
    assert degrees_apart(rotation_about(0, 25), rotation_about(0, -15)) == pytest.approx(40)
    assert degrees_apart(np.eye(3), np.diag([-1.0, -1.0, 1.0])) == pytest.approx(180)


@pytest.mark.parametrize(
    'rotation',
    [
        pytest.param(np.diag([-1.0, -1.0, 1.0]), id='upside down'),
        pytest.param(axis_rotations()[7], id='axes exchanged', marks=pytest.mark.slow),
    ],
)
def test_a_wrong_orientation_is_found(rotation):
    fixed, moving, truth = pair(rotation)
    found = align(fixed, moving, SETTINGS)
    assert found.start == 'rotations'
    assert world_difference(AffineTransform(found.matrix), truth, GRID) < 1.0
    by_header = align(fixed, moving, dataclasses.replace(SETTINGS, start='header'))
    assert world_difference(AffineTransform(by_header.matrix), truth, GRID) > 10


def test_a_good_header_is_not_searched_and_a_mirror_image_is_noticed():
    fixed, moving, _ = pair(np.eye(3))
    found = align(fixed, moving, SETTINGS)
    assert found.start == 'header' and found.mirrored < 0.9
    assert not any(stage['name'].startswith('rotations') for stage in found.stages)
    fixed, mirrored, _ = pair(np.diag([1.0, -1.0, 1.0]))
    assert align(fixed, mirrored, SETTINGS).mirrored > 1.05


def test_an_image_is_aligned_to_itself_by_the_identity():
    fixed = picture(GRID, texture=True)
    found = align(fixed, fixed, AlignmentSettings(spacings=(8.0, 4.0), steps=(40, 30), exact_steps=0))
    points = grid_points(GRID).reshape(-1, 3)
    assert np.abs(AffineTransform(found.matrix).map_points(points) - points).max() < 0.01 * 4.0
