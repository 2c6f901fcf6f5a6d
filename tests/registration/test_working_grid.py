"""The grid on which a deformation is sought."""

import numpy as np
import pytest

from autofuse_jax.data.volumes import Volume
from autofuse_jax.errors import UserError
from autofuse_jax.registration.working_grid import (
    field_of_view,
    grid_of_content,
    on_grid,
    pad_grid,
    padded_shape,
    pair_on_grid,
    working_grid,
)
from autofuse_jax.transforms.grids import to_voxels, to_world
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


def test_a_grid_that_no_machine_can_hold_is_refused():
    with pytest.raises(UserError, match=r'voxels of 0\.001 x 0\.001 x 0\.001 mm make a grid of .*--spacing'):
        working_grid(centred_grid((32, 32, 32), (2.0, 2.0, 2.0)), spacing=0.001)


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


# Shapes of the working grids of hearts from one scanner day to the next, and of heads.
HEARTS = ((133, 133, 30), (152, 152, 28), (118, 118, 30), (144, 144, 24), (127, 127, 29), (111, 111, 25))
HEADS = ((156, 187, 141), (150, 180, 139), (148, 190, 142))


def test_shapes_of_many_images_are_padded_to_few():
    assert {padded_shape(shape) for shape in HEARTS} == {(160, 160, 32), (128, 128, 32)}
    assert {padded_shape(shape) for shape in HEADS} == {(160, 192, 144)}
    # The published grid of hearts, and a single slice, have no padding.
    assert padded_shape((128, 128, 32)) == (128, 128, 32) and padded_shape((100, 60, 1)) == (128, 64, 1)


@pytest.mark.parametrize('shape', [*HEARTS, *HEADS, (7, 9, 17), (300, 290, 40)])
def test_padding_is_never_smaller_and_less_on_large_grids(shape):
    padded = np.array(padded_shape(shape))
    assert np.all(padded >= shape)
    assert np.all(padded[np.array(shape) > 64] - np.array(shape)[np.array(shape) > 64] < 32)
    if np.prod(shape) > 1_500_000:
        assert np.all(padded[np.array(shape) > 64] % 16 == 0) and np.prod(padded) < 1.3 * np.prod(shape)


def test_thick_slices_become_as_many_as_need_no_padding_where_that_is_near():
    # 35 by the rule; 24 are too far from either side.
    assert working_grid(centred_grid((152, 152, 10), (1.367, 1.367, 10.0))).shape == (152, 152, 32)
    assert working_grid(centred_grid((133, 133, 8), (1.562, 1.562, 10.0))).shape == (133, 133, 24)


def test_a_padded_grid_has_the_same_voxels_in_its_middle():
    grid = centred_grid((21, 30, 16), (2.0, 3.0, 4.0), turn=20)
    padded = pad_grid(grid)
    assert padded.shape == (32, 32, 16)
    np.testing.assert_allclose(to_world(padded.affine, [5, 1, 0]), to_world(grid.affine, [0, 0, 0]), atol=1e-9)
    inside = field_of_view(padded, grid)
    assert inside.sum() == 21 * 30 * 16 and inside[5:26, 1:31].all()
    assert pad_grid(padded) is padded


def test_padding_has_no_weight_and_changes_nothing_inside():
    grid = centred_grid((21, 30, 16), (2.0, 3.0, 4.0))
    fixed, moving = picture(grid), picture(centred_grid((60, 60, 60), (2.0, 2.0, 2.0)))
    identity = AffineTransform(np.eye(4))
    padded, alone = (pair_on_grid(fixed, moving, identity, on) for on in (pad_grid(grid), grid))
    assert alone.fixed_valid is None
    np.testing.assert_array_equal(padded.fixed_valid, field_of_view(pad_grid(grid), grid))
    for name in ('fixed', 'moving', 'moving_valid'):
        np.testing.assert_allclose(getattr(padded, name)[5:26, 1:31], getattr(alone, name), atol=1e-5)


def head_in_air(slices=slice(None)):
    grid = centred_grid((40, 44, 48), (3.0, 3.0, 3.0))
    image = np.zeros(grid.shape, np.float32)
    image[14:26, 10:30, 12:40] = 50 + np.arange(28)
    image, affine = image[:, :, slices], grid.affine.copy()
    affine[:3, 3] += affine[:3, 2] * (slices.start or 0)
    return Volume(image, None, affine, 'head')


def test_background_that_both_images_show_is_left_out_of_the_grid():
    head = head_in_air()
    grid = grid_of_content(head.grid, head, head, AffineTransform(np.eye(4)))
    start = to_voxels(head.affine, grid.affine[:3, 3])
    assert np.all(start <= np.array([14, 10, 12]) - 4) and np.all(start >= np.array([14, 10, 12]) - 8), start
    end = start + grid.shape
    assert np.all(end >= np.array([26, 30, 40]) + 4) and np.all(end <= np.array([26, 30, 40]) + 8), end
    np.testing.assert_allclose(start, np.rint(start), atol=1e-9)


def test_what_only_the_moving_image_shows_stays_in_the_grid():
    head = head_in_air()
    shifted = np.eye(4)
    shifted[0, 3] = 18.0
    start = lambda grid: to_voxels(head.affine, grid.affine[:3, 3])[0]  # noqa: E731
    alone, both = (grid_of_content(head.grid, head, head, AffineTransform(m)) for m in (np.eye(4), shifted))
    assert start(both) <= start(alone) - 5


def test_a_face_that_cuts_through_something_is_kept():
    head, part = head_in_air(), head_in_air(slice(20, 48))
    grid = grid_of_content(part.grid, part, head, AffineTransform(np.eye(4)))
    assert grid.shape[0] < part.image.shape[0]
    assert abs(to_voxels(part.affine, grid.affine[:3, 3])[2]) < 1e-9
