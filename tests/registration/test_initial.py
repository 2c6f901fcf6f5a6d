"""Transforms of others as the start of a registration: one transform in the end, interpolated once."""

import dataclasses

import numpy as np
import pytest

from autofuse_jax.data.notes import Notes
from autofuse_jax.errors import UserError
from autofuse_jax.registration.alignment import AlignmentSettings
from autofuse_jax.registration.initial import Initial, check_initial, moving_through, open_initial
from autofuse_jax.registration.pipeline import register_volumes
from autofuse_jax.registration.pipeline_settings import PipelineSettings
from autofuse_jax.transforms.grids import grid_points, to_world
from autofuse_jax.transforms.maps import AffineTransform, Chain, DenseTransform, to_dense
from autofuse_jax.transforms.resampling import moving_positions, sample_known
from autofuse_jax.transforms_io.files import write_transform
from autofuse_jax.transforms_io.sidecar import ImageRecord, TransformInfo
from tests.registration.scenes import bulge, centred_grid, picture, rotation_and_shift, world_difference
from tests.registration.test_pipeline import ALIGNMENT, FIXED_GRID, MOVING_GRID, QUICK, TURN, overlap
from tests.transforms_io.foreign import write_matlab

NOTHING = PipelineSettings(AlignmentSettings(kind='none', start='header'), None)
LPS = np.diag([-1.0, -1, 1, 1])


@pytest.fixture(scope='module')
def pair():
    fixed = picture(FIXED_GRID, bulge, 'fixed', texture=True)
    moving = picture(MOVING_GRID, lambda points: to_world(np.linalg.inv(TURN), points), 'moving', texture=True)
    return fixed, moving


def ants(path, matrix):
    """A matrix as ANTs stores it."""
    matrix = LPS @ matrix @ LPS
    return write_matlab(path, 'AffineTransform_double_3_3', [*matrix[:3, :3].ravel(), *matrix[:3, 3]], [0, 0, 0])


def bulging():
    """A field that brings the moving image exactly onto the fixed one: the bulge, then the turn."""
    world = to_world(TURN, bulge(grid_points(FIXED_GRID)))
    voxels = np.moveaxis(np.indices(FIXED_GRID.shape, np.float64), 0, -1)
    shift = to_world(np.linalg.inv(FIXED_GRID.affine), world) - voxels
    return DenseTransform(shift.astype(np.float32), FIXED_GRID.affine)


def saved(path, transform, fixed=None, moving=None):
    info = TransformInfo(
        fixed=ImageRecord('f.nii.gz', fixed or FIXED_GRID), moving=ImageRecord('m.nii.gz', moving or MOVING_GRID)
    )
    write_transform(path, transform, 'itk', info)
    return path


def test_instead_of_the_alignment(pair, tmp_path):
    initial = open_initial(ants(tmp_path / '0GenericAffine.mat', TURN), *pair, None)
    result = register_volumes(*pair, NOTHING, initial=initial)
    assert world_difference(result.transform, TURN, FIXED_GRID) < 1e-3
    np.testing.assert_allclose(result.alignment.matrix, TURN, atol=1e-9)
    assert [stage['name'] for stage in result.stages] == ['start: initial transform']
    plain = register_volumes(*pair, NOTHING)
    assert overlap(pair[0], result.moved_labels) > overlap(pair[0], plain.moved_labels) + 0.1


def test_several_compose_in_the_order_of_the_image(pair, tmp_path):
    first, second = rotation_and_shift(10.0, (0, 0, 0)), rotation_and_shift(0.0, (3.0, -5.0, 2.0))
    # A point passes through the last file first.
    names = [ants(tmp_path / 'a.mat', second), f'inverse:{ants(tmp_path / "b.mat", np.linalg.inv(first))}']
    initial = open_initial(names, *pair, None)
    np.testing.assert_allclose(initial.matrix, second @ first, atol=1e-9)
    np.testing.assert_allclose(initial.matrix, TURN, atol=1e-9)
    np.testing.assert_allclose(initial.backward.matrix, np.linalg.inv(TURN), atol=1e-9)


