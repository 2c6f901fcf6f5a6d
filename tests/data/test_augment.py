import numpy as np
import pytest

from autofuse_jax.data.augment import Augmentation, augment_pair, augment_plane, crop_at_random
from autofuse_jax.errors import UserError

STRONG = Augmentation(rotation=30.0, scale=0.3, shift=0.2, gamma=0.5)
GEOMETRY = Augmentation(rotation=30.0, scale=0.3, shift=0.2)


class Highest:
    """In place of a generator: every draw is the upper limit of its distribution, so that the transform is known."""

    def uniform(self, low, high, size=None):
        return high if size is None else np.full(size, high)


def pair_of(fixed, moving=None, fixed_labels=None, moving_labels=None):
    moving = fixed if moving is None else moving
    zeros = np.zeros(fixed.shape, np.uint8)
    arrays = {
        'fixed': fixed.astype(np.float32)[..., None],
        'moving': moving.astype(np.float32)[..., None],
        'fixed_labels': zeros if fixed_labels is None else fixed_labels.astype(np.uint8),
        'moving_labels': zeros if moving_labels is None else moving_labels.astype(np.uint8),
        'fixed_has_labels': np.float32(fixed_labels is not None),
        'moving_has_labels': np.float32(moving_labels is not None),
    }
    for array in arrays.values():
        if array.ndim:
            array.setflags(write=False)  # as the frame store hands them out
    return arrays


def random_pair(seed=0, shape=(9, 7, 3)):
    rng = np.random.default_rng(seed)
    images, labels = rng.random((2, *shape)), rng.choice([0, 1, 5], (2, *shape))
    return pair_of(images[0], images[1], labels[0], labels[1])


def test_inactive_by_default():
    assert not Augmentation().active
    arrays = random_pair()
    for name, value in augment_pair(arrays, Augmentation(), np.random.default_rng(0)).items():
        np.testing.assert_array_equal(value, arrays[name])


@pytest.mark.parametrize('field', ['rotation', 'scale', 'shift', 'gamma', 'elastic'])
def test_each_field_alone_is_active_and_changes_the_images(field):
    augmentation = Augmentation(**{field: 0.4})
    assert augmentation.active
    arrays = random_pair()
    result = augment_pair(arrays, augmentation, np.random.default_rng(0))
    assert not np.array_equal(result['fixed'], arrays['fixed'])
    assert not np.array_equal(result['moving'], arrays['moving'])


def test_quarter_turn():
    # x_in = R (x_out - c) + c with R = [[0, -1], [1, 0]] and c = (2, 2): out[i, j] = in[4 - j, i].
    image = np.zeros((5, 5, 2))
    image[1:4, 1:4, 0] = np.arange(1, 10).reshape(3, 3) / 10
    image[1, 2, 1] = 1.0  # the second slice is turned on its own: (4 - j, i) = (1, 2) for (i, j) = (2, 3)
    labels = (image > 0.35).astype(np.uint8)
    result = augment_pair(pair_of(image, fixed_labels=labels), Augmentation(rotation=90.0), Highest())
    wanted = np.zeros((5, 5, 2))
    wanted[1:4, 1:4, 0] = np.array([[7, 4, 1], [8, 5, 2], [9, 6, 3]]) / 10
    wanted[2, 3, 1] = 1.0
    np.testing.assert_allclose(result['fixed'][..., 0], wanted, atol=1e-6)
    np.testing.assert_array_equal(result['fixed_labels'], wanted > 0.35)


def test_shift_by_whole_voxels():
    # A quarter of a 4 x 8 plane is (1, 2) voxels: out[i, j] = in[i - 1, j - 2], zero where that is outside.
    rng = np.random.default_rng(0)
    image, labels = rng.random((4, 8, 2)), rng.integers(0, 4, (4, 8, 2))
    result = augment_pair(pair_of(image, fixed_labels=labels), Augmentation(shift=0.25), Highest())
    wanted = np.zeros((4, 8, 2))
    wanted[1:, 2:] = image[:-1, :-2]
    np.testing.assert_allclose(result['fixed'][..., 0], wanted, atol=1e-6)
    wanted[1:, 2:] = labels[:-1, :-2]
    np.testing.assert_array_equal(result['fixed_labels'], wanted)


