"""Pair policies between subjects, for brains."""

import dataclasses
import os

import numpy as np
import pytest

from autofuse_jax.data.pair_policies import FIXED_PAIRS, pair_source
from autofuse_jax.errors import UserError
from tests.data.hand_made import manifest_of, subject

EVERYONE = frozenset('abcdef')


def brains(words, **more):
    return manifest_of(*(subject(name, word, **more) for name, word in words.items()))


def draws(source, count=60):
    rng = np.random.default_rng(0)
    return [source.draw(anchor, rng) for anchor in source.anchors for _ in range(count)]


def subjects_of(pairs):
    return {(pair.fixed_subject, pair.moving_subject) for pair in pairs}


def test_inter_labelled_pairs_labelled_subjects_in_both_orders():
    source = pair_source(
        'inter_labelled', brains({'a': '-+', 'b': '-+', 'c': '-+', 'd': '-'}), 'train', frozenset('ab')
    )
    # 'c' has labels, but the experiment may not use them.
    assert subjects_of(draws(source)) == {('a', 'b'), ('b', 'a')}
    assert all(pair.fixed_has_labels and pair.moving_has_labels for pair in draws(source))


def test_inter_semi_pairs_a_labelled_with_an_unlabelled_subject_in_both_roles():
    source = pair_source('inter_semi', brains({'a': '-+', 'b': '-+', 'c': '-+', 'd': '-'}), 'train', frozenset('ab'))
    drawn = draws(source)
    assert subjects_of(drawn) == {(one, other) for one in 'ab' for other in 'cd'} | {
        (other, one) for one in 'ab' for other in 'cd'
    }
    assert all(pair.fixed_has_labels != pair.moving_has_labels for pair in drawn)
    # Every labelled subject is an anchor once; half of the draws have it as the fixed one.
    assert [member[0].id for member in source.anchors] == ['a', 'b']
    assert 0.35 < np.mean([pair.fixed_has_labels for pair in drawn]) < 0.65


def test_inter_semi_leaves_out_a_subject_that_only_has_itself():
    manifest = brains({'a': '-+ -', 'b': '-+'})
    source = pair_source('inter_semi', manifest, 'train', EVERYONE)
    assert subjects_of(draws(source)) == {('a', 'b'), ('b', 'a')}
    assert [member[0].id for member in source.anchors] == ['b']


def test_inter_all_is_every_ordered_pair_of_labelled_subjects():
    manifest = brains({'a': '-+', 'b': '-+', 'c': '-+', 'd': '-'})
    source = pair_source('inter_all', manifest, 'train', EVERYONE)
    assert [(pair.fixed_subject, pair.moving_subject) for pair in source.anchors] == [
        ('a', 'b'),
        ('a', 'c'),
        ('b', 'a'),
        ('b', 'c'),
        ('c', 'a'),
        ('c', 'b'),
    ]
    assert draws(source, 1) == list(source.anchors)
    # Without any labels all subjects are paired: 4 * 3.
    assert len(pair_source('inter_all', manifest, 'train', frozenset()).anchors) == 12


def test_inter_fixed_is_a_hundred_pairs_that_never_change():
    manifest = manifest_of(*(subject(f's{number:02d}', '-+') for number in range(12)))
    everyone = frozenset(entry.id for entry in manifest.subjects)
    source = pair_source('inter_fixed', manifest, 'train', everyone)
    pairs = list(source.anchors)
    assert len(pairs) == FIXED_PAIRS == 100 and len(subjects_of(pairs)) == 100
    # Neither the order of the subjects nor the generator matters.
    shuffled = dataclasses.replace(manifest, subjects=manifest.subjects[::-1])
    assert subjects_of(pair_source('inter_fixed', shuffled, 'train', everyone).anchors) == subjects_of(pairs)
    assert [source.draw(pair, np.random.default_rng(1)) for pair in pairs] == pairs
    # 12 subjects take both roles.
    assert len({fixed for fixed, _ in subjects_of(pairs)}) == len({moving for _, moving in subjects_of(pairs)}) == 12


def test_inter_fixed_of_few_subjects_is_all_pairs():
    assert len(pair_source('inter_fixed', brains({'a': '-+', 'b': '-+'}), 'train', EVERYONE).anchors) == 2


def test_inter_fixed_of_names_that_are_no_utf8():
    subjects = [subject('a', '-'), subject(os.fsdecode(b'\xff'), '-')]
    assert len(pair_source('inter_fixed', manifest_of(*subjects), 'train', frozenset()).anchors) == 2


def test_listed_pairs_of_a_split():
    manifest = manifest_of(
        *(subject(name, '-+', split='test') for name in 'abc'), subject('d', '-+', split='validation')
    )
    manifest = dataclasses.replace(manifest, pairs=(('a', 'b'), ('c', 'a'), ('a', 'd')))
    source = pair_source('listed', manifest, 'test', EVERYONE)
    assert [(pair.fixed_subject, pair.moving_subject) for pair in source.anchors] == [('a', 'b'), ('c', 'a')]
    assert all(pair.fixed_has_labels and pair.moving_has_labels for pair in draws(source, 1))


@pytest.mark.parametrize(
    ('policy', 'words', 'need'),
    [
        ('inter_labelled', {'a': '-+ -+', 'b': '-'}, 'two subjects with labels'),
        ('inter_semi', {'a': '-+', 'b': '-+'}, 'others without'),
        ('inter_all', {'a': '-+'}, 'two subjects'),
        ('inter_fixed', {'a': '-+'}, 'two subjects'),
        ('listed', {'a': '-+', 'b': '-+'}, 'lists pairs'),
    ],
)
def test_split_without_such_pairs_says_what_is_missing(policy, words, need):
    with pytest.raises(UserError, match=need) as raised:
        pair_source(policy, brains(words), 'train', EVERYONE)
    assert policy in str(raised.value)