@pytest.mark.slow
def test_the_alignment_goes_on_from_it(pair, tmp_path):
    near = rotation_and_shift(14.0, (1.0, -2.0, 0.0))
    initial = open_initial(ants(tmp_path / 'a.mat', near), *pair, None)
    result = register_volumes(*pair, PipelineSettings(ALIGNMENT, None), initial=initial)
    names = [stage['name'] for stage in result.stages if not stage['name'].startswith('other way: ')]
    assert names[:4] == ['start: initial transform', 'translation at 8 mm', 'rigid at 8 mm', 'rigid at 4 mm']
    assert world_difference(result.transform, TURN, FIXED_GRID) < 0.5 * world_difference(
        AffineTransform(near), TURN, FIXED_GRID
    )


def test_a_deformation_stays_and_the_rest_comes_before_it(pair, tmp_path):
    fixed, moving = pair
    initial = open_initial(saved(tmp_path / '1Warp.nii.gz', bulging()), *pair, None)
    assert initial.matrix is None
    alone = register_volumes(*pair, NOTHING, initial=initial)
    np.testing.assert_allclose(alone.transform.displacement, bulging().displacement, atol=1e-3)
    again = sample_known(moving.image, moving_positions(alone.transform, fixed.grid, moving.affine), 0.0)
    np.testing.assert_array_equal(alone.moved, again)
    points = to_world(FIXED_GRID.affine, np.array([[12, 14, 10], [20, 22, 18], [16, 18, 14]]))
    np.testing.assert_allclose(alone.inverse.map_points(alone.transform.map_points(points)), points, atol=0.3)
    # Half of the way as a start, the other half is found.
    half = DenseTransform(0.5 * bulging().displacement, FIXED_GRID.affine)
    start = open_initial(saved(tmp_path / 'half.nii.gz', half), *pair, None)
    settings = dataclasses.replace(QUICK, alignment=NOTHING.alignment)
    result = register_volumes(*pair, settings, initial=start)
    before = register_volumes(*pair, NOTHING, initial=start)
    assert overlap(fixed, result.moved_labels) > overlap(fixed, before.moved_labels) + 0.02


@pytest.mark.slow
def test_the_alignment_after_a_deformation(pair, tmp_path):
    shift = rotation_and_shift(0.0, (5.0, -4.0, 3.0))
    off = to_dense([bulging(), AffineTransform(shift)], FIXED_GRID)
    initial = open_initial(saved(tmp_path / 'off.nii.gz', off), *pair, None)
    before = register_volumes(*pair, NOTHING, initial=initial)
    result = register_volumes(*pair, PipelineSettings(ALIGNMENT, None), initial=initial)
    assert overlap(pair[0], result.moved_labels) > overlap(pair[0], before.moved_labels) + 0.1
    # What was added comes before the deformation, and undoes some of the shift.
    expected = initial.forward.map_points(result.alignment.map_points(np.zeros((1, 3))))
    np.testing.assert_allclose(result.transform.map_points(np.zeros((1, 3))), expected, atol=0.05)
    assert result.alignment.matrix[0, 3] < -1


def test_the_moving_image_through_a_deformation_knows_what_it_shows(pair):
    fixed, moving = pair
    initial = Initial(Chain((AffineTransform(rotation_and_shift(0, (60.0, 0, 0))),)), AffineTransform(np.eye(4)))
    shown = moving_through(initial, fixed, dataclasses.replace(moving, mask=np.ones(moving.image.shape, np.float32)))
    assert shown.image.shape == fixed.image.shape and 0.2 < shown.mask.mean() < 0.9
    assert set(np.unique(shown.mask)) == {0, 1}
    assert moving_through(Initial(bulging(), bulging()), fixed, moving).mask.mean() > 0.6


def test_a_transform_for_another_place_is_refused_and_the_other_direction_proposed(pair, tmp_path):
    far = rotation_and_shift(0.0, (200.0, 0.0, 0.0))
    with pytest.raises(UserError, match='a.mat brings moving away from fixed: 0 % of the smaller.*made for these two'):
        register_volumes(*pair, NOTHING, initial=open_initial(ants(tmp_path / 'a.mat', far), *pair, None))
    moving = dataclasses.replace(pair[1], affine=far @ pair[1].affine)
    away = open_initial(ants(tmp_path / 'a.mat', np.linalg.inv(far)), pair[0], moving, None)
    with pytest.raises(UserError, match='0 % .*the other direction fits: inverse:.*a.mat'):
        check_initial(away, pair[0], moving)
    back = open_initial(f'inverse:{ants(tmp_path / "b.mat", np.linalg.inv(far))}', pair[0], moving, None)
    check_initial(back, pair[0], moving)


