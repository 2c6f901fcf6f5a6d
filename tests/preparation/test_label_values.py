import numpy as np
import pytest

from autofuse_jax.preparation.label_values import looks_like_labels
from tests.preparation.brain_trees import SHAPE, image, labels


def test_label_maps_are_known_by_their_values():
    assert looks_like_labels(labels())
    assert looks_like_labels(labels().astype(np.float32) * 20)
    assert looks_like_labels((labels() > 0).astype(np.uint8))
    # More of the structure than around it.
    assert looks_like_labels((labels() == 0).astype(np.uint8))


@pytest.mark.parametrize('levels', [8, 200, 1500])
def test_images_of_whole_numbers_are_none(levels):
    assert not looks_like_labels((image(0).astype(np.float64) * levels / 1500).astype(np.int16))


def test_fractions_and_missing_values_are_in_no_label_map():
    values = labels().astype(np.float32)
    assert not looks_like_labels(np.where(values > 0, values + 0.5, 0))
    values[0, 0, 0] = np.nan
    assert not looks_like_labels(values)


def test_without_neighbours_there_is_nothing_to_tell_it_by():
    one = np.zeros(SHAPE, np.uint8)
    one[5, 5, 5] = 1
    assert not looks_like_labels(one)
