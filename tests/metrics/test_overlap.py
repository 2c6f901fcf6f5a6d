"""Dice similarity coefficient."""

import math

import numpy as np
import pytest

from autofuse_jax.metrics.overlap import dice_per_label
from autofuse_jax.metrics.structures import mean_over_structures


def test_hand_worked_scores():
    fixed = np.array([[[1, 1, 2, 2, 0, 4]]], np.uint8)
    warped = np.array([[[1, 2, 2, 2, 0, 0]]], np.int32)
    scores = dice_per_label(fixed, warped, [0, 1, 2, 3, 4])
    # Label 1: one voxel in common, 2 + 1 voxels: 2 * 1 / 3. Label 2: two in common, 2 + 3 voxels: 2 * 2 / 5.
    # Label 3: in neither. Label 4: in the fixed map only. Background: never scored.
    assert list(scores) == [1, 2, 3, 4]
    assert scores[1] == pytest.approx(2 / 3)
    assert scores[2] == pytest.approx(4 / 5)
    assert math.isnan(scores[3])
    assert scores[4] == 0
    # (2/3 + 4/5 + 0) / 3 = 22/45.
    assert mean_over_structures(scores) == pytest.approx(22 / 45)


def test_label_only_in_the_warped_map_scores_zero():
    assert dice_per_label(np.zeros((2, 2, 2), int), np.ones((2, 2, 2), int), [1]) == {1: 0.0}


def test_equal_maps_score_one_and_disjoint_maps_zero():
    labels = np.random.default_rng(0).integers(0, 4, size=(6, 5, 4))
    assert mean_over_structures(dice_per_label(labels, labels, range(4))) == 1
    shifted = np.where(labels > 0, labels % 3 + 1, 0)
    assert mean_over_structures(dice_per_label(labels, shifted, range(4))) == 0


def test_score_does_not_depend_on_the_order_of_the_maps():
    rng = np.random.default_rng(1)
    first, second = rng.integers(0, 3, size=(2, 5, 5, 5))
    assert dice_per_label(first, second, [1, 2]) == dice_per_label(second, first, [1, 2])


def test_nothing_to_score_is_nan():
    empty = np.zeros((2, 2, 2), int)
    assert math.isnan(mean_over_structures(dice_per_label(empty, empty, [1, 2])))
    assert math.isnan(mean_over_structures({}))


def test_unequal_shapes_and_real_numbers_are_refused():
    with pytest.raises(ValueError, match=r'\(2, 2, 2\) and \(2, 2, 3\)'):
        dice_per_label(np.zeros((2, 2, 2), int), np.zeros((2, 2, 3), int), [1])
    with pytest.raises(ValueError, match='nearest sampling'):
        dice_per_label(np.zeros((2, 2, 2), int), np.zeros((2, 2, 2)), [1])
