"""Images of one slice: registered in their plane, wherever and however that lies in space."""

import dataclasses

import nibabel as nib
import numpy as np
import pytest

from autofuse_jax.data.volumes import Volume, read_image
from autofuse_jax.errors import UserError
from autofuse_jax.metrics.folding import jacobian_determinant
from autofuse_jax.metrics.local_correlation import local_correlation
from autofuse_jax.registration.alignment import AlignmentSettings
from autofuse_jax.registration.guide import Guide
from autofuse_jax.registration.instance import InstanceSettings
from autofuse_jax.registration.linear_maps import free_parameters
from autofuse_jax.registration.pipeline import register_volumes
from autofuse_jax.registration.pipeline_settings import PipelineSettings
from autofuse_jax.registration.planes import SLAB_SLICES, is_plane, slabs_of
from autofuse_jax.registration.results import write_results
from autofuse_jax.registration.rotations import axis_rotations, start_rotations
from autofuse_jax.registration.scores import inverse_consistency
from autofuse_jax.registration.symmetric import structure_size
from autofuse_jax.reports.display import choose_views, display_of
from autofuse_jax.transforms.grids import ImageGrid, canonical_grid, grid_points, to_world
from tests.registration.scenes import bulge, centred_grid, picture, rotation_and_shift

ALIGNMENT = AlignmentSettings(kind='rigid', spacings=(8.0, 4.0), steps=(60, 40), exact_steps=0)
QUICK = PipelineSettings(ALIGNMENT, InstanceSettings(shrink=(1,), steps=(25,), smoothness=0.2))
FIXED_GRID = centred_grid((44, 48, 1), (2.5, 2.5, 6.0))
# In the plane of the scene, z = 0.
TURN = rotation_and_shift(12.0, (4.0, -6.0, 0.0))
OFFSET = 7.5


