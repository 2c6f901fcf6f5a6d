"""Levels of an image: places, padding, masks."""

import numpy as np
import pytest

from autofuse_jax.data.volumes import Volume
from autofuse_jax.registration.pyramid import in_proportion, make_level, shape_at
from autofuse_jax.transforms.grids import ImageGrid, to_voxels, to_world
from tests.registration.scenes import centred_grid


def test_a_gradient_keeps_its_place_in_the_world():
    grid = ImageGrid((32, 16, 16), np.diag([2.0, 2, 2, 1]))
    image = np.broadcast_to(np.arange(32.0)[:, None, None], grid.shape)
    level = make_level(Volume(image, None, grid.affine, 'gradient'), 4.0)
    # The image is the first voxel index; away from the border every coarse voxel shows its own place.
    places = to_voxels(grid.affine, to_world(level.grid.affine, np.array([[k, 0, 0] for k in range(2, 14)])))
    np.testing.assert_allclose(level.image[2:14, 3, 3], places[:, 0], atol=1e-4)


@pytest.mark.parametrize(
    ('sides', 'factor'), [([180.0], 1.0), ([120.0], 1.0), ([60.0, 12.0], 0.5), ([60.0, 130.0], 1.0)]
)
def test_images_that_reach_less_far_get_voxels_in_proportion(sides, factor):
    grids = [ImageGrid((10, 5, 1), np.diag([side / 10, side / 10, 1.0, 1.0])) for side in sides]
    assert in_proportion(8.0, *grids) == pytest.approx(8 * factor)


def test_padding_is_told_apart_from_the_image():
    grid = centred_grid((17, 20, 16), (1, 1, 1))
    level = make_level(Volume(np.ones(grid.shape), None, grid.affine, 'ones'), 1.0)
    assert level.image.shape == level.inside.shape == (32, 32, 16)
    assert level.inside[:17, :20].all() and level.inside.sum() == 17 * 20 * 16


def test_mask_counts_inside():
    grid = centred_grid((16, 16, 16), (1, 1, 1))
    mask = np.zeros(grid.shape)
    mask[4:8] = 1
    volume = Volume(np.ones(grid.shape), None, grid.affine, 'ones', mask)
    assert make_level(volume, 1.0).inside.sum() == mask.sum()


def test_shape_at_a_spacing_is_never_finer_than_the_image_and_keeps_short_axes():
    assert shape_at(centred_grid((160, 200, 160), (1, 1, 1)), 4) == (40, 50, 40)
    assert shape_at(centred_grid((128, 128, 10), (1.5, 1.5, 10)), 4) == (48, 48, 10)
    assert shape_at(centred_grid((128, 128, 10), (1.5, 1.5, 10)), 50) == (8, 8, 8)


def test_the_centre_of_mass_is_a_place_in_the_world():
    grid = centred_grid((17, 20, 16), (1, 2, 3), turn=30)
    image = np.zeros(grid.shape)
    image[3, 4, 5], image[5, 8, 5] = 1, 3
    level = make_level(Volume(image, None, grid.affine, 'two points'), 1.0)
    np.testing.assert_allclose(level.centre_of_mass_mm(), to_world(grid.affine, [4.5, 7, 5]), atol=1e-9)
    empty = make_level(Volume(np.zeros(grid.shape), None, grid.affine, 'empty'), 1.0)
    np.testing.assert_allclose(empty.centre_of_mass_mm(), grid.centre_mm)
