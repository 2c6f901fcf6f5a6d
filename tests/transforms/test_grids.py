import nibabel as nib
import numpy as np
import pytest

from autofuse_jax.transforms.grids import ImageGrid, canonical_grid, grid_points, to_voxels, to_world
from tests.transforms.examples import PAIRS, grid

# Axes of 2, 3 and 4 mm; the first array axis runs to the front, the second to the left.
AFFINE = np.array([[0, -3.0, 0, 10], [2.0, 0, 0, -20], [0, 0, 4.0, 30], [0, 0, 0, 1]])


def test_world_positions_worked_by_hand():
    np.testing.assert_allclose(to_world(AFFINE, np.array([1, 2, 3])), [10 - 6, -20 + 2, 30 + 12])
    np.testing.assert_allclose(to_voxels(AFFINE, np.array([4, -18, 42])), [1, 2, 3], atol=1e-12)


def test_properties_worked_by_hand():
    on = ImageGrid((3, 5, 7), AFFINE)
    assert on.spacing == (2.0, 3.0, 4.0) and on.orientation == 'ALS'
    np.testing.assert_allclose(on.centre_mm, [10 - 6, -20 + 2, 30 + 12])
    points = grid_points(on)
    assert points.shape == (3, 5, 7, 3) and points.dtype == np.float64
    np.testing.assert_allclose(points[1, 2, 3], [4, -18, 42])


@pytest.mark.parametrize('name', PAIRS)
def test_voxels_come_back(name):
    voxels = np.random.default_rng(0).normal(size=(4, 5, 3)) * 20
    for on in PAIRS[name]:
        np.testing.assert_allclose(to_voxels(on.affine, to_world(on.affine, voxels)), voxels, atol=1e-10)


def test_grids_are_the_same_up_to_the_rounding_of_headers():
    on = PAIRS['oblique'][0]
    assert on.same_as(ImageGrid(on.shape, on.affine.astype(np.float32).astype(np.float64)))
    assert not on.same_as(ImageGrid((27, 24, 10), on.affine))
    moved = on.affine.copy()
    moved[0, 3] += 0.01
    assert not on.same_as(ImageGrid(on.shape, moved))
    # A voxel size that is off by a thousandth moves the far corner by 26 thousandths.
    assert not grid((27, 4, 4), (1, 1, 1)).same_as(grid((27, 4, 4), (1.001, 1, 1)))
    # The same voxels in another order are another grid.
    assert not grid((4, 4, 4), (1, 1, 1)).same_as(grid((4, 4, 4), (1, 1, 1), flip=(-1, 1, 1)))


@pytest.mark.parametrize('name', PAIRS)
def test_canonical_grids_are_those_of_nibabel(name):
    for on in PAIRS[name]:
        expected = nib.as_closest_canonical(nib.Nifti1Image(np.zeros(on.shape, np.uint8), on.affine))
        found = canonical_grid(on)
        assert found.shape == expected.shape
        np.testing.assert_allclose(found.affine, expected.affine, atol=1e-4)
        assert canonical_grid(found) is found