def test_enlargement():
    # x_in = (x_out - 2) / 1.6 + 2: output voxels 0 .. 4 look at 0.75, 1.375, 2, 2.625, 3.25.
    ramp = np.arange(5.0)[:, None, None] / 4 * np.ones((5, 5, 2))
    result = augment_pair(pair_of(ramp), Augmentation(scale=0.6), Highest())
    np.testing.assert_allclose(result['fixed'][:, 2, 0, 0], np.array([0.75, 1.375, 2, 2.625, 3.25]) / 4, atol=1e-6)


@pytest.mark.parametrize('name', ['rotation', 'scale', 'shift', 'gamma', 'elastic'])
@pytest.mark.parametrize('value', [-0.1, float('nan'), '1'])
def test_a_value_out_of_its_range_is_named(name, value):
    with pytest.raises(UserError, match=f'data.augmentation.{name} is {value!r}.*a number of 0 or more'):
        Augmentation(**{name: value})


def test_an_image_cannot_vanish():
    with pytest.raises(UserError, match='data.augmentation.scale is 1.0.*less than 1'):
        Augmentation(scale=1.0)


def test_gamma_changes_intensities_only():
    # Exponent 2 ** 1.
    image, labels = np.array([[[0.0, 0.5, 1.0]]]), np.array([[[0, 1, 2]]])
    result = augment_pair(pair_of(image, fixed_labels=labels), Augmentation(gamma=1.0), Highest())
    np.testing.assert_allclose(result['fixed'][0, 0, :, 0], [0.0, 0.25, 1.0], atol=1e-7)
    np.testing.assert_array_equal(result['fixed_labels'], labels)


def test_gamma_differs_between_the_frames():
    arrays = pair_of(np.full((2, 2, 1), 0.5))
    result = augment_pair(arrays, Augmentation(gamma=1.0), np.random.default_rng(0))
    assert np.unique(result['fixed']).size == np.unique(result['moving']).size == 1
    assert result['fixed'][0, 0, 0, 0] != result['moving'][0, 0, 0, 0]
    # The exponents lie between 1/2 and 2.
    assert all(0.25 <= result[role].min() <= 0.5**0.5 + 1e-6 for role in ('fixed', 'moving'))


def test_both_frames_and_their_labels_move_alike():
    # Blocks whose labels are the image: whatever the geometry, a frame paired with itself stays so, and the labels
    # follow the image up to the half voxel of nearest neighbour sampling.
    image = np.zeros((12, 12, 3))
    image[4:8, 3:9] = 1
    for seed in range(5):
        result = augment_pair(pair_of(image, image, image, image), GEOMETRY, np.random.default_rng(seed))
        np.testing.assert_array_equal(result['fixed'], result['moving'])
        np.testing.assert_array_equal(result['fixed_labels'], result['moving_labels'])
        assert not np.array_equal(result['fixed'][..., 0], image)
        certain = (result['fixed'][..., 0] < 0.2) | (result['fixed'][..., 0] > 0.8)
        np.testing.assert_array_equal(
            result['fixed_labels'][certain], np.rint(result['fixed'][..., 0])[certain].astype(np.uint8)
        )


def test_range_types_and_label_ids_are_kept():
    for seed in range(5):
        arrays = random_pair(seed)
        result = augment_pair(arrays, STRONG, np.random.default_rng(seed))
        assert set(result) == set(arrays)
        for name, value in result.items():
            assert value.shape == arrays[name].shape and value.dtype == arrays[name].dtype
        for role in ('fixed', 'moving'):
            assert result[role].min() >= 0.0 and result[role].max() <= 1.0
            assert set(np.unique(result[f'{role}_labels'])) <= {0, 1, 5}
            assert result[f'{role}_has_labels'] == 1


