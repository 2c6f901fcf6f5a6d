"""Linear alignment in world space."""

import dataclasses

import numpy as np
import pytest

from autofuse_jax.data.volumes import Volume
from autofuse_jax.errors import UserError
from autofuse_jax.metrics.overlap import dice_per_label
from autofuse_jax.metrics.structures import mean_over_structures
from autofuse_jax.registration import alignment
from autofuse_jax.registration.alignment import Alignment, AlignmentSettings, align
from autofuse_jax.registration.contrast import Contrast
from autofuse_jax.transforms.grids import to_world
from autofuse_jax.transforms.maps import AffineTransform
from autofuse_jax.transforms.resampling import moving_positions, sample_labels
from tests.registration.scenes import centred_grid, picture, rotation_and_shift, world_difference

QUICK = AlignmentSettings(kind='rigid', spacings=(8.0, 4.0), steps=(60, 40), exact_steps=0)
FIXED_GRID = centred_grid((44, 48, 40), (2.5, 2.5, 2.5))
# Where the fixed world's points are in the moving world.
TRUTH = rotation_and_shift(12.0, (4.0, -6.0, 3.0))


def pair(truth=TRUTH, grid=None):
    """The scene, and the scene moved by `truth` on a grid of other axes, spacing and orientation."""
    grid = grid or centred_grid((60, 56, 30), (2.0, 2.0, 4.0), turn=20, axes='LPS')
    fixed = picture(FIXED_GRID)
    return fixed, picture(grid, lambda points: to_world(np.linalg.inv(truth), points), 'moved scene')


def overlap(fixed, moving, matrix):
    labels = sample_labels(moving.labels, moving_positions(AffineTransform(matrix), FIXED_GRID, moving.affine))
    return mean_over_structures(dice_per_label(fixed.labels, labels, (1, 2, 3)))


@pytest.fixture(scope='module')
def rotated():
    """An alignment across grids, and what it reported on its way."""
    reports = []
    return align(*pair(), QUICK, on_progress=lambda *report: reports.append(report)), reports


def test_finds_a_rotation_and_a_shift_across_grids(rotated):
    found, _ = rotated
    before = world_difference(AffineTransform(np.eye(4)), TRUTH, FIXED_GRID)
    after = world_difference(AffineTransform(found.matrix), TRUTH, FIXED_GRID)
    assert before > 5 and after < 0.7, (before, after)
    np.testing.assert_allclose(found.matrix[:3, :3] @ found.matrix[:3, :3].T, np.eye(3), atol=1e-5)
    assert found.agreement.mean_mm < 4 and found.agreement.share < 0.15


@pytest.mark.slow
def test_small_things_are_aligned_as_well_as_large_ones():
    # A mouse in the millimetres of its scanner: the same voxels, a twentieth of the size.
    size = 0.05
    smaller = np.diag([size, size, size, 1.0])
    volumes = [dataclasses.replace(volume, affine=smaller @ volume.affine) for volume in pair()]
    found = align(*volumes, dataclasses.replace(QUICK, spacings=None, steps=(60, 40, 1)))
    assert [stage['name'] for stage in found.stages if stage['name'].startswith('rigid')] == [
        f'rigid at {spacing} mm' for spacing in (0.4, 0.2, 0.1)
    ]
    expected = smaller @ TRUTH @ np.linalg.inv(smaller)
    assert world_difference(AffineTransform(found.matrix), expected, volumes[0].grid) < 0.7 * size


@pytest.mark.parametrize('inverted', [pytest.param(False, marks=pytest.mark.slow), True])
def test_mutual_information_aligns_whatever_the_contrast(inverted):
    fixed, moving = pair()
    if inverted:
        moving = Volume(np.where(moving.image > 2, 120 - moving.image, 0), None, moving.affine, 'inverted')
    # Coarser than the correlation: joint histograms take long without an optimising compiler.
    found = align(fixed, moving, dataclasses.replace(QUICK, similarity='mi', spacings=(8.0,), steps=(60,)))
    before, after = (
        world_difference(AffineTransform(matrix), TRUTH, FIXED_GRID) for matrix in (np.eye(4), found.matrix)
    )
    assert after < 4.5 < before / 3, (before, after)
    if inverted:
        # Once they lie on each other, contrasts can be matched, and the correlation leads nearer.
        matched = align(fixed, moving, dataclasses.replace(QUICK, similarity='matched', spacings=(8.0,), steps=(60,)))
        assert world_difference(AffineTransform(matched.matrix), TRUTH, FIXED_GRID) < 0.8 * after
        assert [stage['name'] for stage in matched.stages][-2:] == [
            f'in one contrast: {kind} at 8 mm' for kind in ('translation', 'rigid')
        ]


def test_what_was_tried_is_recorded_where_mutual_information_does_worse(monkeypatch):
    def tried(fixed, moving, settings, *_):
        return Alignment(np.eye(4), 'header', ({'name': settings.similarity},), settings.similarity)

    contrasts = iter([Contrast(0.01, 0.05, False), Contrast(0.01, 0.02, False)])
    monkeypatch.setattr(alignment, 'align_by_one', tried)
    monkeypatch.setattr(alignment, 'contrast_of', lambda *_: next(contrasts))
    found = align(*pair(), dataclasses.replace(QUICK, similarity='auto'))
    assert [stage['name'] for stage in found.stages] == ['ncc', 'mi']
    assert found.contrast.dependence == 0.05 and found.similarity == 'mind'


