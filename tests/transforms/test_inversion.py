import numpy as np
import pytest

from autofuse_jax.errors import UserError
from autofuse_jax.transforms.affine_fit import nearest_affine
from autofuse_jax.transforms.grids import grid_points
from autofuse_jax.transforms.inversion import (
    FAILED_MM,
    TARGET_MM,
    NumericalInverse,
    failed_mm,
    inverse_affine,
    invert_points,
)
from autofuse_jax.transforms.maps import AffineTransform, Chain, DenseTransform, sample_field, to_dense
from tests.transforms.examples import PAIRS, affine, both, grid, inner_points, smooth, turned


def exponential(velocity, steps=6):
    """The displacement of a stationary velocity field after time 1, by halving the time and squaring the map."""
    voxels = np.moveaxis(np.indices(velocity.shape[:3], np.float64), 0, -1)
    displacement = velocity / 2**steps
    for _ in range(steps):
        displacement = displacement + sample_field(displacement, voxels + displacement)
    return displacement


def test_an_affine_transform_is_inverted_exactly():
    points = np.random.default_rng(0).normal(size=(10, 3)) * 50
    back = inverse_affine(affine()).map_points(affine().map_points(points))
    np.testing.assert_allclose(back, points, atol=1e-10)


def test_a_shift_worked_by_hand():
    # Everything is shown 1.5 voxels of 2 mm further along the first axis, so the inverse takes 3 mm away.
    on = grid((8, 8, 8), (2, 2, 2))
    shift = DenseTransform(np.full((8, 8, 8, 3), (1.5, 0, 0), np.float32), on.affine)
    points = inner_points(on)
    found, inversion = invert_points(shift, points)
    np.testing.assert_allclose(found, points - [3, 0, 0], atol=1e-9)
    assert inversion.failed == 0 and inversion.points == len(points) and inversion.max_mm < TARGET_MM


def test_a_known_inverse_is_found():
    # p -> p + 3 sin(p / 9) along x has no inverse in closed form, but T(p) for chosen p is known.
    on = grid((60, 9, 9), (0.5, 2, 2), centre=(0, 0, 0))
    x = (np.arange(60) - 29.5) * 0.5
    displacement = np.zeros((60, 9, 9, 3), np.float32)
    displacement[..., 0] = (3 * np.sin(x / 9) / 0.5)[:, None, None]
    transform = DenseTransform(displacement, on.affine)
    wanted = np.stack([np.linspace(-9, 9, 25), np.full(25, 1.0), np.full(25, -2.0)], axis=-1)
    images = wanted + np.stack([3 * np.sin(wanted[:, 0] / 9), np.zeros(25), np.zeros(25)], axis=-1)
    found, inversion = invert_points(transform, images)
    # Linear interpolation of the sine over half a millimetre costs 3 / 9^2 * 0.5^2 / 8 = 0.001 mm.
    np.testing.assert_allclose(found, wanted, atol=0.003)
    assert inversion.failed == 0


@pytest.mark.parametrize('name', PAIRS)
def test_dense_transforms_with_an_affine_part_are_inverted(name):
    fixed = PAIRS[name][0]
    transform, points = both(fixed), inner_points(fixed)
    found, inversion = invert_points(transform, transform.map_points(points))
    np.testing.assert_allclose(found, points, atol=5e-3)
    assert inversion.max_mm <= TARGET_MM and inversion.iterations < 20


@pytest.mark.parametrize('degrees', [60, 120, 180])
def test_a_large_turn_is_inverted_although_the_plain_iteration_would_run_away(degrees):
    fixed = PAIRS['isotropic'][0]
    turn = AffineTransform(turned(degrees, 1) @ np.diag([1.8, 0.7, 1.4, 1]))
    transform, points = to_dense([turn, smooth(fixed)], fixed), inner_points(fixed)
    found, inversion = invert_points(transform, transform.map_points(points))
    np.testing.assert_allclose(found, points, atol=1e-2)
    assert inversion.failed == 0


def test_the_inverse_agrees_with_the_field_of_the_negative_velocity():
    on = grid((24, 24, 24), (1.5, 1.5, 1.5))
    voxels = np.moveaxis(np.indices(on.shape, np.float64), 0, -1)
    velocity = 2 * np.stack([np.sin(voxels[..., (k + 1) % 3] / 5 + k) for k in range(3)], axis=-1)
    # Nothing moves at the border, as in a registration.
    velocity *= np.prod(np.sin(np.pi * voxels / 23), axis=-1)[..., None]
    forward, backward = (DenseTransform(exponential(sign * velocity).astype(np.float32), on.affine) for sign in (1, -1))
    points = inner_points(on, 200)
    solved = NumericalInverse(forward)
    apart = np.linalg.norm(solved.map_points(points) - backward.map_points(points), axis=-1)
    assert np.linalg.norm(forward.map_points(points) - points, axis=-1).mean() > 1
    # In millimetres; both fields are known at voxels only, and are linear in between.
    assert apart.mean() < 0.03 and apart.max() < 0.12
    there_and_back = forward.map_points(solved.map_points(points)) - points
    assert np.linalg.norm(there_and_back, axis=-1).max() <= TARGET_MM
    started = NumericalInverse(forward, start=backward)
    started.map_points(points)
    assert started.inversions[0].iterations < solved.inversions[0].iterations


