"""Ids, sizes and names of structures."""

import math

import numpy as np
import pytest

from autofuse_jax.metrics.structures import (
    LARGEST_TABLED,
    label_ids,
    mean_over_structures,
    structure_names,
    voxel_counts,
)


@pytest.mark.parametrize('largest', [5, LARGEST_TABLED, LARGEST_TABLED + 1, 2_000_000_000])
def test_voxels_are_counted_in_a_table_and_by_sorting(largest):
    labels = np.array([[[0, 3, 3], [largest, 0, 0]]], np.int64)
    assert voxel_counts(labels) == {0: 3, 3: 2, largest: 1}
    assert list(voxel_counts(labels)) == [0, 3, largest]


def test_negative_ids_are_counted_and_nothing_is_nothing():
    assert voxel_counts(np.array([-2, 0, -2], np.int16)) == {-2: 2, 0: 1}
    assert voxel_counts(np.zeros((0, 3, 3), np.uint8)) == {}


def test_labels_of_all_maps_but_not_the_background():
    assert label_ids(np.array([0, 3], np.uint8), None, np.array([1, 0], np.int32)) == [1, 3]
    assert label_ids(np.zeros((2, 2, 2), int)) == label_ids() == []


def test_names_in_the_order_of_the_ids():
    names = structure_names([7, 0, 2], {0: 'background', 2: 'heart', 9: 'elsewhere'})
    assert names == {7: 'label 7', 2: 'heart'} and list(names) == [7, 2]


def test_structures_of_one_name_are_told_apart():
    classes = {1: 'heart', 2: 'heart', 3: 'left wall', 4: 'left_wall', 5: 'all', 6: 'lung'}
    names = structure_names(classes, classes, taken=('all',))
    assert list(names.values()) == [
        'heart (label 1)',
        'heart (label 2)',
        'left wall (label 3)',
        'left_wall (label 4)',
        'all (label 5)',
        'lung',
    ]


def test_mean_skips_what_is_no_number():
    assert mean_over_structures({1: 0.25, 2: math.nan, 3: 0.75}) == 0.5
    assert math.isnan(mean_over_structures({1: math.nan})) and math.isnan(mean_over_structures({}))
