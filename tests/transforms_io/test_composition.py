import dataclasses

import numpy as np
import pytest

from autofuse_jax.errors import UserError
from autofuse_jax.transforms.grids import cut_grid
from autofuse_jax.transforms.inversion import NumericalInverse, inverse_affine
from autofuse_jax.transforms.maps import AffineTransform, DenseTransform, to_dense
from autofuse_jax.transforms_io.composition import backward_of, forward_of, gaps, inside, load_steps
from autofuse_jax.transforms_io.files import write_transform
from autofuse_jax.transforms_io.saved_inverse import missed_share
from autofuse_jax.transforms_io.sidecar import TransformInfo
from tests.transforms.examples import PAIRS, affine, both, grid, inner_points, record, smooth

FIXED, MOVING = PAIRS['oblique']
INFO = TransformInfo(fixed=record(FIXED, 'fixed.nii.gz'), moving=record(MOVING, 'moving.nii.gz'))
BACK = TransformInfo(fixed=INFO.moving, moving=INFO.fixed, role='inverse', inverse='forward.nii.gz')
POINTS = inner_points(FIXED)


@pytest.fixture
def saved(tmp_path):
    """forward.nii.gz with a saved inverse that is told apart by a shift of 0.5 mm, alone.nii.gz without, affine.txt."""
    forward = both(FIXED)
    write_transform(tmp_path / 'alone.nii.gz', forward, 'itk', INFO)
    write_transform(tmp_path / 'forward.nii.gz', forward, 'itk', dataclasses.replace(INFO, inverse='inverse.nii.gz'))
    shift = np.eye(4)
    shift[0, 3] = 0.5
    field = to_dense([AffineTransform(shift), NumericalInverse(forward)], MOVING)
    write_transform(tmp_path / 'inverse.nii.gz', field, 'itk', BACK)
    write_transform(tmp_path / 'affine.txt', affine(), 'itk', INFO)
    return tmp_path


def load_step(text, **options):
    (step,) = load_steps([text], **options)
    return step


def names(step):
    return step.fixed.file, step.moving.file


def test_a_transform_goes_forward_and_exactly_back(saved):
    step = load_step(str(saved / 'alone.nii.gz'))
    assert names(step) == ('fixed.nii.gz', 'moving.nii.gz')
    np.testing.assert_allclose(step.forward.map_points(POINTS), both(FIXED).map_points(POINTS), atol=1e-4)
    np.testing.assert_allclose(step.backward.map_points(step.forward.map_points(POINTS)), POINTS, atol=5e-3)


@pytest.mark.parametrize('turned', [{'inverse': True}, {}])
def test_an_inverse_without_a_file_is_solved_for(saved, turned):
    text = str(saved / 'alone.nii.gz')
    step = load_step(text if turned else f'inverse:{text}', **turned)
    assert names(step) == ('moving.nii.gz', 'fixed.nii.gz') and 'solved for each point' in step.source
    images = both(FIXED).map_points(POINTS)
    np.testing.assert_allclose(step.forward.map_points(images), POINTS, atol=5e-3)
    np.testing.assert_allclose(step.backward.map_points(POINTS), images, atol=1e-4)


def test_an_inverse_turned_round_is_the_transform(saved):
    step = load_step(f'inverse:{saved / "alone.nii.gz"}', inverse=True)
    assert names(step) == ('fixed.nii.gz', 'moving.nii.gz')
    np.testing.assert_allclose(step.forward.map_points(POINTS), both(FIXED).map_points(POINTS), atol=1e-4)


def test_a_saved_inverse_is_used_for_images_and_refined_for_points(saved):
    step = load_step(f'inverse:{saved / "forward.nii.gz"}')
    assert step.source == 'inverse saved as inverse.nii.gz' and names(step) == ('moving.nii.gz', 'fixed.nii.gz')
    images = both(FIXED).map_points(POINTS)
    np.testing.assert_allclose(step.forward.map_points(images), POINTS + [0.5, 0, 0], atol=0.1)
    onward = load_step(str(saved / 'forward.nii.gz'))
    assert isinstance(onward.backward, NumericalInverse) and onward.backward.start is not None
    images = onward.forward.map_points(POINTS)
    np.testing.assert_allclose(onward.backward.map_points(images), POINTS, atol=5e-3)


