"""Local normalised cross-correlation."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autofuse_jax.losses import local_ncc
from autofuse_jax.losses.similarity import local_moments

ncc = jax.jit(local_ncc)
SHAPE = (12, 12, 12, 1)


def texture(seed=0, shape=SHAPE):
    return np.random.default_rng(seed).random(shape).astype(np.float32)


def brute_force(fixed, warped, window, epsilon=1e-5):
    """The formula, box by box, over the voxels inside the image; the denominators keep n = window^3."""
    fixed, warped = fixed[..., 0].astype(np.float64), warped[..., 0].astype(np.float64)
    n, reach, values = window**3, window // 2, []
    for centre in itertools.product(*(range(size) for size in fixed.shape)):
        box = tuple(slice(max(index - reach, 0), index + reach + 1) for index in centre)
        i, j = fixed[box], warped[box]
        cross = (i * j).sum() - i.sum() * j.sum() / n
        variances = [(k * k).sum() - k.sum() ** 2 / n for k in (i, j)]
        values.append(cross**2 / (variances[0] * variances[1] + epsilon))
    return np.mean(values)


@pytest.mark.parametrize('window', [3, 5])
def test_against_the_formula_box_by_box(window):
    fixed, warped = texture(0, (4, 5, 6, 1)), texture(1, (4, 5, 6, 1))
    found = jax.jit(functools.partial(local_ncc, window=window))(fixed, warped)
    np.testing.assert_allclose(found, brute_force(fixed, warped, window), rtol=1e-5)


def test_default_window_is_nine():
    fixed, warped = texture(0, (4, 5, 6, 1)), texture(1, (4, 5, 6, 1))
    np.testing.assert_allclose(local_ncc(fixed, warped), brute_force(fixed, warped, 9), rtol=1e-5)


def test_one_voxel_by_hand():
    # Window 1: every box is one voxel, cross and variances are v^2 - v^2 / 1 = 0, so cc = 0 / epsilon.
    assert local_ncc(texture(0, (2, 2, 2, 1)), texture(0, (2, 2, 2, 1)), window=1) == pytest.approx(0, abs=1e-6)
    # Window 3, one voxel of value 1: cross = var = 1 - 1 / 27 = 26 / 27, cc = (26 / 27)^2 / ((26 / 27)^2 + epsilon).
    one = jnp.ones((1, 1, 1, 1))
    square = (26 / 27) ** 2
    np.testing.assert_allclose(local_ncc(one, one, window=3, epsilon=0.5), square / (square + 0.5), rtol=1e-6)


def test_identical_images_are_near_one():
    assert ncc(texture(), texture()) == pytest.approx(1, abs=1e-4)


def test_the_more_alike_the_higher():
    fixed = texture()
    # Half of each voxel's value comes from its neighbour.
    blurred = 0.5 * (fixed + np.roll(fixed, 1, axis=0))
    assert ncc(fixed, texture(1)) < ncc(fixed, blurred) - 0.05 < ncc(fixed, fixed) - 0.1


def test_intensity_scale_and_sign_do_not_matter():
    # Zeros outside the image make a constant offset visible at the border, a factor not; cc is squared, so neither
    # does its sign matter.
    fixed, warped = texture(), texture(1)
    value = ncc(fixed, warped)
    for factor in (0.5, 2.0, -1.0):
        np.testing.assert_allclose(ncc(fixed, factor * warped), value, rtol=1e-4)
        np.testing.assert_allclose(ncc(factor * fixed, warped), value, rtol=1e-4)


@pytest.mark.parametrize('window', [3, 9])
def test_moments_of_the_fixed_image_can_be_computed_once(window):
    fixed, moments = texture(), local_moments(texture(), window=window)
    for warped in (texture(1), texture(2)):
        shared = functools.partial(local_ncc, fixed, window=window, fixed_moments=moments)
        alone = functools.partial(local_ncc, fixed, window=window)
        np.testing.assert_allclose(shared(warped), alone(warped), rtol=1e-6)
        np.testing.assert_allclose(jax.grad(shared)(warped), jax.grad(alone)(warped), rtol=1e-4, atol=1e-8)


def test_moments_are_sums_and_variances_of_boxes():
    image = texture(0, (3, 3, 3, 1))
    moments = local_moments(image, window=3)
    values = image.astype(np.float64)
    np.testing.assert_allclose(moments.sums[1, 1, 1], values.sum(), rtol=1e-6)
    np.testing.assert_allclose(moments.variances[1, 1, 1], 27 * values.var(), rtol=1e-5)
    # A corner sees 8 voxels; the others of its box are outside and 0.
    corner = values[:2, :2, :2]
    np.testing.assert_allclose(moments.variances[0, 0, 0], (corner**2).sum() - corner.sum() ** 2 / 27, rtol=1e-5)


def test_arguments_may_be_exchanged():
    np.testing.assert_allclose(ncc(texture(), texture(1)), ncc(texture(1), texture()), rtol=1e-6)


def test_empty_images_have_no_similarity():
    black = np.zeros(SHAPE, np.float32)
    assert ncc(black, black) == 0 and ncc(texture(), black) == 0
    gradient = jax.jit(jax.grad(local_ncc, argnums=1))(texture(), black)
    assert np.isfinite(gradient).all()


def test_half_precision_images_are_summed_in_single_precision():
    fixed, warped = texture().astype(jnp.bfloat16), texture(1).astype(jnp.bfloat16)
    value = ncc(fixed, warped)
    assert value.dtype == jnp.float32
    np.testing.assert_allclose(value, ncc(fixed.astype(np.float32), warped.astype(np.float32)), rtol=1e-6)


def test_gradient_points_towards_similarity():
    fixed, warped = texture(), texture(1)
    gradient = jax.jit(jax.grad(local_ncc, argnums=1))(fixed, warped)
    step = 0.1 * gradient / jnp.abs(gradient).max()
    assert ncc(fixed, warped + step) > ncc(fixed, warped) > ncc(fixed, warped - step)


@pytest.mark.parametrize(
    ('fixed', 'warped'),
    [((4, 4, 4, 1), (4, 4, 5, 1)), ((4, 4, 4), (4, 4, 4)), ((4, 4, 4, 2), (4, 4, 4, 2)), ((2, 4, 4, 4, 1),) * 2],
)
def test_wrong_shapes_are_named(fixed, warped):
    with pytest.raises(ValueError) as error:
        local_ncc(jnp.zeros(fixed), jnp.zeros(warped))
    assert str(fixed) in str(error.value) and str(warped) in str(error.value)


def test_even_windows_are_refused():
    with pytest.raises(ValueError, match='window is 8, expected an odd number'):
        local_ncc(jnp.zeros(SHAPE), jnp.zeros(SHAPE), window=8)
    with pytest.raises(ValueError, match='window is 8, expected an odd number'):
        local_moments(jnp.zeros(SHAPE), window=8)