def test_draws_depend_on_the_generator_alone():
    one, same, other = (augment_pair(random_pair(), STRONG, np.random.default_rng(seed)) for seed in (1, 1, 2))
    for name in one:
        np.testing.assert_array_equal(one[name], same[name])
    assert not np.array_equal(one['fixed'], other['fixed'])


def frame_of(image, labels):
    return {name: array for name, array in pair_of(image, fixed_labels=labels).items() if name.startswith('fixed')}


def test_a_frame_alone_is_changed_like_the_fixed_frame_of_a_pair():
    rng = np.random.default_rng(1)
    image, labels = rng.random((9, 7, 3)), rng.integers(0, 3, (9, 7, 3))
    alone = augment_pair(frame_of(image, labels), GEOMETRY, Highest())
    pair = augment_pair(pair_of(image, fixed_labels=labels), GEOMETRY, Highest())
    assert set(alone) == {'fixed', 'fixed_labels', 'fixed_has_labels'}
    for name, array in alone.items():
        np.testing.assert_array_equal(array, pair[name])


def test_a_part_is_the_same_of_everything_and_lies_anywhere():
    arrays = random_pair(shape=(6, 5, 3))
    places = set()
    for seed in range(40):
        part = crop_at_random(arrays, (4, 0, 2), np.random.default_rng(seed))
        assert part['fixed'].shape == (4, 5, 2, 1) and part['moving_labels'].shape == (4, 5, 2)
        (place,) = [
            (i, k)
            for i in range(3)
            for k in range(2)
            if np.array_equal(part['fixed'], arrays['fixed'][i : i + 4, :, k : k + 2])
        ]
        places.add(place)
        i, k = place
        for name in ('moving', 'fixed_labels', 'moving_labels'):
            np.testing.assert_array_equal(part[name], arrays[name][i : i + 4, :, k : k + 2])
        assert part['fixed_has_labels'] == arrays['fixed_has_labels']
    assert len(places) == 6


def with_velocity(velocity):
    return pair_of(np.zeros((8, 8, 2))) | {'teacher_velocity': velocity.astype(np.float32)}


def test_a_velocity_turns_with_the_images():
    # A quarter turn: out[i, j] = in[n - 1 - j, i]; a motion along the second axis there is one along the first here.
    velocity = np.zeros((4, 4, 1, 3))
    velocity[1, 2, 0] = (0.0, 2.0, 0.5)
    turned = augment_pair(with_velocity(velocity), Augmentation(rotation=90.0), Highest())['teacher_velocity']
    wanted = np.zeros((4, 4, 1, 3))
    wanted[2, 2, 0] = (2.0, 0.0, 0.5)
    np.testing.assert_allclose(turned, wanted, atol=1e-5)


def test_a_velocity_still_says_where_the_other_frame_is():
    """What is at x + u(x) before is at M^-1 (x + u(x) - o) afterwards, so that the augmented pair has that motion."""
    augmentation = Augmentation(rotation=20.0, scale=0.2, shift=0.1)
    # Linear in position, which interpolation keeps: u(x) = A x + b on the grid of the images.
    matrix, offset = np.array([[0.05, 0.02], [-0.03, 0.04]]), np.array([0.3, -0.2])
    fine = np.stack(np.meshgrid(*[np.arange(32.0)] * 2, indexing='ij'), axis=-1)
    coarse = 2 * np.stack(np.meshgrid(*[np.arange(16.0)] * 2, indexing='ij'), axis=-1) + 0.5
    velocity = np.zeros((16, 16, 1, 3))
    velocity[:, :, 0, :2] = (coarse @ matrix.T + offset) / 2  # in its own voxels
    positions = pair_of(fine[..., :1] / 32, fine[..., 1:] / 32)
    result = augment_pair(positions | {'teacher_velocity': velocity.astype(np.float32)}, augmentation, Highest())
    # The images hold where each voxel comes from; in the middle everything is inside.
    source = 32 * np.concatenate([result['fixed'][:, :, 0], result['moving'][:, :, 0]], axis=-1)
    jacobian = np.stack([source[16, 15] - source[15, 15], source[15, 16] - source[15, 15]], axis=-1)
    wanted = (source @ matrix.T + offset) @ np.linalg.inv(jacobian).T
    at_coarse = wanted.reshape(16, 2, 16, 2, 2).mean(axis=(1, 3)) / 2
    middle = np.s_[5:11, 5:11]
    np.testing.assert_allclose(result['teacher_velocity'][:, :, 0, :2][middle], at_coarse[middle], atol=1e-3)
    assert np.abs(at_coarse[middle]).max() > 0.3