def test_a_small_field_of_view_inside_a_large_one_is_an_overlap(pair):
    small = dataclasses.replace(pair[1], image=pair[1].image[25:33, 25:33, 10:18], labels=None)
    small = dataclasses.replace(small, affine=pair[1].affine @ rotation_and_shift(0, (25, 25, 10)))
    check_initial(Initial(AffineTransform(np.eye(4)), AffineTransform(np.eye(4))), pair[0], small)
    check_initial(Initial(AffineTransform(np.eye(4)), AffineTransform(np.eye(4))), small, pair[0])


def test_files_that_say_that_they_go_the_other_way(pair, tmp_path):
    path = saved(tmp_path / 'a.txt', AffineTransform(TURN), fixed=MOVING_GRID, moving=FIXED_GRID)
    with pytest.raises(UserError, match='the fixed onto the moving image.*turn it round: inverse:.*a.txt'):
        open_initial(path, *pair, None)
    assert open_initial(f'inverse:{path}', *pair, None).matrix is not None


def test_no_files_are_no_transform(pair):
    assert open_initial([], *pair, None) is None


def test_files_of_other_grids_are_told(pair, tmp_path):
    other = centred_grid((10, 11, 12), (7, 7, 7))
    path = saved(tmp_path / 'a.txt', AffineTransform(TURN), fixed=other)
    sentences = open_initial(path, *pair, None).sentences
    assert len(sentences) == 2 and 'ends on the grid of f.nii.gz (10x11x12' in sentences[1]


def test_images_that_itk_places_elsewhere_are_told_with_transforms_of_itk(pair, tmp_path):
    path = ants(tmp_path / 'a.mat', TURN)
    moved = dataclasses.replace(pair[1], notes=Notes(itk_obstacle='ITK takes the qform of moving'))
    assert len(open_initial(path, *pair, None).sentences) == 1
    sentences = open_initial(path, pair[0], moved, None).sentences
    assert len(sentences) == 2 and 'ITK takes the qform of moving; ' in sentences[1] and 'a.mat was' in sentences[1]
    assert len(open_initial(saved(tmp_path / 'b.txt', AffineTransform(TURN)), pair[0], moved, None).sentences) == 1


def test_a_deformation_without_inverse_is_refused_before_the_work(pair, tmp_path):
    noise = np.random.default_rng(0).uniform(-6, 6, (*FIXED_GRID.shape, 3)).astype(np.float32)
    initial = open_initial(saved(tmp_path / 'a.nii.gz', DenseTransform(noise, FIXED_GRID.affine)), *pair, None)
    with pytest.raises(UserError, match='cannot be inverted'):
        register_volumes(*pair, NOTHING, initial=initial)


def test_the_voxels_of_fsl_are_those_of_the_pair(pair, tmp_path):
    np.savetxt(tmp_path / 'flirt.mat', np.eye(4))
    other = dataclasses.replace(pair[1], notes=Notes(fsl_obstacle='moving has neither sform nor qform'))
    with pytest.raises(UserError, match='moving has neither'):
        open_initial(tmp_path / 'flirt.mat', pair[0], other, None)
    initial = open_initial(tmp_path / 'flirt.mat', *pair, None)
    # The first corners of FSL's frames meet.
    corner = np.array([FIXED_GRID.shape[0] - 1, 0, 0]), np.array([MOVING_GRID.shape[0] - 1, 0, 0])
    expected = to_world(MOVING_GRID.affine, corner[1])
    np.testing.assert_allclose(initial.forward.map_points(to_world(FIXED_GRID.affine, corner[0])), expected, atol=1e-9)
    with pytest.raises(UserError, match='flirt.mat cannot be read without the two images.*--save-transform RESULT.tfm'):
        open_initial([ants(tmp_path / 'a.mat', TURN), tmp_path / 'flirt.mat', tmp_path / 'flirt.mat'], *pair, None)
