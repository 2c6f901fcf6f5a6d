"""The grid on which a deformation is sought."""

import numpy as np
import pytest

from autofuse_jax.registration.working_grid import on_grid, working_grid
from autofuse_jax.transforms.grids import to_world
from autofuse_jax.transforms.maps import AffineTransform
from tests.registration.scenes import centred_grid, picture, rotation_and_shift


def test_nearly_isotropic_images_are_worked_on_as_they_are():
    grid = centred_grid((40, 50, 30), (1.0, 1.0, 2.0))
    assert working_grid(grid) is grid


def test_thick_slices_are_refined_over_the_same_field_of_view():
    grid = centred_grid((64, 64, 10), (1.5, 1.5, 10.0), turn=30)
    found = working_grid(grid)
    assert found.shape == (64, 64, 32)
    np.testing.assert_allclose(found.spacing, (1.5, 1.5, 3.125))
    np.testing.assert_allclose(
        to_world(found.affine, [63.5, 63.5, 31.5]), to_world(grid.affine, [63.5, 63.5, 9.5]), atol=1e-9
    )


def test_large_images_are_coarsened_evenly():
    found = working_grid(centred_grid((400, 400, 400), (0.5, 0.5, 0.5)), largest_voxels=1_000_000)
    assert 900_000 < np.prod(found.shape) <= 1_000_000
    assert len(set(found.shape)) == 1


def test_spacing_may_be_given_for_all_axes_or_for_each():
    grid = centred_grid((64, 64, 10), (1.5, 1.5, 10.0))
    assert working_grid(grid, spacing=3.0).shape == (32, 32, 33)
    assert working_grid(grid, spacing=(3, 6, 10)).shape == (32, 16, 10)


def test_an_image_is_sampled_through_a_transform():
    truth = rotation_and_shift(15.0, (5, 0, -4))
    fixed_grid, moving_grid = centred_grid((40, 40, 40), (3, 3, 3)), centred_grid((50, 60, 40), (2.5, 2.5, 3), turn=-30)
    moving = picture(moving_grid, lambda points: to_world(np.linalg.inv(truth), points))
    sampled = on_grid(moving.image, moving.affine, fixed_grid, AffineTransform(truth))
    inner = (slice(8, -8),) * 3
    assert np.abs(sampled - picture(fixed_grid).image)[inner].mean() < 1.0  # Of 90 at most.


def test_coarse_sampling_averages_fine_noise_away():
    grid = centred_grid((64, 64, 64), (1, 1, 1))
    noise = np.random.default_rng(0).normal(size=grid.shape).astype(np.float32)
    coarse = on_grid(noise, grid.affine, working_grid(grid, spacing=4.0))
    assert coarse.shape == (16, 16, 16)
    assert coarse.std() < 0.25
    assert on_grid(noise, grid.affine, grid).std() == pytest.approx(noise.std())