def test_each_frame_is_deformed_on_its_own_and_labels_with_their_image():
    labels = np.zeros((32, 32, 4), np.uint8)
    labels[8:24, 8:24] = 1
    arrays = pair_of(labels, fixed_labels=labels, moving_labels=labels)
    result = augment_pair(arrays, Augmentation(elastic=0.4), np.random.default_rng(0))
    assert not np.array_equal(result['fixed_labels'], result['moving_labels'])
    for role in ('fixed', 'moving'):
        # But for corners, which nearest neighbours and linear interpolation round differently.
        assert np.mean(result[f'{role}_labels'] == (result[role][..., 0] > 0.5)) > 0.995
        assert not np.array_equal(result[f'{role}_labels'], labels)


def test_a_deformation_joins_the_turn_of_both_frames():
    # So small that what is left is the quarter turn of `test_quarter_turn`.
    image = np.random.default_rng(0).random((5, 5, 2))
    both = augment_pair(pair_of(image), Augmentation(rotation=90.0, elastic=1e-6), Highest())
    turned = augment_pair(pair_of(image), Augmentation(rotation=90.0), Highest())
    # The outermost voxels may come to lie outside.
    np.testing.assert_allclose(both['fixed'][1:-1, 1:-1], turned['fixed'][1:-1, 1:-1], atol=1e-4)


def test_a_deformation_that_could_fold_is_refused():
    with pytest.raises(UserError, match=r'data\.augmentation\.elastic'):
        Augmentation(elastic=0.6)


def test_a_plane_changes_like_the_volume_that_holds_it_alone():
    rng = np.random.default_rng(0)
    image, labels = rng.random((9, 7, 1)).astype(np.float32), rng.choice([0, 1, 5], (9, 7)).astype(np.uint8)
    frame = {'fixed': image[..., None], 'fixed_labels': labels[..., None]}
    wanted = augment_pair(frame, STRONG, np.random.default_rng(3))
    found, found_labels = augment_plane(image, labels, STRONG, np.random.default_rng(3))
    np.testing.assert_allclose(found, wanted['fixed'][..., 0], atol=1e-6)
    np.testing.assert_array_equal(found_labels, wanted['fixed_labels'][..., 0])
    assert found.dtype == np.float32 and found_labels.dtype == np.uint8


def test_what_a_plane_is_seen_with_changes_like_the_plane():
    rng = np.random.default_rng(0)
    plane = rng.random((16, 12)).astype(np.float32)
    labels = (plane > 0.5).astype(np.uint8)
    stack = np.stack([plane, 1 - plane, plane], axis=-1)
    changed, _ = augment_plane(stack, labels, Augmentation(rotation=20.0, elastic=0.4), np.random.default_rng(1))
    inside = (slice(4, 12), slice(3, 9))
    np.testing.assert_array_equal(changed[..., 0], changed[..., 2])
    np.testing.assert_allclose(changed[inside][..., 1], 1 - changed[inside][..., 0], atol=1e-6)
    assert np.abs(changed[..., 0] - plane)[inside].max() > 0.1


def test_a_part_of_a_plane_is_that_of_the_image_and_its_labels():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 200, (16, 12)).astype(np.uint8)
    image = labels[..., None].astype(np.float32)
    part, part_labels = augment_plane(image, labels, Augmentation(), np.random.default_rng(2), size=5)
    assert part.shape == (5, 5, 1)
    np.testing.assert_array_equal(part[..., 0], part_labels)
    places = [(i, j) for i in range(12) for j in range(8) if np.array_equal(labels[i : i + 5, j : j + 5], part_labels)]
    assert len(places) == 1
