"""Guides: checks, the working grid, and what they do to an instance optimisation."""

import dataclasses

import numpy as np
import pytest

from autofuse_jax.errors import UserError
from autofuse_jax.metrics.folding import jacobian_determinant, njd_percent
from autofuse_jax.metrics.overlap import dice_per_label
from autofuse_jax.metrics.structures import mean_over_structures
from autofuse_jax.metrics.warping import warp_labels
from autofuse_jax.registration import guide as guides
from autofuse_jax.registration import instance_levels
from autofuse_jax.registration.guide import (
    ClassMap,
    Guide,
    check_guide,
    class_map,
    guide_on_grid,
    maps_at,
)
from autofuse_jax.registration.instance import InstanceSettings, optimise_instance
from autofuse_jax.transforms.grids import ImageGrid, to_world
from autofuse_jax.transforms.inversion import inverse_affine
from autofuse_jax.transforms.maps import AffineTransform
from tests.registration.scenes import bulge, centred_grid, picture

GRID = centred_grid((32, 36, 28), (3.0, 3.0, 3.0))
STILL = AffineTransform(np.eye(4))
QUICK = InstanceSettings(shrink=(2, 1), steps=(20, 10), smoothness=0.2, guide=3.0)


@pytest.fixture(scope='module')
def pair():
    return picture(GRID, bulge, 'fixed'), picture(GRID, name='moving')


@pytest.fixture(scope='module')
def guide(pair):
    fixed, moving = (class_map(volume.labels, volume.affine, volume.name) for volume in pair)
    return Guide(fixed, moving, source='label maps')


def guide_through(guide, grid, lead):
    return guide_on_grid(guide, grid, lead, inverse_affine(lead))


def flat(volume):
    """An image without anything to see."""
    return np.full(volume.image.shape, 0.5, np.float32)


def test_classes_guide_where_the_images_show_nothing(pair, guide):
    fixed, moving = pair
    on_grid = guide_through(guide, GRID, STILL)
    result = optimise_instance(flat(fixed), flat(moving), QUICK, guide=on_grid, spacing=GRID.spacing)
    before = mean_over_structures(dice_per_label(fixed.labels, moving.labels, (1, 2, 3)))
    after = mean_over_structures(
        dice_per_label(fixed.labels, warp_labels(moving.labels, result.displacement), (1, 2, 3))
    )
    assert after > max(0.95, before + 0.05)
    assert njd_percent(jacobian_determinant(result.displacement)) == 0


def test_classes_ask_for_a_finer_velocity_where_voxels_are_fine(pair, guide, monkeypatch):
    fixed, moving = pair
    images, on_grid = (flat(fixed), flat(moving)), guide_through(guide, GRID, STILL)
    settings = InstanceSettings(shrink=(2,), steps=(5,))

    def velocity_grid(guide, spacing=(1.5, 1.5, 3.0)):
        return optimise_instance(*images, settings, guide=guide, spacing=spacing).velocity.shape[:3]

    assert velocity_grid(None) == (8, 9, 8)
    # The level has (16, 18, 14) voxels of 3 x 3 x 6 units; slices stay as they are, points ask for nothing.
    assert velocity_grid(on_grid) == (16, 18, 8)
    assert velocity_grid(dataclasses.replace(on_grid, fixed=None, moving=None)) == (8, 9, 8)
    monkeypatch.setattr(instance_levels, 'LARGE_LEVEL', 1000)
    assert velocity_grid(on_grid) == (8, 9, 8)


@pytest.mark.slow
def test_points_guide_where_the_images_show_nothing(pair):
    fixed, moving = pair
    inside = to_world(GRID.affine, np.array([[12.0, 18, 14], [14, 20, 15], [10, 20, 15], [12, 22, 12]]))
    on_grid = guide_through(Guide(fixed_points=inside, moving_points=bulge(inside)), GRID, STILL)
    settings = dataclasses.replace(QUICK, smoothness=0.02, points=0.5)
    result = optimise_instance(flat(fixed), flat(moving), settings, guide=on_grid, spacing=GRID.spacing)
    from autofuse_jax.transforms.maps import DenseTransform

    there = DenseTransform(result.displacement, GRID.affine).map_points(inside)
    before = np.linalg.norm(bulge(inside) - inside, axis=-1).mean()
    assert before > 3 and np.linalg.norm(there - bulge(inside), axis=-1).mean() < 0.3 * before


