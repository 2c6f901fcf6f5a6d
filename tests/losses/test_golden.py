"""The losses against golden numbers of the official code (sets G1-G3), in float64."""

import jax
import jax.numpy as jnp
import numpy as np

from autofuse_jax.losses import dice_loss, focal_dice_loss, focal_loss, local_ncc, velocity_kl
from autofuse_jax.losses.regularity import _neighbour_count


def _index(*shape):
    return np.meshgrid(*(np.arange(float(size)) for size in shape), indexing='ij')


def test_focal_dice_g1():
    i, j, k = _index(4, 5, 6)
    labels = ((i + 2 * j + 3 * k) % 4).astype(int)
    logits = np.stack([np.sin(0.7 * c + 0.3 * i - 0.2 * j + 0.1 * k) for c in range(4)], axis=-1)
    with jax.enable_x64(True):
        target, prediction = jax.nn.one_hot(labels, 4, dtype=jnp.float64), jax.nn.softmax(jnp.asarray(logits))
        for ignore_absent in (True, False):  # every class is present, so both agree
            dice = dice_loss(target, prediction, ignore_absent=ignore_absent)
            np.testing.assert_allclose(dice, -0.26073135, rtol=1e-7)
        np.testing.assert_allclose(focal_loss(target, prediction), 0.06195000, rtol=1e-6)
        np.testing.assert_allclose(focal_dice_loss(target, prediction), -0.19878135, rtol=1e-7)


def test_velocity_kl_g2():
    i, j, k = _index(6, 6, 6)
    mean = np.stack([0.1 * np.sin(0.5 * i + 0.3 * j + 0.2 * k + c) for c in range(3)], axis=-1)
    log_variance = np.stack([-3.0 + 0.1 * np.cos(i + j + k + c) for c in range(3)], axis=-1)
    with jax.enable_x64(True):
        value = velocity_kl(jnp.asarray(mean), jnp.asarray(log_variance), prior_lambda=50.0)
        np.testing.assert_allclose(value, 23.23990571, rtol=1e-9)
        # 1.5 * lambda * P is what the mean adds to a constant field.
        flat = velocity_kl(jnp.zeros_like(mean), jnp.asarray(log_variance), prior_lambda=50.0)
        np.testing.assert_allclose((value - flat) / (1.5 * 50.0), 3.12725735e-4, rtol=1e-7)
    count = _neighbour_count((6, 6, 6))
    assert (count[0, 0, 0], count[0, 0, 1], count[0, 1, 1], count[1, 1, 1]) == (3, 4, 5, 6)


def test_local_ncc_g3():
    i, j, k = _index(12, 12, 12)
    fixed = np.sin(0.4 * i) * np.cos(0.3 * j) + 0.2 * np.sin(0.5 * k)
    warped = np.sin(0.4 * i + 0.3) * np.cos(0.3 * j - 0.2) + 0.2 * np.sin(0.5 * k + 0.1)
    with jax.enable_x64(True):
        value = local_ncc(jnp.asarray(fixed)[..., None], jnp.asarray(warped)[..., None])
        np.testing.assert_allclose(-value, -0.88777446, rtol=1e-7)
    single = local_ncc(jnp.asarray(fixed, jnp.float32)[..., None], jnp.asarray(warped, jnp.float32)[..., None])
    assert single.dtype == jnp.float32
    np.testing.assert_allclose(-single, -0.88777446, rtol=1e-5)
