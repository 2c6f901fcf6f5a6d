"""Local correlation of valid voxels: against a sum written out, and what it is blind to."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autofuse_jax.losses.valid_ncc import valid_ncc
from tests.quick import quick_jit

SHAPE = (5, 6, 7)
RNG = np.random.default_rng(3)
FIXED, WARPED = RNG.random((2, *SHAPE)).astype(np.float32)
VALID = (RNG.random(SHAPE) > 0.3).astype(np.float32) * RNG.random(SHAPE).astype(np.float32)

ncc = quick_jit(valid_ncc, static_argnames=('window', 'over_all', 'epsilon'))


def written_out(fixed, warped, valid, window, epsilon, over_all):
    """The formula voxel by voxel, in double precision."""
    half, total, weights = window // 2, 0.0, 0.0
    for place in itertools.product(*map(range, fixed.shape)):
        box = tuple(slice(max(p - half, 0), p + half + 1) for p in place)
        w, i, j = (array[box].ravel().astype(np.float64) for array in (valid, fixed, warped))
        n = max(w.sum(), 1e-3)
        cross = (w * i * j).sum() - (w * i).sum() * (w * j).sum() / n
        var_i = (w * i * i).sum() - (w * i).sum() ** 2 / n
        var_j = (w * j * j).sum() - (w * j).sum() ** 2 / n
        weight = valid[place] * var_i**2 / (var_i**2 + epsilon)
        total += weight * cross**2 / (var_i * var_j + 1e-9)
        weights += weight
    return total / (fixed.size if over_all else weights)


@pytest.mark.parametrize('over_all', [True, False])
def test_is_the_formula(over_all):
    value = ncc(FIXED, WARPED, VALID, window=3, over_all=over_all)
    np.testing.assert_allclose(value, written_out(FIXED, WARPED, VALID, 3, 1e-5, over_all), rtol=1e-4)


def test_what_is_not_valid_has_no_say():
    valid = np.ones(SHAPE, np.float32)
    valid[:, :, 4:] = 0
    changed = np.where(valid > 0, WARPED, 100.0).astype(np.float32)
    np.testing.assert_allclose(ncc(FIXED, changed, valid, window=3), ncc(FIXED, WARPED, valid, window=3), rtol=1e-4)
    # As if the image ended there.
    cut = ncc(FIXED[:, :, :4], WARPED[:, :, :4], np.ones((5, 6, 4), np.float32), window=3)
    np.testing.assert_allclose(ncc(FIXED, WARPED, valid, window=3), cut * 4 / 7, rtol=1e-4)
    assert ncc(FIXED, WARPED, np.zeros(SHAPE, np.float32), window=3) == 0


def test_an_image_and_itself_are_the_best_there_is():
    everywhere = np.ones(SHAPE, np.float32)
    assert ncc(FIXED, FIXED, everywhere, window=3, over_all=False) == pytest.approx(1.0, abs=1e-4)
    gradient = jax.grad(lambda warped: valid_ncc(jnp.asarray(FIXED), warped, jnp.asarray(everywhere), window=3))
    there, elsewhere = gradient(jnp.asarray(FIXED)), gradient(jnp.asarray(WARPED))
    # More contrast would be a gain for a correlation that weighs windows by both images.
    assert np.abs(there).max() < 1e-3 * np.abs(elsewhere).max()


def test_no_gradient_reaches_what_is_valid():
    gradient = jax.grad(lambda valid: valid_ncc(jnp.asarray(FIXED), jnp.asarray(WARPED), valid, window=3))
    assert not np.any(gradient(jnp.asarray(VALID)))


def test_wrong_shapes_and_even_windows_are_refused():
    with pytest.raises(ValueError, match='must all be'):
        valid_ncc(jnp.ones(SHAPE), jnp.ones(SHAPE), jnp.ones((5, 6, 6)))
    with pytest.raises(ValueError, match='odd'):
        valid_ncc(jnp.ones(SHAPE), jnp.ones(SHAPE), jnp.ones(SHAPE), window=4)


def test_windows_of_one_value_are_like_nothing():
    """Two masks with edges across each other: where windows see both, they have nothing in common."""
    fixed, warped = (np.zeros((24, 24, 24), np.float32) for _ in range(2))
    fixed[:12], warped[:, :20] = 1.0, 0.73
    valid = np.random.default_rng(0).uniform(0.5, 1.0, fixed.shape).astype(np.float32)
    # Rounding alone gave 0.17.
    assert 0 <= ncc(fixed, warped, valid, over_all=False) < 1e-3