def turned_about_x(degrees: float) -> np.ndarray:
    matrix = np.eye(4)
    angle = np.deg2rad(degrees)
    matrix[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return matrix


@pytest.fixture(scope='module')
def pair():
    """A slice of the scene, and the same slice turned, with the slice axis first, in a file that puts it elsewhere."""
    fixed = picture(FIXED_GRID, bulge, 'fixed', texture=True)
    grid = centred_grid((60, 56, 1), (2.0, 2.0, 4.0), axes='LPS')
    moving = picture(grid, lambda points: to_world(np.linalg.inv(TURN), points), 'moving', texture=True)
    affine = moving.affine[:, [2, 0, 1, 3]]
    affine[2, 3] += OFFSET
    image, labels = (np.moveaxis(array, 2, 0) for array in (moving.image, moving.labels))
    return fixed, Volume(image, labels, affine, 'moving')


@pytest.fixture(scope='module')
def result(pair):
    return register_volumes(*pair, QUICK)


def test_turn_and_bulge_are_found_in_the_plane(pair, result):
    fixed, moving = pair
    assert result.moved.shape == fixed.image.shape == (44, 48, 1)
    assert result.inverse.displacement.shape == (1, 60, 56, 3)
    points = grid_points(FIXED_GRID)
    expected = to_world(TURN, bulge(points)) + [0, 0, OFFSET]
    apart = np.linalg.norm(result.transform.map_points(points) - expected, axis=-1)
    inside = fixed.labels > 0
    assert apart[inside].mean() < 1.0 and np.linalg.norm(expected - points, axis=-1)[inside].mean() > 7
    # Everything stays in the plane of the moving image.
    np.testing.assert_allclose(result.transform.map_points(points)[..., 2], OFFSET, atol=1e-3)
    known = fixed.image > 5
    assert np.corrcoef(result.moved[known], fixed.image[known])[0, 1] > 0.97


def test_the_inverse_leads_back(result):
    assert inverse_consistency(result.transform, result.inverse)['p95'] < 1.0


def test_its_folder_holds_images_of_one_slice(result, tmp_path):
    report = write_results(tmp_path / 'out', result, about={'settings': {}, 'versions': {}})
    assert report['verdict']['level'] == 'good' and report['scores']['dsc_after'] > 0.9
    assert report['scores']['njd_percent'] == 0
    for name in ('moved', 'moved_labels', 'jacobian'):
        assert nib.load(tmp_path / 'out' / f'{name}.nii.gz').shape == (44, 48, 1)
    assert read_image(tmp_path / 'out' / 'moved.nii.gz').grid.same_as(FIXED_GRID)
    assert (tmp_path / 'out' / 'report.html').stat().st_size > 10_000


@pytest.mark.slow
def test_a_quarter_turn_is_found_and_a_mirror_image_noticed(pair):
    fixed, moving = pair
    settings = PipelineSettings(AlignmentSettings(kind='rigid', exact_steps=0), None)
    quarter = dataclasses.replace(moving, affine=rotation_and_shift(90.0, (0, 0, 0)) @ moving.affine)
    found = register_volumes(fixed, quarter, settings)
    assert found.alignment_record.start == 'rotations' and found.alignment_record.mirrored < 1
    expected = rotation_and_shift(90.0, (0, 0, 0)) @ TURN
    points = grid_points(FIXED_GRID)[fixed.labels > 0]
    assert np.linalg.norm((found.alignment.map_points(points) - to_world(expected, points))[:, :2], axis=-1).max() < 4
    mirrored = dataclasses.replace(fixed, image=fixed.image[::-1], labels=None)
    assert register_volumes(fixed, mirrored, settings).alignment_record.mirrored > 1


@pytest.mark.parametrize('degrees', [0, 10, 180])
def test_slabs_lie_in_a_world_of_their_own(pair, degrees):
    fixed, moving = pair
    moving = dataclasses.replace(moving, affine=turned_about_x(degrees) @ moving.affine)
    slabs = slabs_of(fixed, moving)
    for plane, slab, out in ((fixed, slabs.fixed, slabs.to_fixed), (moving, slabs.moving, slabs.to_moving)):
        np.testing.assert_allclose(out.matrix[:3, :3] @ out.matrix[:3, :3].T, np.eye(3), atol=1e-12)
        assert np.linalg.det(out.matrix) > 0
        thin = plane.image.shape.index(1)
        assert slab.image.shape[thin] == slab.labels.shape[thin] == SLAB_SLICES
        assert canonical_grid(slab.grid).shape[2] == SLAB_SLICES
        # Halfway between its two middle slices is the plane of the image.
        middle = np.mean([np.take(grid_points(slab.grid), place, thin) for place in (3, 4)], axis=0)
        np.testing.assert_allclose(middle[..., 2], 0, atol=1e-9)
        np.testing.assert_allclose(out.map_points(middle), np.take(grid_points(plane.grid), 0, thin), atol=1e-9)
    # What is opposite along the normal belongs together.
    across = slabs.to_moving.map_points(np.zeros(3)) - slabs.to_fixed.map_points(np.zeros(3))
    normal = slabs.to_moving.matrix[:3, 2]
    np.testing.assert_allclose(across, normal * (normal @ across), atol=1e-9)


def test_slices_of_other_directions_are_refused(pair):
    fixed, moving = pair
    moving = dataclasses.replace(moving, affine=turned_about_x(70) @ moving.affine)
    with pytest.raises(UserError, match='fixed and moving make an angle of 70 degrees.*correct the headers'):
        slabs_of(fixed, moving)


@pytest.mark.parametrize(
    ('shape', 'flat'), [((4, 5, 1), True), ((1, 5, 9), True), ((4, 5, 2), False), ((1, 1, 7), False)]
)
def test_a_plane_has_one_slice(shape, flat):
    assert is_plane(ImageGrid(shape, np.eye(4))) == flat


def test_what_stays_in_the_plane():
    assert np.flatnonzero(free_parameters('affine', in_plane=True)).tolist() == [0, 1, 5, 6, 7, 9]
    assert np.flatnonzero(free_parameters('rigid', in_plane=True)).tolist() == [0, 1, 5]
    for rotations, count in ((axis_rotations(in_plane=True), 4), (start_rotations(in_plane=True), 12)):
        assert len(rotations) == count
        np.testing.assert_allclose(rotations @ [0, 0, 1.0], np.broadcast_to([0, 0, 1.0], (count, 3)), atol=1e-12)


@pytest.mark.parametrize('axis', range(3))
def test_the_determinant_of_a_slice_is_that_within_it(axis):
    rng = np.random.default_rng(axis)
    plane = rng.normal(scale=0.3, size=(6, 7, 2))
    (a, b), (c, d) = (np.diff(plane, axis=along)[:5, :6].transpose(2, 0, 1) for along in (0, 1))
    first, second = (other for other in range(3) if other != axis)
    field = np.zeros((6, 7, 3))
    field[..., [first, second]] = plane
    determinant = jacobian_determinant(np.expand_dims(field, axis))
    np.testing.assert_allclose(np.squeeze(determinant, axis), (1 + a) * (1 + d) - b * c, atol=1e-12)


def test_a_slice_is_like_itself():
    image = np.random.default_rng(0).random((20, 1, 30), np.float32)
    assert local_correlation(image, image) == pytest.approx(1.0)
    assert local_correlation(image, image[::-1]) < 0.3


@pytest.mark.parametrize('shape', [(1, 20, 30), (20, 1, 30), (20, 30, 1)])
def test_a_single_slice_is_the_only_view(shape):
    display = display_of(np.diag([1.0, 1.0, 2.0, 1.0]), shape)
    (view,) = choose_views(display, np.ones(display.shape))
    assert sorted(view.cut(np.zeros(display.shape)).shape) == [20, 30]


def test_structures_of_a_slice_have_a_size(pair):
    fixed, _ = pair
    twice = dataclasses.replace(fixed, affine=fixed.affine @ np.diag([2.0, 2.0, 1.0, 1.0]))
    assert 0 < structure_size(fixed) == pytest.approx(structure_size(twice) / 2)


def flat(*shape):
    return Volume(np.random.default_rng(0).random(shape).astype(np.float32), None, np.eye(4), f'{shape}')


@pytest.mark.parametrize(
    ('first', 'second', 'message'),
    [
        (flat(9, 9, 1), flat(9, 9, 9), r'\(9, 9, 1\) is a 2-D image, and \(9, 9, 9\) a volume'),
        (flat(9, 9, 9), flat(1, 9, 9), r'\(1, 9, 9\) is a 2-D image, and'),
        (flat(9, 9, 2), flat(9, 9, 2), 'at least 4 voxels along each axis, or a single slice in both'),
        (flat(9, 3, 1), flat(9, 9, 1), r'the fixed image .* has shape \(9, 3, 1\)'),
        (flat(1, 1, 9), flat(1, 1, 9), r'has shape \(1, 1, 9\)'),
    ],
)
def test_images_that_are_too_thin_are_refused(first, second, message):
    with pytest.raises(UserError, match=message):
        register_volumes(first, second)


@pytest.mark.parametrize(
    ('given', 'option'),
    [
        ({'model': object()}, '--weights'),
        ({'guide': Guide(None, None)}, '--guide'),
        ({'initial': object()}, '--initial'),
    ],
)
def test_what_is_there_for_volumes_only_is_refused(given, option):
    with pytest.raises(UserError, match=f'the images have one slice.*leave out {option}'):
        register_volumes(flat(9, 9, 1), flat(9, 9, 1), **given)
