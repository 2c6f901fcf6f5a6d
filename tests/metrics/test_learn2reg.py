"""Numbers of Learn2Reg, against a direct computation of what its rules say."""

import numpy as np
import pytest
from scipy import ndimage

from autofuse_jax.metrics.folding import central_determinant, sdlogj
from autofuse_jax.metrics.learn2reg import labels_in_both, sample_labels_between_centres, sdlogj_of_shifted

SHAPE = (9, 8, 10)


def learn2reg_sdlogj(field):
    return sdlogj_of_shifted(central_determinant(field, margin=2))


def test_sdlogj_against_a_direct_computation():
    field = np.random.default_rng(0).normal(scale=0.8, size=(*SHAPE, 3))
    # Central differences as a correlation with (-1/2, 0, 1/2), then two voxels cut off at each side.
    gradient = np.empty((*SHAPE, 3, 3))
    for component in range(3):
        for axis in range(3):
            gradient[..., component, axis] = ndimage.correlate1d(
                field[..., component], [-0.5, 0.0, 0.5], axis=axis, mode='constant'
            )
    determinant = np.linalg.det(np.eye(3) + gradient)[2:-2, 2:-2, 2:-2]
    assert (determinant < 0).any()  # so that shifting and clipping matter
    expected = np.log((determinant + 3).clip(1e-9, 1e9)).std()
    assert learn2reg_sdlogj(field) == pytest.approx(expected, rel=1e-12)


def test_sdlogj_golden_number():
    # Made voxel by voxel, with the determinant of a 3 x 3 matrix each.
    i, j, k = np.indices(SHAPE).astype(float)
    field = np.stack([np.sin(0.9 * i + 0.2 * j), 0.7 * np.cos(0.8 * j - 0.3 * k), 0.5 * np.sin(0.7 * k + 0.4 * i)], -1)
    assert learn2reg_sdlogj(field) == pytest.approx(0.14025901850704836, rel=1e-12)


def test_offset_makes_the_value_smaller():
    # u = a d^2 / 2 along the first axis: determinants 1 + a d with central differences.
    field = np.zeros((9, 9, 9, 3))
    field[..., 0] = 0.1 * np.arange(9)[:, None, None] ** 2 / 2
    determinant = 1 + 0.1 * np.arange(2, 7)
    assert learn2reg_sdlogj(field) == pytest.approx(np.log(determinant + 3).std())
    assert learn2reg_sdlogj(field) < sdlogj(determinant)


def test_beyond_the_outermost_centres_is_background():
    labels = np.full((4, 4, 4), 7, np.uint8)
    positions = np.full((3, 6), 1.0)
    positions[0] = [-0.4, -0.001, 0.0, 3.0, 3.001, 3.4]
    assert sample_labels_between_centres(labels, positions).tolist() == [0, 0, 7, 7, 0, 0]


def test_halves_are_rounded_up():
    labels = np.arange(1, 5, dtype=np.int16)[:, None, None] * np.ones((1, 3, 3), np.int16)
    positions = np.ones((3, 4))
    positions[0] = [0.5, 1.5, 2.5, 1.49]
    assert sample_labels_between_centres(labels, positions).tolist() == [2, 3, 4, 2]


def test_only_labels_of_both_maps_are_scored():
    assert labels_in_both(np.array([0, 3, 1]), np.array([1, 2, 3]), [1, 2, 3, 9]) == [1, 3]
