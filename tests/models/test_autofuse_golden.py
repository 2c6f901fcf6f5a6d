"""The convolutional AutoFuse against golden numbers of the official network (set G5), in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autofuse_jax.models.autofuse import AutoFuse
from tests.golden.official_order import fill, official_order, sine_rule

SHAPE = (32, 32, 16)


@pytest.fixture(scope='module')
def output():
    i, j, k = np.meshgrid(*(np.arange(size) for size in SHAPE), indexing='ij')
    fixed = 0.5 + 0.5 * np.sin(0.35 * i + 0.1 * k) * np.cos(0.25 * j)
    moving = 0.5 + 0.5 * np.sin(0.35 * i + 0.1 * k + 0.4) * np.cos(0.25 * j - 0.3)
    model = AutoFuse(num_classes=4, segmentation_feedback='argmax')
    with jax.enable_x64(True):
        fixed, moving = (jnp.asarray(image, jnp.float64)[None, ..., None] for image in (fixed, moving))
        shapes = jax.eval_shape(model.init, jax.random.key(0), fixed, moving)['params']
        params = fill(shapes, sine_rule, segmentation=True, dtype=jnp.float64)
        assert len(jax.tree.leaves(shapes)) == len(official_order(segmentation=True)) == 188
        return jax.device_get(jax.jit(model.apply)({'params': params}, fixed, moving))


def test_flow(output):
    np.testing.assert_allclose(output.displacement[0, 8, 8, 8], [-0.01351796, -0.07713929, 0.07419573], atol=1e-7)
    np.testing.assert_allclose(np.abs(output.displacement).mean(), 0.15022632, atol=1e-7)


def test_velocity_distribution(output):
    np.testing.assert_allclose(np.abs(output.velocity_mean).mean(), 0.18158943, atol=2e-8)
    np.testing.assert_allclose(output.log_variance.mean(), 0.01921170, atol=2e-8)


def test_segmentations(output):
    expected = [0.24406843, 0.24765633, 0.25192854, 0.25634670]
    np.testing.assert_allclose(output.fixed_segmentation[0, 8, 8, 8], expected, atol=2e-8)
    expected = [0.24309189, 0.24750726, 0.25236493, 0.25703591]
    np.testing.assert_allclose(output.moving_segmentation[0, 20, 5, 3], expected, atol=2e-8)
    histogram = np.bincount(np.argmax(output.fixed_segmentation, axis=-1).ravel(), minlength=4)
    np.testing.assert_array_equal(histogram, [3897, 28, 27, 12432])


def test_warped_image(output):
    np.testing.assert_allclose(output.warped.mean(), 0.48062468, atol=1e-7)
