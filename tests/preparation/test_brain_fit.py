import numpy as np
import pytest

from autofuse_jax.preparation.brain_fit import LARGEST_CUT, fit_into
from autofuse_jax.preparation.brain_resampling import cut_fraction
from autofuse_jax.transforms.grids import ImageGrid

SHAPE = (30, 40, 30)


def box(first, last):
    brain = np.zeros(SHAPE, bool)
    brain[tuple(slice(low, high + 1) for low, high in zip(first, last, strict=True))] = True
    return brain


def grid(shape, first=(0, 0, 0)):
    affine = np.eye(4)
    affine[:3, 3] = first
    return ImageGrid(shape, affine)


def test_a_brain_that_sticks_out_is_shifted_just_enough():
    brain, window = box((2, 5, 5), (21, 24, 24)), grid((20, 30, 30), (4, 0, 0))
    assert cut_fraction(brain, np.eye(4), window, np.eye(4)) == pytest.approx(2 / 20)
    fit = fit_into(brain, np.eye(4), window, np.eye(4))
    # 2..21 against 4..23: the low end moves up by 1.5, from voxel -2 of the grid to its edge at -0.5.
    assert fit.scale == (1, 1, 1)
    assert fit.shift_mm == pytest.approx((1.5, 0, 0), abs=1e-4)
    assert cut_fraction(brain, np.eye(4), window, fit.matrix) == 0
    # Points of the grid now read 1.5 mm further down.
    np.testing.assert_allclose(fit.matrix @ [10, 10, 10, 1], [8.5, 10, 10, 1], atol=1e-4)


def test_a_brain_longer_than_the_grid_is_shrunk_and_centred():
    brain, window = box((2, 5, 5), (25, 24, 24)), grid((20, 30, 30), (5, 0, 0))
    fit = fit_into(brain, np.eye(4), window, np.eye(4))
    # 23 voxels from the first to the last centre go into the 20 from edge to edge; the middles are 13.5 and 14.5.
    assert fit.scale == pytest.approx((20 / 23, 1, 1), abs=1e-4)
    assert fit.shift_mm == pytest.approx((1, 0, 0), abs=1e-4)
    assert cut_fraction(brain, np.eye(4), window, fit.matrix) == 0
    np.testing.assert_allclose(fit.matrix @ [14.5, 3, 3, 1], [13.5, 3, 3, 1], atol=1e-4)


def test_stray_voxels_may_be_lost_and_change_nothing():
    brain, window = box((5, 5, 5), (24, 34, 24)), grid((22, 32, 22), (4, 4, 4))
    # 1 of 12,001 voxels is less than what may be cut on one side of the only axis that sticks out (0.045 %).
    brain[0, 20, 15] = True
    assert 0 < cut_fraction(brain, np.eye(4), window, np.eye(4)) < LARGEST_CUT
    fit = fit_into(brain, np.eye(4), window, np.eye(4))
    np.testing.assert_allclose(fit.matrix, np.eye(4), atol=1e-5)


def test_any_alignment_and_any_brain_is_cut_less_than_the_limit():
    rng = np.random.default_rng(0)
    distance = np.linalg.norm((np.indices(SHAPE).T - np.array(SHAPE) / 2) / (12, 17, 11), axis=-1).T
    brain = distance < 1 + 0.1 * rng.standard_normal(SHAPE)
    affine = np.diag([-1.1, 0.9, 1.2, 1.0])
    affine[:3, 3] = [14, -20, -15]
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]]
    window = grid((20, 24, 22), (-10, -12, -11))
    assert cut_fraction(brain, affine, window, turn) > 0.05
    fit = fit_into(brain, affine, window, turn)
    assert cut_fraction(brain, affine, window, fit.matrix) < LARGEST_CUT
    assert min(fit.scale) < 0.9