def crumpled():
    """Noise of several voxels in one half, so that space is folded over and over there; the other half stays still."""
    on = grid((16, 16, 16), (1, 1, 1), centre=(0, 0, 0))
    displacement = np.random.default_rng(0).uniform(-4, 4, (16, 16, 16, 3)).astype(np.float32)
    displacement[:8] = 0
    return DenseTransform(displacement, on.affine)


def test_a_fold_is_reported_and_many_are_an_error():
    transform, inverse = crumpled(), NumericalInverse(crumpled())
    candidates = np.array([[x, y, 0.0] for x in (3, 4, 5) for y in range(-4, 5)])
    bad = next(point for point in candidates if invert_points(transform, point)[1].failed)
    inverse.map_points(np.concatenate([np.tile([-6.0, 0, 0], (199, 1)), bad[None]]))
    (inversion,) = inverse.inversions
    assert inversion.failed == 1 and inversion.max_mm > FAILED_MM
    assert '1 points are off' in inversion.sentence
    with pytest.raises(UserError, match='cannot be inverted: .* of 27 points.*without folds.*more smoothness'):
        inverse.map_points(candidates)


@pytest.mark.parametrize('size', [1e-3, 1e-4])
def test_voxels_of_a_microscope_are_inverted_to_the_same_share_of_a_voxel(size):
    coarse = smooth(grid((12, 12, 12), (1, 1, 1), centre=(0, 0, 0)))
    fine = DenseTransform(coarse.displacement, np.diag([size, size, size, 1]) @ coarse.affine)
    points = inner_points(coarse.grid)
    found, inversion = invert_points(fine, points * size)
    np.testing.assert_allclose(fine.map_points(found) / size, points, atol=TARGET_MM)
    assert inversion.iterations == invert_points(coarse, points)[1].iterations
    for inverse in (NumericalInverse(fine), Chain((NumericalInverse(fine), affine()))):
        assert failed_mm(inverse) == pytest.approx(size * FAILED_MM)


def test_folds_of_a_microscope_are_reported():
    folded = crumpled()
    fine = DenseTransform(folded.displacement, np.diag([1e-3, 1e-3, 1e-3, 1]) @ folded.affine)
    points = np.array([[x, y, 0.0] for x in (3, 4, 5) for y in range(-4, 5)])
    with pytest.raises(UserError, match=r'off by more than 0\.0001 mm'):
        NumericalInverse(fine).map_points(points / 1000)


def test_a_bad_affine_part_does_not_spoil_points_that_stay_where_they_are():
    # One half mirrored onto the other: the best affine map is nearly flat, far from the truth on either side.
    on = grid((20, 8, 8), (1, 1, 1), centre=(0, 0, 0))
    x = np.arange(20) - 9.5
    displacement = np.zeros((20, 8, 8, 3), np.float32)
    displacement[..., 0] = np.where(x > 0, -2 * x, 0)[:, None, None]
    transform = DenseTransform(displacement, on.affine)
    assert nearest_affine(transform)[0, 0] < 0.1
    found, _ = invert_points(transform, np.array([-3.0, 1, 2]))
    np.testing.assert_allclose(transform.map_points(found), [-3, 1, 2], atol=2 * TARGET_MM)


def test_no_point_ends_further_off_than_it_started():
    transform, start = crumpled(), AffineTransform(np.eye(4))
    points = np.stack([np.linspace(-7, 7, 50), np.zeros(50), np.zeros(50)], axis=-1)
    before = np.linalg.norm(transform.map_points(start.map_points(points)) - points, axis=-1)
    found, _ = invert_points(transform, points, start)
    after = np.linalg.norm(transform.map_points(found) - points, axis=-1)
    assert (after <= before).all() and (after < before).any()


def test_shapes_are_kept_and_no_points_are_no_problem():
    transform = both(PAIRS['isotropic'][0])
    points = transform.map_points(inner_points(PAIRS['isotropic'][0], 12)).reshape(3, 4, 3)
    assert invert_points(transform, points)[0].shape == (3, 4, 3)
    found, inversion = invert_points(transform, np.zeros((0, 3)))
    assert found.shape == (0, 3) and inversion.points == 0 and inversion.mean_mm == 0


def test_a_vortex_is_inverted_although_space_is_turned_round_in_its_middle():
    # A turn by 2.5 (143 degrees) in the middle that fades outwards: there every step of the first kind leads away.
    on = grid((61, 61, 5), (0.5, 0.5, 4), centre=(0, 0, 0))
    points = grid_points(on)
    x, y, z = np.moveaxis(points, -1, 0)
    angle = 2.5 * np.exp(-(x**2 + y**2) / 36)
    moved = np.stack([np.cos(angle) * x - np.sin(angle) * y, np.sin(angle) * x + np.cos(angle) * y, z], axis=-1)
    displacement = np.linalg.solve(on.affine[:3, :3], (moved - points)[..., None])[..., 0]
    transform = DenseTransform(displacement.astype(np.float32), on.affine)
    wanted = np.random.default_rng(1).uniform([-9, -9, -6], [9, 9, 6], (60, 3))
    found, inversion = invert_points(transform, transform.map_points(wanted))
    np.testing.assert_allclose(found, wanted, atol=0.02)
    assert inversion.failed == 0
