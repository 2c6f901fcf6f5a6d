import numpy as np
import pytest

from autofuse_jax.data.pair_policies import ed_es_pairs, pair_source
from autofuse_jax.data.pairs import labelled_subject_ids
from autofuse_jax.errors import UserError
from tests.data.hand_made import manifest_of, subject

CINE = 'ED+ - ES+ -'
DRAWS = 40


def draws(source, count=DRAWS):
    rng = np.random.default_rng(0)
    return [source.draw(anchor, rng) for anchor in source.anchors for _ in range(count)]


def test_ed_es_gives_both_directions_in_the_order_of_the_subjects():
    subjects = [subject('b', CINE), subject('no_es', 'ED+ -'), subject('a', CINE)]
    pairs = ed_es_pairs(subjects, frozenset({'a', 'b'}))
    assert [pair.name for pair in pairs] == ['b_ED_to_ES', 'b_ES_to_ED', 'a_ED_to_ES', 'a_ES_to_ED']
    # 'ED_to_ES' moves the ED frame: it is the moving one, and the ES frame is the fixed one.
    assert (pairs[0].moving.phase, pairs[0].fixed.phase) == ('ED', 'ES')
    assert (pairs[1].moving.phase, pairs[1].fixed.phase) == ('ES', 'ED')


def test_ed_es_source_draws_its_anchors():
    source = pair_source('ed_es', manifest_of(subject('a', CINE)), 'train', frozenset())
    assert draws(source, 1) == list(source.anchors)


def test_names_of_frames_without_phase_and_of_two_subjects():
    manifest = manifest_of(subject('a', 'ED+ -'), subject('b', 'ED+ -'))
    intra = {pair.name for pair in draws(pair_source('intra_random', manifest, 'train', frozenset()))}
    assert intra == {'a_ED_to_frame02', 'a_frame02_to_ED', 'b_ED_to_frame02', 'b_frame02_to_ED'}
    inter = {pair.name for pair in draws(pair_source('inter', manifest, 'train', frozenset()))}
    # The moving subject and frame come first.
    assert 'a_frame02_to_b_ED' in inter
    assert len(inter) == 2 * 2 * 2


def test_intra_random_draws_every_ordered_pair_and_no_frame_with_itself():
    source = pair_source('intra_random', manifest_of(subject('a', CINE), subject('one', 'ED+')), 'train', frozenset())
    assert [anchor.id for anchor in source.anchors] == ['a']
    drawn = {(pair.moving.index, pair.fixed.index) for pair in draws(source, 300)}
    # 4 frames: 4 * 3 ordered pairs.
    assert drawn == {(m, f) for m in range(1, 5) for f in range(1, 5) if m != f}


def test_semi_joins_a_labelled_and_an_unlabelled_frame_in_both_roles():
    source = pair_source('semi', manifest_of(subject('a', CINE), subject('all', 'ED+ ES+')), 'train', frozenset({'a'}))
    # Anchors are the labelled frames of subjects that have unlabelled ones too.
    assert [(anchor[0].id, anchor[1].index) for anchor in source.anchors] == [('a', 1), ('a', 3)]
    drawn = draws(source)
    for pair in drawn:
        assert pair.fixed_has_labels != pair.moving_has_labels
        assert pair.fixed.has_labels == pair.fixed_has_labels
        assert pair.fixed_subject == pair.moving_subject == 'a'
    # 2 labelled x 2 unlabelled frames x 2 roles.
    assert len({pair.name for pair in drawn}) == 8


def test_inter_never_pairs_a_subject_with_itself():
    manifest = manifest_of(subject('a', CINE), subject('b', CINE), subject('c', CINE))
    source = pair_source('inter', manifest, 'train', frozenset())
    assert len(source.anchors) == 3 * 4
    drawn = draws(source)
    assert all(pair.fixed_subject != pair.moving_subject for pair in drawn)
    assert {(pair.fixed_subject, pair.moving_subject) for pair in drawn} == {
        (one, other) for one in 'abc' for other in 'abc' if one != other
    }


@pytest.mark.parametrize('policy', ['ed_es', 'intra_random', 'semi', 'inter'])
def test_flags_need_labels_and_permission(policy):
    manifest = manifest_of(subject('a', CINE), subject('b', CINE))
    for labelled in (frozenset(), frozenset({'a'}), frozenset({'a', 'b'})):
        drawn = draws(pair_source(policy, manifest, 'train', labelled))
        for pair in drawn:
            assert pair.fixed_has_labels == (pair.fixed.has_labels and pair.fixed_subject in labelled)
            assert pair.moving_has_labels == (pair.moving.has_labels and pair.moving_subject in labelled)
        assert any(pair.fixed_has_labels for pair in drawn) == bool(labelled)


