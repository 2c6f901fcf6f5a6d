import itertools
import json

import numpy as np
import pytest

from autofuse_jax.data.augment import Augmentation
from autofuse_jax.data.batches import pair_to_arrays, stack, training_batches
from autofuse_jax.data.pair_policies import ed_es_pairs, pair_source
from tests.data.hand_made import manifest_of, subject

SHAPE = (4, 4, 2)
SUBJECTS = [subject(name, 'ED+ - ES+ -') for name in 'abcde']
NO_CHANGE = Augmentation()


class Numbers:
    """In place of a frame store: each frame is filled with a number of its own, labels with its frame number."""

    def load(self, frame):
        value = (100 * 'abcde'.index(frame.file[0]) + frame.index) / 1000
        labels = np.full(SHAPE, frame.index, np.uint8) if frame.has_labels else None
        return np.full(SHAPE, value, np.float32), labels


def source(policy='ed_es', labelled='abcde'):
    return pair_source(policy, manifest_of(*SUBJECTS), 'train', frozenset(labelled))


def batches(policy='ed_es', *, batch_size=1, seed=0, augmentation=NO_CHANGE, **options):
    return training_batches(
        source(policy), Numbers(), batch_size=batch_size, augmentation=augmentation, seed=seed, threads=1, **options
    )


def pairs_seen(iterator, count):
    """Which frames the next batches hold, as one (fixed, moving) tuple of thousandths a pair."""
    seen = []
    for batch in itertools.islice(iterator, count):
        fixed, moving = (np.rint(1000 * batch[role][:, 0, 0, 0, 0]).astype(int) for role in ('fixed', 'moving'))
        seen += list(zip(fixed.tolist(), moving.tolist(), strict=True))
    return seen


def assert_same(one, other):
    assert set(one) == set(other)
    for name in one:
        np.testing.assert_array_equal(one[name], other[name])


def test_arrays_of_a_pair():
    arrays = pair_to_arrays(Numbers(), ed_es_pairs(SUBJECTS, frozenset('abcde'))[2])  # b_ED_to_ES
    assert arrays['fixed'].shape == arrays['moving'].shape == (*SHAPE, 1)
    assert arrays['fixed'].dtype == np.float32
    # ES is frame 3, ED frame 1.
    assert (arrays['fixed'] == np.float32(0.103)).all() and (arrays['moving'] == np.float32(0.101)).all()
    assert (arrays['fixed_labels'] == 3).all() and (arrays['moving_labels'] == 1).all()
    assert arrays['fixed_has_labels'] == arrays['moving_has_labels'] == 1.0


def test_hidden_labels_are_zero_and_say_so():
    arrays = pair_to_arrays(Numbers(), ed_es_pairs(SUBJECTS, frozenset('a'))[2])
    for role in ('fixed', 'moving'):
        assert arrays[f'{role}_has_labels'] == 0.0 and arrays[f'{role}_has_labels'].dtype == np.float32
        assert arrays[f'{role}_labels'].shape == SHAPE and arrays[f'{role}_labels'].dtype == np.uint8
        assert not arrays[f'{role}_labels'].any()


def test_absent_labels_of_one_frame_only():
    pair = source('semi').draw(source('semi').anchors[0], np.random.default_rng(0))
    arrays = pair_to_arrays(Numbers(), pair)
    assert arrays['fixed_has_labels'] + arrays['moving_has_labels'] == 1
    for role in ('fixed', 'moving'):
        assert arrays[f'{role}_labels'].any() == bool(arrays[f'{role}_has_labels'])


def test_stack_adds_a_first_axis():
    stacked = stack([{'a': np.zeros(2), 'b': np.float32(0)}, {'a': np.ones(2), 'b': np.float32(1)}])
    np.testing.assert_array_equal(stacked['a'], [[0, 0], [1, 1]])
    np.testing.assert_array_equal(stacked['b'], [0, 1])


def test_shapes_of_a_batch():
    batch = next(batches(batch_size=3))
    assert batch['fixed'].shape == batch['moving'].shape == (3, *SHAPE, 1)
    assert batch['fixed_labels'].shape == (3, *SHAPE)
    assert batch['moving_has_labels'].shape == (3,)


