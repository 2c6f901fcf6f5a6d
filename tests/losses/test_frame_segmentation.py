"""The objective of a segmentation alone: its value by hand, and slices that do not count."""

import jax
import jax.numpy as jnp
import numpy as np

from autofuse_jax.losses.frame_segmentation import frame_segmentation_objective, image_slices

SHAPE = (1, 2, 2, 3)


def batch_of(padded=(2,)):
    """Three slices of which the padded are zero; class 1 in the first slice, background elsewhere."""
    image = np.full((*SHAPE, 1), 0.5, np.float32)
    image[..., list(padded), :] = 0.0
    labels = np.zeros(SHAPE, np.uint8)
    labels[..., 0] = 1
    return {'fixed': jnp.asarray(image), 'fixed_labels': jnp.asarray(labels)}


def probabilities(foreground):
    """The same probability of class 1 in all voxels of a slice."""
    p = jnp.broadcast_to(jnp.asarray(foreground, jnp.float32), SHAPE)
    return jnp.stack([1 - p, p], axis=-1)


def test_slices_that_hold_nothing_are_padding():
    np.testing.assert_array_equal(image_slices(batch_of()['fixed']).ravel(), [1, 1, 0])
    # A dark corner is no padding.
    assert image_slices(batch_of(padded=())['fixed'].at[:, 0].set(0.0)).all()


def test_value_by_hand():
    loss, diagnostics = frame_segmentation_objective(probabilities([0.8, 0.4, 0.9]), batch_of())
    # Over 8 voxels in two slices: 2 * 4 * 0.8 / (4 + 4 * 0.8 + 4 * 0.4), and -(log 0.8 + log 0.6) / 2.
    dice, entropy = 6.4 / 8.8, -(np.log(0.8) + np.log(0.6)) / 2
    np.testing.assert_allclose(loss, entropy - dice, rtol=1e-4)
    np.testing.assert_allclose(diagnostics['term/frame_dice'], -dice, rtol=1e-4)
    np.testing.assert_allclose(diagnostics['term/frame_cross_entropy'], entropy, rtol=1e-4)


def test_padding_has_no_gradient():
    def loss(foreground):
        return frame_segmentation_objective(probabilities(foreground), batch_of())[0]

    gradient = jax.grad(loss)(jnp.asarray([0.8, 0.4, 0.9]))
    assert gradient[2] == 0 and gradient[0] < 0 < gradient[1]


def test_a_frame_without_structures_or_image_is_finite():
    batch = batch_of(padded=(0, 1, 2))
    loss, _ = frame_segmentation_objective(probabilities([0.0, 1.0, 0.5]), batch)
    assert loss == 0
