"""Grids in words."""

import numpy as np

from autofuse_jax.transforms.grid_words import describe_difference, describe_grid
from autofuse_jax.transforms.grids import ImageGrid
from tests.transforms.examples import grid, turned


def shifted(on, millimetres):
    affine = on.affine.copy()
    affine[0, 3] += millimetres
    return ImageGrid(on.shape, affine)


def test_a_grid_alone():
    assert describe_grid(grid((128, 128, 32), (1.5, 1.5, 3.15))) == '128x128x32, 1.5x1.5x3.15 mm'


def test_two_grids_never_read_the_same():
    on = ImageGrid((34, 52, 35), np.diag([1.0, 1, 1, 1]))
    for other in (
        shifted(on, 0.06),
        shifted(on, 3e-4),
        ImageGrid(on.shape, np.diag([1.00002, 1, 1, 1])),
        ImageGrid((34, 52, 36), on.affine),
    ):
        here, there, _ = describe_difference(on, other)
        assert here != there
    assert describe_difference(on, shifted(on, 0.06))[2] == '; corners are up to 0.06 mm apart, 0.06 of a voxel'
    assert describe_difference(on, ImageGrid((34, 52, 36), on.affine))[2] == ''


def test_directions_that_differ_are_told_in_degrees():
    one, other = (grid((9, 9, 9), (1, 1, 1), turn=turned(angle, 0)) for angle in (0, 0.5))
    assert 'axes up to 0.5 degrees' in describe_difference(one, other)[2]
