"""The cine phantom: exact labels, known motion, reproducible data sets."""

import dataclasses

import numpy as np
import pytest

from autofuse_jax.data import phantom as phantoms
from autofuse_jax.data.manifests import Manifest, read_manifest
from autofuse_jax.data.phantom_motion import from_reference, to_reference
from autofuse_jax.errors import UserError
from autofuse_jax.metrics.folding import jacobian_determinant
from autofuse_jax.metrics.overlap import dice_per_label
from autofuse_jax.metrics.structures import mean_over_structures
from autofuse_jax.metrics.warping import warp_image, warp_labels

LABELS = (1, 2, 3)


def make(number: int = 0, **options) -> phantoms.Phantom:
    return phantoms.random_phantom(np.random.default_rng([7, number]), **options)


@pytest.fixture(scope='module')
def subjects() -> list[phantoms.Phantom]:
    return [make(number) for number in range(4)]


def test_frame_has_the_promised_types_and_range():
    image, labels = phantoms.render_frame(make(shape=(20, 24, 12)), 1)
    assert image.shape == labels.shape == (20, 24, 12)
    assert image.dtype == np.float32 and labels.dtype == np.uint8
    assert image.min() == 0 and image.max() == 1
    assert set(np.unique(labels)) == {0, 1, 2, 3}


def test_contraction_is_zero_at_diastole_and_one_at_systole():
    subject = make(frames=10)
    # 0.4 * 10 frames after frame 1.
    assert subject.systole == 5
    amounts = [subject.contraction(frame) for frame in range(1, 11)]
    assert amounts[0] == 0
    assert amounts[4] == pytest.approx(1)
    assert max(amounts) == amounts[4]
    # Frame 3 is half way through systole: sin^2(pi / 4) = 0.5.
    assert amounts[2] == pytest.approx(0.5)
    with pytest.raises(ValueError, match='frame 11 is outside 1 .. 10'):
        subject.contraction(11)


def test_two_frames_are_diastole_and_systole():
    subject = make(frames=2)
    assert subject.systole == 2 and subject.contraction(2) == pytest.approx(1)


def test_ventricles_shrink_and_overlap_before_registration_is_as_in_acdc(subjects):
    before = []
    for subject in subjects:
        relaxed = phantoms.render_frame(subject, 1)[1]
        contracted = phantoms.render_frame(subject, subject.systole)[1]
        before.append(mean_over_structures(dice_per_label(relaxed, contracted, LABELS)))
        # The drawn ejection fractions are 52 to 65 %; the formula ignores the rounding of the apex.
        ejection = 1 - np.count_nonzero(contracted == 3) / np.count_nonzero(relaxed == 3)
        assert 0.35 < ejection < 0.72
        assert np.count_nonzero(contracted == 1) < np.count_nonzero(relaxed == 1)
    assert 0.5 < np.mean(before) < 0.65


@pytest.mark.parametrize('to_systole', [True, False])
def test_true_displacement_carries_labels_and_image(subjects, to_systole):
    scores = []
    for subject in subjects:
        fixed_frame, moving_frame = (subject.systole, 1) if to_systole else (1, subject.systole)
        fixed, fixed_labels = phantoms.render_frame(subject, fixed_frame)
        moving, moving_labels = phantoms.render_frame(subject, moving_frame)
        displacement = phantoms.true_displacement(subject, fixed_frame, moving_frame)
        after = dice_per_label(fixed_labels, warp_labels(moving_labels, displacement), LABELS)
        scores.append(mean_over_structures(after))
        warped = warp_image(moving, displacement)
        assert np.corrcoef(fixed.ravel(), warped.ravel())[0, 1] > np.corrcoef(fixed.ravel(), moving.ravel())[0, 1]
    # What is missing to 1 is nearest sampling on 3 x 3 x 6 mm voxels.
    assert min(scores) > 0.88 and np.mean(scores) > 0.9


@pytest.mark.slow
def test_finer_voxels_bring_the_labels_closer():
    subject = make(shape=(72, 72, 32), spacing=(2.0, 2.0, 3.0))
    moving_labels = phantoms.render_frame(subject, subject.systole)[1]
    displacement = phantoms.true_displacement(subject, 1, subject.systole)
    after = dice_per_label(phantoms.render_frame(subject, 1)[1], warp_labels(moving_labels, displacement), LABELS)
    assert mean_over_structures(after) > 0.95


def test_motion_is_invertible_and_ends_before_the_border():
    for number in range(6):
        subject = make(number, shape=(24, 24, 12), spacing=(6.0, 6.0, 8.0))
        displacement = phantoms.true_displacement(subject, subject.systole, 1)
        assert jacobian_determinant(displacement).min() > 0.1
        for axis in range(3):
            for face in (0, -1):
                assert np.abs(displacement.take(face, axis)).max() < 1e-9
        # Strong enough to need registration: more than a voxel of 6 mm.
        assert np.abs(displacement).max() > 1


def test_map_and_inverse_cancel(subjects):
    subject = subjects[0]
    points = np.random.default_rng(0).uniform(-1, 1, size=(200, 3))
    options = {'amount': 1.0, 'extent': (1.0, 1.0, 1.0)}
    moved = to_reference(subject.anatomy, subject.motion, points, **options)
    back = from_reference(subject.anatomy, subject.motion, moved, **options)
    np.testing.assert_allclose(back, points, atol=1e-8)


