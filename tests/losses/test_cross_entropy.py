"""Cross-entropy by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

from autofuse_jax.losses.cross_entropy import cross_entropy

TARGET = np.array([[1.0, 0.0], [0.25, 0.75]]).reshape(2, 1, 1, 2)
PREDICTION = np.array([[0.5, 0.5], [0.1, 0.9]]).reshape(2, 1, 1, 2)


def test_by_hand():
    expected = -(np.log(0.5) + 0.25 * np.log(0.1) + 0.75 * np.log(0.9)) / 4
    np.testing.assert_allclose(cross_entropy(jnp.asarray(TARGET), jnp.asarray(PREDICTION)), expected, rtol=1e-5)


def test_impossible_predictions_are_finite():
    certain = jnp.asarray(1.0 - np.round(TARGET))
    np.testing.assert_allclose(cross_entropy(jnp.asarray(np.round(TARGET)), certain), -np.log(1e-6) / 2, rtol=1e-5)


def test_a_voxel_without_target_does_not_count():
    target = jnp.asarray(TARGET).at[1].set(0.0)
    np.testing.assert_allclose(cross_entropy(target, jnp.asarray(PREDICTION)), -np.log(0.5) / 4, rtol=1e-5)


def test_shapes_must_agree():
    with pytest.raises(ValueError, match='differ in shape'):
        cross_entropy(jnp.zeros((1, 1, 1, 2)), jnp.zeros((1, 1, 1, 3)))
