"""The policies by which pairs of frames, or frames alone, are drawn from the subjects of a split."""

import hashlib
from collections.abc import Callable, Sequence

import numpy as np

from autofuse_jax.data.manifests import Frame, Manifest, Subject
from autofuse_jax.data.pairs import LabelledFrame, Pair, PairSource
from autofuse_jax.errors import UserError

LISTED = 'listed'
# The policy whose samples are frames alone.
LABELLED_FRAMES = 'labelled_frames'
# The paper tests on 100 pairs of each data set; the seed is part of what they are called.
FIXED_PAIRS = 100
FIXED_SEED = 2023
# A subject and one of its frames.
Member = tuple[Subject, Frame]


def ed_es_pairs(subjects: Sequence[Subject], labelled: frozenset[str]) -> list[Pair]:
    """List the ED to ES and ES to ED pair of every subject that has both phases.

    Args:
        subjects: The subjects.
        labelled: Ids of the subjects whose labels may be used.

    Returns:
        Two pairs a subject, in the order of the subjects.
    """
    pairs = []
    for subject in subjects:
        end_diastole, end_systole = subject.frame_of_phase('ED'), subject.frame_of_phase('ES')
        if end_diastole and end_systole:
            pairs.append(_intra(subject, end_systole, end_diastole, labelled))
            pairs.append(_intra(subject, end_diastole, end_systole, labelled))
    return pairs


def _intra(subject: Subject, fixed: Frame, moving: Frame, labelled: frozenset[str]) -> Pair:
    return _pair((subject, fixed), (subject, moving), labelled)


def _pair(fixed: tuple[Subject, Frame], moving: tuple[Subject, Frame], labelled: frozenset[str]) -> Pair:
    flags = [frame.has_labels and subject.id in labelled for subject, frame in (fixed, moving)]
    return Pair(fixed[0].id, fixed[1], moving[0].id, moving[1], *flags)


def _ed_es(subjects: Sequence[Subject], labelled: frozenset[str]) -> PairSource:
    return PairSource(ed_es_pairs(subjects, labelled), lambda pair, rng: pair)


def _ed_es_labelled(subjects: Sequence[Subject], labelled: frozenset[str]) -> PairSource:
    """Take ED and ES of the subjects whose labels may be used, without the others."""
    pairs = [pair for pair in ed_es_pairs(subjects, labelled) if pair.fixed_has_labels and pair.moving_has_labels]
    return PairSource(pairs, lambda pair, rng: pair)


def _intra_random(subjects: Sequence[Subject], labelled: frozenset[str]) -> PairSource:
    def draw(subject: Subject, rng: np.random.Generator) -> Pair:
        fixed, moving = rng.choice(len(subject.frames), 2, replace=False)
        return _intra(subject, subject.frames[fixed], subject.frames[moving], labelled)

    return PairSource([subject for subject in subjects if len(subject.frames) > 1], draw)


def _semi(subjects: Sequence[Subject], labelled: frozenset[str]) -> PairSource:
    """Pair a labelled frame with an unlabelled one of the same subject; which is fixed is drawn."""

    def unlabelled(subject: Subject) -> list[Frame]:
        return [frame for frame in subject.frames if not frame.has_labels]

    def draw(anchor: tuple[Subject, Frame], rng: np.random.Generator) -> Pair:
        subject, frame = anchor
        others = unlabelled(subject)
        frames = [frame, others[rng.integers(len(others))]]
        fixed, moving = frames if rng.random() < 0.5 else frames[::-1]
        return _intra(subject, fixed, moving, labelled)

    anchors = [
        (subject, frame) for subject in subjects if unlabelled(subject) for frame in subject.frames if frame.has_labels
    ]
    return PairSource(anchors, draw)


def _inter(subjects: Sequence[Subject], labelled: frozenset[str]) -> PairSource:
    anchors = [(subject, frame) for subject in subjects for frame in subject.frames]

    def draw(fixed: tuple[Subject, Frame], rng: np.random.Generator) -> Pair:
        others = [subject for subject in subjects if subject.id != fixed[0].id]
        subject = others[rng.integers(len(others))]
        moving = subject, subject.frames[rng.integers(len(subject.frames))]
        return _pair(fixed, moving, labelled)

    return PairSource(anchors if len(subjects) > 1 else [], draw)


def _members(subjects: Sequence[Subject]) -> list[Member]:
    return [(subject, frame) for subject in subjects for frame in subject.frames]


def _is_usable(member: Member, labelled: frozenset[str]) -> bool:
    """Tell whether an experiment has, and may use, the labels of a frame."""
    return member[1].has_labels and member[0].id in labelled


def _inter_labelled(subjects: Sequence[Subject], labelled: frozenset[str]) -> PairSource:
    """Pair a labelled frame with a labelled frame of another subject."""
    anchors = [member for member in _members(subjects) if _is_usable(member, labelled)]

    def draw(fixed: Member, rng: np.random.Generator) -> Pair:
        return _pair(fixed, _another(fixed, anchors, rng), labelled)

    return PairSource(anchors if len({member[0].id for member in anchors}) > 1 else [], draw)


def _inter_semi(subjects: Sequence[Subject], labelled: frozenset[str]) -> PairSource:
    """Pair a labelled frame with an unlabelled one of another subject; which is fixed is drawn."""
    members = _members(subjects)
    anchors = [member for member in members if _is_usable(member, labelled)]
    unlabelled = [member for member in members if not _is_usable(member, labelled)]
    # With a single unlabelled subject, its own labelled frames have no partner.
    owners = {member[0].id for member in unlabelled}
    anchors = [member for member in anchors if owners - {member[0].id}]

    def draw(anchor: Member, rng: np.random.Generator) -> Pair:
        both = [anchor, _another(anchor, unlabelled, rng)]
        fixed, moving = both if rng.random() < 0.5 else both[::-1]
        return _pair(fixed, moving, labelled)

    return PairSource(anchors, draw)