def test_motion_beyond_its_range_is_refused(subjects):
    subject = subjects[0]
    wild = dataclasses.replace(subject.motion, left_gain=4.0)
    points = np.random.default_rng(0).uniform(-1, 1, size=(200, 3))
    with pytest.raises(ArithmeticError, match='inverting the phantom motion'):
        from_reference(subject.anatomy, wild, points, 1.0, (1.0, 1.0, 1.0))


def test_same_frame_needs_no_displacement():
    subject = make(shape=(16, 16, 8))
    np.testing.assert_allclose(phantoms.true_displacement(subject, 3, 3), 0, atol=1e-7)


def test_same_seed_same_phantom_and_other_seed_another():
    first, second, other = make(1), make(1), make(2)
    np.testing.assert_array_equal(phantoms.render_frame(first, 2)[0], phantoms.render_frame(second, 2)[0])
    assert np.abs(phantoms.render_frame(first, 2)[0] - phantoms.render_frame(other, 2)[0]).max() > 0.1


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'frames': 1}, 'at least 2'),
        ({'shape': (4, 48, 16)}, 'at least 8'),
        ({'spacing': (3.0, 0.0, 6.0)}, 'positive'),
    ],
)
def test_impossible_phantoms_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        make(**options)


DATASET_OPTIONS = {
    'train': 1,
    'validation': 1,
    'test': 1,
    'frames': 3,
    'shape': (16, 16, 8),
    'spacing': (9.0, 9.0, 12.0),
}


@pytest.fixture(scope='module')
def dataset(tmp_path_factory) -> Manifest:
    return phantoms.make_phantom_dataset(tmp_path_factory.mktemp('phantom'), **DATASET_OPTIONS)


def test_data_set_manifest_and_files(dataset):
    assert read_manifest(dataset.root) == dataset
    assert [subject.split for subject in dataset.subjects] == ['train', 'validation', 'test']
    assert dataset.classes == {0: 'background', 1: 'right ventricle', 2: 'myocardium', 3: 'left ventricle'}
    for subject in dataset.subjects:
        assert [frame.phase for frame in subject.frames] == ['ED', 'ES', '']
        for frame in subject.frames:
            with np.load(dataset.root / frame.file, allow_pickle=False) as arrays:
                assert arrays['vol'].dtype == np.float32 and arrays['vol'].shape == dataset.shape
                assert ('seg' in arrays) == frame.has_labels == bool(frame.phase)
                np.testing.assert_array_equal(arrays['affine'], np.diag([-9.0, 9.0, 12.0, 1.0]))


def test_subjects_differ_and_can_be_drawn_again(dataset):
    subject, seed = dataset.subjects[1], dataset.settings['seed']
    options = {'frames': dataset.settings['frames'], 'shape': dataset.shape, 'spacing': dataset.spacing}
    other, phantom = (phantoms.random_phantom(np.random.default_rng([seed, number]), **options) for number in (1, 2))
    with np.load(dataset.root / subject.frames[1].file) as arrays:
        image, labels = phantoms.render_frame(phantom, 2)
        np.testing.assert_array_equal(arrays['vol'], image)
        np.testing.assert_array_equal(arrays['seg'], labels)
    assert other.anatomy.radius != phantom.anatomy.radius


def test_present_data_is_kept(dataset):
    path = dataset.root / dataset.subjects[0].frames[0].file
    before = path.stat().st_mtime_ns
    assert phantoms.make_phantom_dataset(dataset.root, **DATASET_OPTIONS) == dataset
    assert path.stat().st_mtime_ns == before


def test_missing_file_is_drawn_again(dataset):
    path = dataset.root / dataset.subjects[0].frames[0].file
    with np.load(path) as arrays:
        before = arrays['vol']
    path.unlink()
    phantoms.make_phantom_dataset(dataset.root, **DATASET_OPTIONS)
    with np.load(path) as arrays:
        np.testing.assert_array_equal(arrays['vol'], before)


@pytest.mark.parametrize('change', [{'seed': 1}, {'shape': (16, 16, 16)}, {'spacing': (9.0, 9.0, 6.0)}])
def test_other_settings_need_another_folder(dataset, change):
    with pytest.raises(UserError, match='choose another folder'):
        phantoms.make_phantom_dataset(dataset.root, **{**DATASET_OPTIONS, **change})


@pytest.mark.parametrize('change', [{'train': -1}, {'train': 0, 'validation': 0, 'test': 0}, {'seed': -1}])
def test_impossible_sets_are_refused(tmp_path, change):
    with pytest.raises(UserError, match='phantom s'):
        phantoms.make_phantom_dataset(tmp_path, **{**DATASET_OPTIONS, **change})


@pytest.mark.parametrize('change', [{'shape': (16, 16)}, {'shape': (16, 16, 8) * 2}, {'spacing': (3.0, 3.0)}])
def test_grids_of_other_than_three_axes_are_refused(tmp_path, change):
    with pytest.raises(UserError, match='data.phantom.s.* is .* 3 numbers'):
        phantoms.make_phantom_dataset(tmp_path, **{**DATASET_OPTIONS, **change})
