"""Soft Dice, focal loss and their sum."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from autofuse_jax.losses import dice_loss, focal_dice_loss, focal_loss

SHAPE = (2, 3, 4)
dice = jax.jit(dice_loss, static_argnames='ignore_absent')
focal = jax.jit(focal_loss)


def one_hot(labels, classes=4):
    return jax.nn.one_hot(jnp.asarray(labels).reshape(SHAPE), classes)


def labels_of_all_classes():
    return np.arange(24) % 4


def random_probabilities(seed=0, classes=4):
    logits = np.random.default_rng(seed).normal(size=(*SHAPE, classes)).astype(np.float32)
    return jax.nn.softmax(logits), jnp.asarray(logits)


def test_perfect_overlap_is_minus_one():
    target = one_hot(labels_of_all_classes())
    for ignore_absent in (True, False):
        np.testing.assert_allclose(dice(target, target, ignore_absent=ignore_absent), -1, rtol=1e-6)


def test_no_overlap_is_zero():
    target, prediction = one_hot(np.repeat([1, 2], 12)), one_hot(np.repeat([2, 1], 12))
    for ignore_absent in (True, False):
        assert dice(target, prediction, ignore_absent=ignore_absent) == 0


def test_dice_by_hand():
    # Class 1: 12 target voxels with probability 0.5 each and nothing elsewhere: 2 * 6 / (12 + 6) = 2 / 3.
    # Class 2: 12 target voxels with probability 0.25: 2 * 3 / (12 + 3) = 0.4.
    target = one_hot(np.repeat([1, 2], 12), 3)
    prediction = target * jnp.asarray([0, 0.5, 0.25])
    np.testing.assert_allclose(dice(target, prediction), -(2 / 3 + 0.4) / 2, rtol=1e-6)


def test_background_does_not_count():
    target, (prediction, _) = one_hot(labels_of_all_classes()), random_probabilities()
    changed = prediction.at[..., 0].set(0.123)
    assert dice(target, changed) == dice(target, prediction)
    assert focal(target.at[..., 0].set(0.5), changed) == focal(target, prediction)


def test_absent_classes_by_hand():
    # Only class 1 of 1 .. 3 is there, with Dice 2 * 12 / (12 + 12 + 12) = 2 / 3: the prediction doubles the region.
    target = one_hot(np.repeat([1, 0], 12))
    prediction = one_hot(np.ones(24, int))
    np.testing.assert_allclose(dice(target, prediction), -2 / 3, rtol=1e-6)
    np.testing.assert_allclose(dice(target, prediction, ignore_absent=False), -2 / 9, rtol=1e-6)


def test_without_any_class_it_is_zero():
    background = one_hot(np.zeros(24, int))
    for ignore_absent in (True, False):
        assert dice(background, background, ignore_absent=ignore_absent) == 0
    gradient = jax.jit(jax.grad(dice_loss, argnums=1))(background, random_probabilities()[0])
    np.testing.assert_array_equal(gradient, 0)


@pytest.mark.parametrize(('amount', 'counts'), [(0.49, False), (0.51, True)])
def test_a_trace_of_a_class_does_not_make_it_present(amount, counts):
    # Class 2 has `amount` voxels in the target and none in the prediction: Dice 0, if it counts.
    target = one_hot(np.repeat([1, 0], 12)).at[0, 0, 0, 2].set(amount)
    prediction = one_hot(np.repeat([1, 0], 12))
    np.testing.assert_allclose(dice(target, prediction), -1 / 2 if counts else -1, rtol=1e-6)


def test_dice_agrees_with_optax():
    target, (prediction, logits) = one_hot(labels_of_all_classes()), random_probabilities()
    wanted = optax.losses.dice_loss(logits[None], target[None], smooth=0.0, ignore_background=True)[0] - 1
    for ignore_absent in (True, False):
        np.testing.assert_allclose(dice(target, prediction, ignore_absent=ignore_absent), wanted, rtol=1e-5)


def test_focal_agrees_with_optax():
    target, (prediction, _) = one_hot(labels_of_all_classes()), random_probabilities()
    logits = jnp.log(prediction) - jnp.log1p(-prediction)
    wanted = optax.losses.sigmoid_focal_loss(logits, target, alpha=0.25, gamma=2.0)[..., 1:].mean()
    np.testing.assert_allclose(focal(target, prediction), wanted, rtol=1e-5)


def test_focal_by_hand():
    # One foreground class, half of the voxels in it, probability 0.8 everywhere:
    # (1/4 * 0.2^2 * -log 0.8 + 3/4 * 0.8^2 * -log 0.2) / 2.
    target = one_hot(np.repeat([1, 0], 12), 2)
    expected = (0.25 * 0.04 * -np.log(0.8) + 0.75 * 0.64 * -np.log(0.2)) / 2
    np.testing.assert_allclose(focal(target, jnp.full((*SHAPE, 2), 0.8)), expected, rtol=1e-5)


def test_focal_of_certain_predictions_is_finite():
    target = one_hot(labels_of_all_classes())
    # Right everywhere: the clamp leaves 1e-5 squared times 1e-5.
    assert 0 <= focal(target, target) < 1e-10
    # Wrong everywhere, class 1 for 2 for 3 for 1: of three classes one is missed (1/4), one wrongly claimed (3/4) in
    # 18 of 24 voxels; -log 1e-5 = 11.51.
    wrong = one_hot(np.array([0, 2, 3, 1])[labels_of_all_classes()])
    np.testing.assert_allclose(focal(target, wrong), -np.log(1e-5) * 18 / 24 / 3, rtol=1e-3)
    gradient = jax.jit(jax.grad(focal_loss, argnums=1))(target, wrong)
    assert np.isfinite(gradient).all()


def test_sum():
    target, (prediction, _) = one_hot(np.repeat([1, 0], 12)), random_probabilities()
    for ignore_absent in (True, False):
        total = jax.jit(functools.partial(focal_dice_loss, ignore_absent=ignore_absent))(target, prediction)
        wanted = dice(target, prediction, ignore_absent=ignore_absent) + focal(target, prediction)
        np.testing.assert_allclose(total, wanted, rtol=1e-6)


def test_gradient_raises_the_right_class():
    target, (_, logits) = one_hot(labels_of_all_classes()), random_probabilities()
    gradient = jax.jit(jax.grad(lambda z: focal_dice_loss(target, jax.nn.softmax(z))))(logits)
    # In voxels of a foreground class descent raises that class's logit.
    foreground = target[..., 1:] == 1
    assert (gradient[..., 1:][foreground] < 0).all()