def _another(member: Member, others: Sequence[Member], rng: np.random.Generator) -> Member:
    """Draw one of the others that belongs to another subject; there must be one."""
    while True:
        other = others[int(rng.integers(len(others)))]
        if other[0].id != member[0].id:
            return other


def inter_pairs(subjects: Sequence[Subject], labelled: frozenset[str]) -> list[Pair]:
    """List every ordered pair of frames of two subjects.

    Args:
        subjects: The subjects.
        labelled: Ids of the subjects whose labels may be used; where there are any, only labelled frames are paired.

    Returns:
        The pairs, by fixed and then by moving frame.
    """
    members = _members(subjects)
    candidates = [member for member in members if _is_usable(member, labelled)] or members
    return [
        _pair(fixed, moving, labelled) for fixed in candidates for moving in candidates if fixed[0].id != moving[0].id
    ]


def _inter_all(subjects: Sequence[Subject], labelled: frozenset[str]) -> PairSource:
    return PairSource(inter_pairs(subjects, labelled), lambda pair, rng: pair)


def _inter_fixed(subjects: Sequence[Subject], labelled: frozenset[str]) -> PairSource:
    """Choose `FIXED_PAIRS` of all ordered pairs, by the hash of their names, which no library version changes."""

    def rank(pair: Pair) -> str:
        # Names of files need not be UTF-8.
        return hashlib.sha256(f'{FIXED_SEED}:{pair.name}'.encode('utf-8', 'surrogateescape')).hexdigest()

    pairs = inter_pairs(subjects, labelled)
    names = {pair.name for pair in sorted(pairs, key=rank)[:FIXED_PAIRS]}
    return PairSource([pair for pair in pairs if pair.name in names], lambda pair, rng: pair)


def _from_list(
    subjects: Sequence[Subject], labelled: frozenset[str], name_pairs: Sequence[tuple[str, str]]
) -> PairSource:
    """Take the pairs that the source lists, as far as both subjects are in the split."""
    frame_of = {subject.id: (subject, subject.frames[0]) for subject in subjects}
    pairs = [
        _pair(frame_of[fixed], frame_of[moving], labelled)
        for fixed, moving in name_pairs
        if fixed in frame_of and moving in frame_of
    ]
    return PairSource(pairs, lambda pair, rng: pair)


def _labelled_frames(subjects: Sequence[Subject], labelled: frozenset[str]) -> PairSource:
    """Take every labelled frame alone."""
    frames = [LabelledFrame(member[0].id, member[1]) for member in _members(subjects) if _is_usable(member, labelled)]
    return PairSource(frames, lambda frame, rng: frame)


# Name in the config: how to make the source, and what a data set must have for it.
PAIR_POLICIES: dict[str, tuple[Callable[..., PairSource], str]] = {
    'ed_es': (_ed_es, 'subjects with an ED and an ES frame'),
    'intra_random': (_intra_random, 'subjects with at least two frames'),
    'semi': (_semi, 'subjects with labelled frames and frames without labels'),
    'inter': (_inter, 'at least two subjects'),
    'inter_labelled': (_inter_labelled, 'at least two subjects with labels'),
    'inter_semi': (_inter_semi, 'subjects with labels and others without'),
    'inter_all': (_inter_all, 'at least two subjects'),
    'inter_fixed': (_inter_fixed, 'at least two subjects'),
    'ed_es_labelled': (_ed_es_labelled, 'subjects whose ED and ES frames have labels'),
    LISTED: (_from_list, 'a source that lists pairs of subjects of this split'),
    LABELLED_FRAMES: (_labelled_frames, 'subjects with labelled frames'),
}


def pair_source(policy: str, manifest: Manifest, split: str, labelled: frozenset[str]) -> PairSource:
    """Apply a pair policy to the subjects of a split.

    Args:
        policy: 'ed_es' (both directions), 'ed_es_labelled' (the same of subjects whose labels may be used), 'semi' (a
            labelled and an unlabelled frame of a subject, in random roles), 'intra_random' (any two frames of a
            subject), 'inter' (two subjects), 'inter_labelled' (two labelled subjects), 'inter_semi' (a labelled and
            an unlabelled subject, in random roles); without random draws 'inter_all' (every ordered pair of
            subjects), 'inter_fixed' (100 of them, always the same) or 'listed' (the pairs that the source lists);
            'labelled_frames' (each labelled frame alone, no pair).
        manifest: The prepared data.
        split: 'train', 'validation' or 'test'.
        labelled: Ids of the subjects whose labels may be used.

    Returns:
        The anchors of an epoch and the function that draws a pair for one.

    Raises:
        UserError: The policy is unknown, or there is no such split or nothing in it for the policy.
    """
    if policy not in PAIR_POLICIES:
        raise UserError(f'unknown pair policy {policy!r}', expected=f'one of {", ".join(PAIR_POLICIES)}')
    splits = list(dict.fromkeys(subject.split for subject in manifest.subjects))
    if split not in splits:
        raise UserError(
            f'{manifest.root} has no subjects in the {split} split',
            expected=f'one of its splits: {", ".join(splits) or "none"}',
            fix='choose one with --config.evaluation.split, or prepare data with that split',
        )
    make, need = PAIR_POLICIES[policy]
    more = (manifest.pairs,) if policy == LISTED else ()
    source = make(manifest.subjects_of(split), labelled, *more)
    if not source.anchors:
        raise UserError(
            f'the {split} split of {manifest.root} has no pairs for the policy {policy!r}',
            expected=need,
            fix="choose another policy in phases (such as 'ed_es'), or prepare data that has such frames",
        )
    return source