def test_labelled_hearts_alone_leave_out_the_others():
    manifest = manifest_of(subject('a', CINE), subject('b', CINE), subject('c', 'ED+ ES'))
    drawn = pair_source('ed_es_labelled', manifest, 'train', frozenset('ac')).anchors
    assert [pair.name for pair in drawn] == ['a_ED_to_ES', 'a_ES_to_ED']
    with pytest.raises(UserError, match='subjects whose ED and ES frames have labels'):
        pair_source('ed_es_labelled', manifest, 'train', frozenset())


@pytest.mark.parametrize('policy', ['intra_random', 'semi', 'inter'])
def test_draws_depend_on_the_generator_alone(policy):
    source = pair_source(policy, manifest_of(subject('a', CINE), subject('b', CINE)), 'train', frozenset())
    assert draws(source) == draws(source)


def test_only_the_split_asked_for_is_used():
    manifest = manifest_of(subject('a', CINE), subject('b', CINE, split='test'))
    assert {pair.fixed_subject for pair in pair_source('ed_es', manifest, 'test', frozenset()).anchors} == {'b'}


@pytest.mark.parametrize(
    ('policy', 'frames', 'need'),
    [
        ('ed_es', ['ED+ -', '- ES+'], 'subjects with an ED and an ES frame'),
        ('intra_random', ['ED+', 'ES+'], 'at least two frames'),
        ('semi', ['ED+ ES+', '- -'], 'labelled frames and frames without labels'),
        ('inter', ['ED+ ES+ -'], 'at least two subjects'),
    ],
)
def test_split_without_pairs_says_what_is_missing(policy, frames, need):
    manifest = manifest_of(*(subject(f's{number}', words) for number, words in enumerate(frames)))
    with pytest.raises(UserError, match=need) as raised:
        pair_source(policy, manifest, 'train', frozenset())
    for word in ('train split', policy, 'nowhere', 'choose another policy'):
        assert word in str(raised.value)


def test_a_split_that_is_not_there_names_those_that_are():
    manifest = manifest_of(subject('a', CINE), subject('b', CINE, split='validation'))
    with pytest.raises(UserError, match='no subjects in the test split.*train, validation.*evaluation.split'):
        pair_source('ed_es', manifest, 'test', frozenset())


def test_unknown_policy_lists_the_known_ones():
    with pytest.raises(UserError, match="unknown pair policy 'random'.*ed_es, intra_random, semi, inter"):
        pair_source('random', manifest_of(subject('a', CINE)), 'train', frozenset())


def test_labelled_subjects_of_a_smaller_count_are_contained_in_those_of_a_larger():
    subjects = [subject(f's{number}', CINE) for number in range(6)] + [subject('unlabelled', '- -')]
    for seed in range(5):
        chosen = [labelled_subject_ids(subjects, count=count, seed=seed) for count in range(7)]
        assert [len(ids) for ids in chosen] == list(range(7))
        assert all(smaller < larger for smaller, larger in zip(chosen, chosen[1:], strict=False))
        assert 'unlabelled' not in chosen[-1]
        # -1 means all that have labels; the order in which subjects are listed does not matter.
        assert labelled_subject_ids(subjects, count=-1, seed=seed) == chosen[-1]
        assert labelled_subject_ids(subjects[::-1], count=3, seed=seed) == chosen[3]
    assert len({labelled_subject_ids(subjects, count=3, seed=seed) for seed in range(5)}) > 1


@pytest.mark.parametrize('count', [-2, 3])
def test_impossible_count_of_labelled_subjects(count):
    subjects = [subject('a', CINE), subject('b', CINE), subject('unlabelled', '- -')]
    with pytest.raises(UserError, match=f'data.labelled_subjects is {count}') as raised:
        labelled_subject_ids(subjects, count=count, seed=0)
    assert '-1 (all) or 0 to 2' in str(raised.value)


def test_labelled_frames_are_alone():
    subjects = [subject('a', 'ED+ - ES+'), subject('b', 'ED+ -'), subject('hidden', 'ED+')]
    source = pair_source('labelled_frames', manifest_of(*subjects), 'train', frozenset({'a', 'b'}))
    frames = draws(source, 1)
    assert frames == list(source.anchors)
    assert [(frame.subject, frame.frame.index) for frame in frames] == [('a', 1), ('a', 3), ('b', 1)]
    assert frames[0].members == (('fixed', subjects[0].frames[0], True),)


def test_members_of_a_pair_are_both_frames_in_their_roles():
    (pair, _) = ed_es_pairs([subject('a', 'ED+ ES')], frozenset({'a'}))
    assert pair.members == (('fixed', pair.fixed, False), ('moving', pair.moving, True))
