"""Labels and what stands in for them."""

import jax
import jax.numpy as jnp
import numpy as np

from autofuse_jax.losses.label_maps import dice_losses, labels_or_predicted, one_hot_labels

LABELS = jnp.asarray([0, 2]).reshape(2, 1, 1, 1)
SEGMENTATION = jnp.asarray([[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]]).reshape(2, 1, 1, 1, 3)
BATCH = {'moving_labels': LABELS, 'moving_has_labels': jnp.asarray([1.0, 0.0])}


def test_indicators():
    hot = one_hot_labels(BATCH, 'moving', SEGMENTATION.astype(jnp.bfloat16))
    np.testing.assert_array_equal(hot.reshape(2, 3), [[1, 0, 0], [0, 0, 1]])
    assert hot.dtype == jnp.float32


def test_predictions_stand_in_sample_by_sample_and_are_trained_there_only():
    known, pull = jax.vjp(lambda one: labels_or_predicted(BATCH, 'moving', one), SEGMENTATION)
    np.testing.assert_array_equal(known[0].ravel(), [1, 0, 0])
    np.testing.assert_array_equal(known[1], SEGMENTATION[1])
    (gradient,) = pull(jnp.ones_like(known))
    np.testing.assert_array_equal(gradient.reshape(2, 3), [[0, 0, 0], [1, 1, 1]])


def test_dice_of_each_sample_counts_the_classes_in_the_target():
    target = one_hot_labels(BATCH, 'moving', SEGMENTATION)
    # The first sample has no foreground; of the second only class 2 counts: 2 * 0.1 / (1 + 0.1).
    np.testing.assert_allclose(dice_losses(target, SEGMENTATION), [0.0, -0.2 / 1.1], rtol=1e-6)