@pytest.mark.slow
def test_the_inverse_map_may_count_too(pair, guide):
    fixed, moving = pair
    both = dataclasses.replace(QUICK, shrink=(2,), steps=(10,), inverse=1.0)
    on_grid = guide_through(guide, GRID, STILL)
    there, back = (
        optimise_instance(flat(fixed), flat(moving), both, guide=g, spacing=GRID.spacing)
        for g in (on_grid, dataclasses.replace(on_grid, fixed=on_grid.moving, moving=on_grid.fixed))
    )
    np.testing.assert_allclose(there.velocity, -back.velocity, atol=2e-3)


def test_without_weight_a_guide_changes_nothing(pair, guide):
    fixed, moving = pair
    images = fixed.image / 100, moving.image / 100
    settings = InstanceSettings(shrink=(2,), steps=(5,), guide=0.0, points=0.0)
    alone = optimise_instance(*images, settings)
    guided = optimise_instance(*images, settings, guide=guide_through(guide, GRID, STILL))
    np.testing.assert_array_equal(alone.velocity, guided.velocity)


def test_labels_and_probabilities_on_grids_of_their_own(pair, guide):
    fixed, _ = pair
    fine = centred_grid((64, 72, 56), (1.5, 1.5, 1.5))
    labels = picture(fine, bulge).labels
    soft = ClassMap(np.stack([labels == k for k in (1, 2, 3)], -1).astype(np.float32), fine.affine, (1, 2, 3), 'soft')
    for other in (class_map(labels, fine.affine, 'fine'), soft):
        maps = guide_through(dataclasses.replace(guide, fixed=other), GRID, STILL).fixed
        assert maps.shape == (*GRID.shape, 3) and 0 <= maps.min() and maps.max() <= 1
        assert mean_over_structures(dice_per_label(fixed.labels, maps[..., 1].round().astype(int) * 2, (2,))) > 0.9


def test_the_alignment_is_applied_to_the_moving_side_once(pair, guide):
    shift = np.eye(4)
    shift[0, 3] = 3.0
    moved = guide_through(guide, GRID, AffineTransform(shift)).moving
    np.testing.assert_array_equal(moved[:-1], guide_through(guide, GRID, STILL).moving[1:])
    aligned = dataclasses.replace(guide, aligned=True)
    np.testing.assert_array_equal(
        guide_through(aligned, GRID, AffineTransform(shift)).moving, guide_through(guide, GRID, STILL).moving
    )
    points = Guide(fixed_points=np.zeros((1, 3)), moving_points=np.array([[3.0, 0.0, 0.0]]))
    there = guide_through(points, GRID, AffineTransform(shift))
    np.testing.assert_allclose(there.fixed_points, there.moving_points)


def test_many_classes_are_compared_in_coarser_voxels(monkeypatch):
    maps = np.random.default_rng(0).uniform(size=(8, 8, 8, 2)).astype(np.float32)
    assert maps_at(maps, (8, 8, 8)) is maps
    assert maps_at(maps, (4, 4, 4)).shape == (4, 4, 4, 2)
    monkeypatch.setattr(guides, 'LARGEST_MAPS', 500)
    coarse = maps_at(maps, (8, 8, 8))
    assert coarse.shape == (4, 4, 4, 2)
    np.testing.assert_allclose(coarse.mean(), maps.mean(), atol=0.01)


def test_guides_that_do_not_fit_are_refused(pair, guide):
    grids = GRID, GRID
    with pytest.raises(UserError, match='guide nothing is empty'):
        class_map(np.zeros((4, 4, 4), int), np.eye(4), 'nothing')
    with pytest.raises(UserError, match='for the fixed image only'):
        check_guide(dataclasses.replace(guide, moving=None), *grids)
    other = dataclasses.replace(guide.moving, labels=(7, 8))
    with pytest.raises(UserError, match='no class in common: 1, 2, 3 and 7, 8'):
        check_guide(dataclasses.replace(guide, moving=other), *grids)
    away = guide.moving.affine.copy()
    away[:3, 3] += 500
    with pytest.raises(UserError, match='lies elsewhere'):
        check_guide(dataclasses.replace(guide, moving=dataclasses.replace(guide.moving, affine=away)), *grids)
    points = np.zeros((2, 3))
    with pytest.raises(UserError, match='2 guiding points in the fixed image, 1 in the moving one'):
        check_guide(Guide(fixed_points=points, moving_points=points[:1]), *grids)
    with pytest.raises(UserError, match='no guiding point lies inside the moving image'):
        check_guide(Guide(fixed_points=points, moving_points=points + 900), *grids)
    with pytest.raises(UserError, match='for one image only'):
        check_guide(Guide(fixed_points=points), *grids)
    check_guide(guide, *grids)
    check_guide(guide, GRID, ImageGrid(GRID.shape, GRID.affine))