@pytest.mark.parametrize(('shift', 'chosen'), [(500.0, 'ncc'), (0.0, 'mi')], ids=['off the image', 'onto it'])
def test_an_alignment_is_not_taken_where_the_images_share_nothing_any_more(monkeypatch, shift, chosen):
    image = picture(FIXED_GRID, texture=True)
    other = Volume(np.where(image.image > 5, np.abs(image.image - 50) + 30, 0), None, image.affine, 'other')
    matrices = {'ncc': np.eye(4), 'mi': np.eye(4)}
    matrices['ncc'][0, 3], matrices['mi'][0, 3] = 5.0, shift

    def tried(fixed, moving, settings, *_):
        return Alignment(matrices[settings.similarity], 'header', (), settings.similarity)

    monkeypatch.setattr(alignment, 'align_by_one', tried)
    found = align(image, other, dataclasses.replace(QUICK, kind='none', similarity='auto'))
    np.testing.assert_array_equal(found.matrix, matrices[chosen])
    assert np.isfinite(found.contrast.dependence) and found.similarity == 'matched'


@pytest.mark.slow
def test_affine_finds_a_change_of_size():
    truth = TRUTH.copy()
    truth[:3, :3] = truth[:3, :3] @ np.diag([1.1, 0.92, 1.05])
    fixed, moving = pair(truth)
    found = align(fixed, moving, dataclasses.replace(QUICK, kind='affine'))
    # Ellipsoids say little about shear; what counts is that the structures meet.
    assert overlap(fixed, moving, np.eye(4)) < 0.8
    assert overlap(fixed, moving, found.matrix) > overlap(fixed, moving, truth) - 0.03
    searched = ('rotations: ', 'mirror image: ', 'other way: ')
    assert [stage['name'] for stage in found.stages if not stage['name'].startswith(searched)] == [
        'translation at 8 mm',
        'rigid at 8 mm',
        'affine at 8 mm',
        'affine at 4 mm',
    ]
    assert all(stage['loss_last'] < stage['loss_first'] < 0 for stage in found.stages[:1])


def test_images_far_apart_start_from_their_centres():
    far = rotation_and_shift(0.0, (400.0, 0.0, -300.0))
    grid = centred_grid((60, 56, 30), (2.0, 2.0, 4.0))
    grid.affine[:3, 3] += (400.0, 0.0, -300.0)
    fixed, moving = pair(far, grid)
    found = align(fixed, moving, dataclasses.replace(QUICK, kind='translation', spacings=(8.0,), steps=(60,)))
    assert found.start in ('centres', 'masses')
    assert world_difference(AffineTransform(found.matrix), far, FIXED_GRID) < 1.4


def test_headers_are_trusted_where_they_are_as_good_as_anything():
    fixed, moving = pair(np.eye(4))
    found = align(fixed, moving, dataclasses.replace(QUICK, kind='none', start='auto'))
    assert found.start == 'header'
    np.testing.assert_array_equal(found.matrix, np.eye(4))
    assert found.stages == ()


@pytest.mark.parametrize('masked', [True, pytest.param(False, marks=pytest.mark.slow)])
def test_masks_choose_what_is_aligned(masked):
    fixed, moving = pair()
    # A bright bar that stays where it is would pull the alignment to the identity.
    images = []
    for volume in (fixed, moving):
        with_bar = volume.image.copy()
        with_bar[:, :, :6] = 100
        mask = np.ones(volume.image.shape, np.float32)
        mask[:, :, :8] = 0
        images.append(Volume(with_bar, None, volume.affine, volume.name, mask=mask if masked else None))
    error = world_difference(AffineTransform(align(*images, QUICK).matrix), TRUTH, FIXED_GRID)
    assert error < 1 if masked else error > 3, error


def test_progress_is_reported(rotated):
    _, reports = rotated
    names = list(dict.fromkeys(report[0] for report in reports))
    names = [name for name in names if not name.startswith(('rotations: ', 'other way: '))]
    assert names == ['translation at 8 mm', 'rigid at 8 mm', 'rigid at 4 mm', 'mirror image: rigid at 4 mm']
    assert all(0 < done <= total and np.isfinite(loss) for _, done, total, loss in reports)


@pytest.mark.parametrize(
    'wrong',
    [
        {'kind': 'spline'},
        {'similarity': 'ssd'},
        {'start': 'luck'},
        {'steps': (10,)},
        {'steps': (10, 0)},
        {'steps': (10, 2.5)},
        {'spacings': (8.0, -1.0)},
        {'spacings': (), 'steps': ()},
        {'learning_rate': 0.0},
        {'tolerance': 2.0},
    ],
)
def test_wrong_settings_are_named(wrong):
    with pytest.raises(UserError, match='alignment'):
        AlignmentSettings(**{'spacings': (8.0, 4.0), 'steps': (10, 10)} | wrong)


def test_a_copy_shifted_by_whole_voxels_is_found_to_a_hundredth_of_a_voxel():
    fixed = picture(centred_grid((24, 26, 22), (2.5, 2.5, 2.5)), texture=True)
    native = AlignmentSettings('translation', 'ncc', 'masses', spacings=(2.5,), steps=(20,))
    shifted = dataclasses.replace(fixed, image=np.roll(fixed.image, (2, -1, 3), (0, 1, 2)), name='shifted')
    matrix = np.eye(4)
    matrix[:3, 3] = fixed.affine[:3, :3] @ (2, -1, 3)
    exact, near = (align(fixed, shifted, dataclasses.replace(native, exact_steps=steps)) for steps in (12, 0))
    apart = [world_difference(AffineTransform(found.matrix), matrix, fixed.grid) for found in (exact, near)]
    assert apart[0] < 0.025 < apart[1], apart
    names = [[stage['name'] for stage in found.stages] for found in (exact, near)]
    assert names == [['translation at 2.5 mm', 'translation at 2.5 mm, exactly'], ['translation at 2.5 mm']]
