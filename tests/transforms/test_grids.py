import nibabel as nib
import numpy as np
import pytest

from autofuse_jax.transforms.grids import (
    ImageGrid,
    canonical_grid,
    cut_grid,
    grid_points,
    resize_grid,
    respace_grid,
    to_voxels,
    to_world,
)
from tests.transforms.examples import PAIRS, grid, turned

# Axes of 2, 3 and 4 mm; the first array axis runs to the front, the second to the left.
AFFINE = np.array([[0, -3.0, 0, 10], [2.0, 0, 0, -20], [0, 0, 4.0, 30], [0, 0, 0, 1]])


def test_world_positions_worked_by_hand():
    np.testing.assert_allclose(to_world(AFFINE, np.array([1, 2, 3])), [10 - 6, -20 + 2, 30 + 12])
    np.testing.assert_allclose(to_voxels(AFFINE, np.array([4, -18, 42])), [1, 2, 3], atol=1e-12)


def test_properties_worked_by_hand():
    on = ImageGrid((3, 5, 7), AFFINE)
    assert on.spacing == (2.0, 3.0, 4.0) and on.orientation == 'ALS'
    assert on.voxel_mm3 == pytest.approx(24) and on.tilt_degrees == 0
    np.testing.assert_allclose(on.centre_mm, [10 - 6, -20 + 2, 30 + 12])
    points = grid_points(on)
    assert points.shape == (3, 5, 7, 3) and points.dtype == np.float64
    np.testing.assert_allclose(points[1, 2, 3], [4, -18, 42])


@pytest.mark.parametrize('name', PAIRS)
def test_voxels_come_back(name):
    voxels = np.random.default_rng(0).normal(size=(4, 5, 3)) * 20
    for on in PAIRS[name]:
        np.testing.assert_allclose(to_voxels(on.affine, to_world(on.affine, voxels)), voxels, atol=1e-10)


def test_grids_are_the_same_up_to_a_twentieth_of_a_voxel():
    on = PAIRS['oblique'][0]
    assert on.same_as(ImageGrid(on.shape, on.affine.astype(np.float32).astype(np.float64)))
    assert not on.same_as(ImageGrid((27, 24, 10), on.affine))
    moved = on.affine.copy()
    moved[0, 3] += 0.01
    assert on.same_as(ImageGrid(on.shape, moved))
    moved[0, 3] += 0.1
    assert not on.same_as(ImageGrid(on.shape, moved))
    # A voxel size that is off by a thousandth moves each end by 13 thousandths, one off by a hundredth by 0.13.
    assert grid((27, 4, 4), (1, 1, 1)).same_as(grid((27, 4, 4), (1.001, 1, 1)))
    assert not grid((27, 4, 4), (1, 1, 1)).same_as(grid((27, 4, 4), (1.01, 1, 1)))
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


def test_the_tilt_is_that_of_the_most_oblique_axis():
    # A turn about the last axis of the body leaves that axis where it is.
    assert grid((4, 5, 6), (1, 2, 3), turn=turned(17, 2)).tilt_degrees == pytest.approx(17)
    # Beyond 45 degrees another axis of the body is nearer.
    assert grid((4, 5, 6), (1, 2, 3), turn=turned(70, 0)).tilt_degrees == pytest.approx(20)


def test_misfit_is_the_largest_shift_of_a_corner():
    on = ImageGrid((3, 5, 7), np.eye(4))
    shifted = np.eye(4)
    shifted[:3, 3] = [3, 0, 4]
    assert on.misfit_mm(on.affine) == 0
    assert on.misfit_mm(shifted) == pytest.approx(5)
    # Voxels that are 1 % longer move the last of 7 by 0.06 mm.
    assert on.misfit_mm(np.diag([1, 1, 1.01, 1])) == pytest.approx(0.06)


def test_a_grid_reaches_to_the_faces_of_its_outer_voxels():
    on = grid((4, 4, 4), (2, 2, 2), centre=(3, 3, 3))
    points = np.array([[-0.9, 3, 3], [-1.1, 3, 3], [3, 6.9, 3], [3, 7.1, 3], [3, 3, 3]])
    np.testing.assert_array_equal(on.contains(points), [True, False, True, False, True])
    # Without a margin it ends at their centres, 0 and 6.
    np.testing.assert_array_equal(on.contains(points, margin=0), [False, False, False, False, True])


def test_resized_grids_keep_the_field_of_view():
    on = PAIRS['oblique'][0]
    coarse = resize_grid(on, (9, 12, 9))
    np.testing.assert_allclose(coarse.spacing, (3.75, 2.8, 5))
    # Faces, half a voxel outside the first and last centres, coincide.
    np.testing.assert_allclose(to_world(coarse.affine, [-0.5] * 3), to_world(on.affine, [-0.5] * 3), atol=1e-9)
    np.testing.assert_allclose(
        to_world(coarse.affine, [8.5, 11.5, 8.5]), to_world(on.affine, [26.5, 23.5, 8.5]), atol=1e-9
    )


def test_respaced_grids_keep_the_first_voxel_and_the_directions():
    on = ImageGrid((3, 5, 7), AFFINE)
    other = respace_grid(on, (1.0, 6.0, 4.0), (6, 3, 7))
    assert other.shape == (6, 3, 7) and other.spacing == (1.0, 6.0, 4.0)
    np.testing.assert_allclose(to_world(other.affine, [4, 1, 5]), to_world(AFFINE, [2, 2, 5]))


def test_a_box_of_a_grid_points_at_the_same_places():
    box = cut_grid(ImageGrid((9, 9, 9), AFFINE), (2, -1, 3.5), (4, 5, 6))
    assert box.shape == (4, 5, 6)
    np.testing.assert_allclose(to_world(box.affine, [0, 0, 0]), to_world(AFFINE, [2, -1, 3.5]))
    np.testing.assert_array_equal(box.affine[:3, :3], AFFINE[:3, :3])
