"""Independent probabilities of structures as class probabilities."""

import jax.numpy as jnp
import numpy as np
import pytest

from autofuse_jax.errors import UserError
from autofuse_jax.models.class_probabilities import check_num_classes, normalised, with_background

# No structure reaches 1/2; one does; two do.
FOREGROUND = jnp.asarray([[0.4, 0.1], [0.2, 0.7], [0.9, 0.8]])


def test_background_by_hand():
    expected = [[0.6, 0.4, 0.1], [0.3, 0.2, 0.7], [0.1, 0.9, 0.8]]
    np.testing.assert_allclose(with_background(FOREGROUND), expected, rtol=1e-6)


def test_background_wins_where_no_structure_reaches_one_half():
    np.testing.assert_array_equal(jnp.argmax(with_background(FOREGROUND), axis=-1), [0, 2, 1])


def test_one_structure_is_a_pair_that_sums_to_one():
    np.testing.assert_allclose(with_background(jnp.asarray([[0.3]])), [[0.7, 0.3]], rtol=1e-6)


def test_normalised_sums_to_one_in_the_same_order():
    raw = with_background(FOREGROUND)
    probabilities = normalised(raw)
    np.testing.assert_allclose(probabilities.sum(axis=-1), 1, rtol=1e-6)
    np.testing.assert_array_equal(jnp.argsort(probabilities, axis=-1), jnp.argsort(raw, axis=-1))
    np.testing.assert_allclose(probabilities[2], np.array([0.1, 0.9, 0.8]) / 1.8, rtol=1e-6)


@pytest.mark.parametrize('classes', [-1, 0, 1])
def test_too_few_classes(classes):
    with pytest.raises(UserError, match=f'model.num_classes is {classes}.*2 or more'):
        check_num_classes(classes)


def test_two_classes_are_enough():
    check_num_classes(2)