def test_epoch_visits_every_anchor_once_in_a_new_order():
    anchors = pairs_seen((stack([pair_to_arrays(Numbers(), pair)]) for pair in source().anchors), 10)
    assert len(set(anchors)) == 10
    seen = pairs_seen(batches(), 20)
    assert sorted(seen[:10]) == sorted(seen[10:]) == sorted(anchors)
    assert seen[:10] != seen[10:]


def test_batches_go_on_across_the_end_of_an_epoch():
    # 10 anchors in batches of 4: 5 batches are exactly two epochs, nothing is dropped.
    seen = pairs_seen(batches(batch_size=4), 5)
    assert seen == pairs_seen(batches(), 20)
    assert {seen.count(pair) for pair in seen} == {2}


@pytest.mark.parametrize('policy', ['ed_es', 'intra_random', 'semi', 'inter'])
def test_order_and_draws_depend_on_the_seed_alone(policy):
    seen = pairs_seen(batches(policy, seed=3), 20)
    assert seen == pairs_seen(batches(policy, seed=3, prefetch=1), 20)
    assert seen != pairs_seen(batches(policy, seed=4), 20)


def test_draws_differ_from_epoch_to_epoch():
    # 5 anchors with 4 * 3 ordered pairs each: three equal epochs would be no accident.
    seen = pairs_seen(batches('intra_random'), 15)
    assert len({tuple(sorted(seen[start : start + 5])) for start in (0, 5, 10)}) > 1


@pytest.mark.parametrize('steps', [0, 1, 7])
def test_continuing_from_a_state_gives_the_batches_that_would_have_come(steps):
    augmentation = Augmentation(rotation=20.0, gamma=0.5)
    running = batches('semi', batch_size=2, augmentation=augmentation)
    for _ in range(steps):
        next(running)
    state = json.loads(json.dumps(running.get_state()))
    resumed = batches('semi', batch_size=2, augmentation=augmentation)
    resumed.set_state(state)
    for _ in range(12):  # 10 anchors: beyond the end of an epoch
        assert_same(next(resumed), next(running))


@pytest.mark.parametrize('augmentation', [NO_CHANGE, Augmentation(rotation=20.0, shift=0.2, gamma=0.5)])
@pytest.mark.parametrize('policy', ['ed_es', 'intra_random'])
def test_processes_together_see_what_one_process_would(policy, augmentation):
    alone = batches(policy, augmentation=augmentation)
    shares = [batches(policy, augmentation=augmentation, process_index=index, process_count=2) for index in range(2)]
    for _ in range(12):
        for share in shares:
            assert_same(next(share), next(alone))


def test_augmentation_changes_the_images_and_differs_from_pair_to_pair():
    changed = batches(augmentation=Augmentation(gamma=0.5))
    plain = batches()
    exponents = []
    for _ in range(5):
        before, after = next(plain), next(changed)
        exponents.append(float(np.log(after['fixed'][0, 0, 0, 0, 0]) / np.log(before['fixed'][0, 0, 0, 0, 0])))
    # |log2| of the exponent is at most 0.5.
    assert all(2**-0.5 - 1e-3 <= exponent <= 2**0.5 + 1e-3 for exponent in exponents)
    assert np.ptp(exponents) > 0.05


def test_frames_alone_have_the_role_of_the_fixed_image():
    batch = next(batches('labelled_frames', batch_size=2, crop=(2, 0, 0)))
    assert set(batch) == {'fixed', 'fixed_labels', 'fixed_has_labels'}
    assert batch['fixed'].shape == (2, 2, 4, 2, 1) and batch['fixed_labels'].shape == (2, 2, 4, 2)
    assert batch['fixed_labels'].all() and batch['fixed_has_labels'].all()


class Signs:
    """In place of a teacher: the velocity of a pair is filled with the number of the moving frame."""

    def load(self, pair):
        return np.full((2, 2, 1, 3), pair.moving.index, np.float32)


def test_velocities_belong_to_their_pairs():
    for batch in itertools.islice(batches(teacher=Signs()), 10):
        assert batch['teacher_velocity'].shape == (1, 2, 2, 1, 3)
        assert (batch['teacher_velocity'] == np.rint(1000 * batch['moving'][0, 0, 0, 0, 0]) % 100).all()
    assert 'teacher_velocity' not in next(batches('labelled_frames', teacher=Signs()))