def test_a_missing_inverse_is_solved_for_and_a_foreign_one_refused(saved):
    other = dataclasses.replace(BACK, fixed=record(grid((9, 9, 9), (4, 4, 4)), 'stranger.nii.gz'))
    write_transform(saved / 'inverse.nii.gz', smooth(other.fixed.grid), 'itk', other)
    with pytest.raises(UserError, match='is no inverse of .*stranger.nii.gz.*moving image of forward.nii.gz'):
        load_step(str(saved / 'forward.nii.gz'))
    (saved / 'inverse.nii.gz').unlink()
    assert 'solved for' in load_step(f'inverse:{saved / "forward.nii.gz"}').source


def test_the_inverse_of_another_registration_on_the_same_grid_is_refused(saved):
    # The way back of the alignment alone leaves the deformation undone, 2.5 mm or two voxels.
    foreign = to_dense([inverse_affine(affine(shift=(4, -2, 1)))], MOVING)
    write_transform(saved / 'inverse.nii.gz', foreign, 'itk', BACK)
    with pytest.raises(
        UserError, match=r'inverse.nii.gz is no inverse of .*forward.nii.gz: .* % end more than a voxel'
    ):
        load_step(f'inverse:{saved / "forward.nii.gz"}')
    # The way forward needs no inverse but for points, whose solution does not start from a wrong one.
    step = load_step(str(saved / 'forward.nii.gz'))
    assert step.backward.start is None
    np.testing.assert_allclose(step.backward.map_points(step.forward.map_points(POINTS)), POINTS, atol=5e-3)


def test_an_inverse_that_is_known_nowhere_near_is_not_judged(saved):
    far = DenseTransform(np.zeros((4, 4, 4, 3), np.float32), np.eye(4) + 900 * np.eye(4, k=3))
    assert missed_share(both(FIXED), far) == 0
    # Beyond its grid a field is a guess, so what its border says of the points there does not count.
    half = cut_grid(MOVING, (0, 0, 0), (12, 26, 22))
    assert missed_share(both(FIXED), to_dense([NumericalInverse(both(FIXED))], half)) < 0.01


def test_an_affine_is_inverted_exactly(saved):
    step = load_step(f'inverse:{saved / "affine.txt"}')
    np.testing.assert_allclose(step.forward.map_points(affine().map_points(POINTS)), POINTS, atol=1e-9)
    assert names(step) == ('moving.nii.gz', 'fixed.nii.gz')


def test_compositions_go_the_right_way(saved):
    # An image passes through the field, then through the affine; a point of the last image the other way round.
    steps = [load_step(str(saved / name)) for name in ('alone.nii.gz', 'affine.txt')]
    expected = both(FIXED).map_points(affine().map_points(POINTS))
    np.testing.assert_allclose(forward_of(steps).map_points(POINTS), expected, atol=1e-4)
    np.testing.assert_allclose(backward_of(steps).map_points(expected), POINTS, atol=5e-3)


def test_gaps_between_steps_are_told(saved):
    steps = [load_step(str(saved / 'alone.nii.gz')), load_step(f'inverse:{saved / "alone.nii.gz"}')]
    assert gaps(steps) == []
    (sentence,) = gaps([steps[0], steps[0]])
    assert 'ends on the grid of fixed.nii.gz' in sentence and 'starts from moving.nii.gz' in sentence


def test_points_are_inside_where_images_and_fields_are(saved):
    step = load_step(str(saved / 'alone.nii.gz'))
    far = POINTS[:1] + [[500, 0, 0]]
    fixed_points = np.concatenate([POINTS, far])
    moving_points = step.forward.map_points(fixed_points)
    expected = [True] * len(POINTS) + [False]
    np.testing.assert_array_equal(inside([step], fixed_points, moving_points), expected)
    np.testing.assert_array_equal(inside([step.inverted()], moving_points, fixed_points), expected)
    # Without any image the field alone decides.
    bare = dataclasses.replace(step, fixed=None, moving=None)
    np.testing.assert_array_equal(inside([bare], fixed_points, moving_points), expected)
