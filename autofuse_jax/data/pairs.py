"""Pairs of frames, frames alone, and what draws them; labels that an experiment hides stay hidden."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from autofuse_jax.data.manifests import Frame, Subject
from autofuse_jax.errors import UserError

ALL_LABELLED = -1


@dataclasses.dataclass(frozen=True)
class Pair:
    """A moving frame to be registered to a fixed frame.

    Attributes:
        fixed_subject: Id of the fixed frame's subject.
        fixed: The fixed frame.
        moving_subject: Id of the moving frame's subject.
        moving: The moving frame.
        fixed_has_labels: Whether the experiment may use the fixed frame's labels.
        moving_has_labels: Whether the experiment may use the moving frame's labels.
    """

    fixed_subject: str
    fixed: Frame
    moving_subject: str
    moving: Frame
    fixed_has_labels: bool
    moving_has_labels: bool

    @property
    def members(self) -> tuple[tuple[str, Frame, bool], ...]:
        """Role, frame, and whether its labels may be used, of both frames."""
        return ('fixed', self.fixed, self.fixed_has_labels), ('moving', self.moving, self.moving_has_labels)

    @property
    def name(self) -> str:
        """Readable name: 'patient001_ED_to_ES' registers the moving ED frame to the fixed ES frame."""
        moving, fixed = (frame.phase or f'frame{frame.index:02d}' for frame in (self.moving, self.fixed))
        if self.moving_subject == self.fixed_subject:
            return f'{self.fixed_subject}_{moving}_to_{fixed}'
        return f'{self.moving_subject}_{moving}_to_{self.fixed_subject}_{fixed}'


@dataclasses.dataclass(frozen=True)
class LabelledFrame:
    """A frame alone whose labels may be used; it has the role of the fixed image.

    Attributes:
        subject: Id of its subject.
        frame: The frame.
    """

    subject: str
    frame: Frame

    @property
    def members(self) -> tuple[tuple[str, Frame, bool], ...]:
        """Role, frame, and that its labels may be used."""
        return (('fixed', self.frame, True),)


@dataclasses.dataclass(frozen=True)
class PairSource:
    """A pair policy applied to a set of subjects.

    Attributes:
        anchors: Items that one epoch goes through, in a new order each time.
        draw: Function that turns an anchor and a random generator into a pair, or into a frame alone;
            deterministic policies ignore the generator.
    """

    anchors: Sequence[Any]
    draw: Callable[[Any, np.random.Generator], Pair | LabelledFrame]


def labelled_subject_ids(subjects: Sequence[Subject], *, count: int, seed: int) -> frozenset[str]:
    """Choose the subjects whose labels may be used.

    The choice is a prefix of one seeded permutation, so that the set for a smaller count is contained in the set for
    a larger one.

    Args:
        subjects: The subjects of a split.
        count: Number of subjects that may keep their labels; -1 means all that have any.
        seed: Seed of the permutation.

    Returns:
        Ids of the chosen subjects.

    Raises:
        UserError: `count` exceeds the number of subjects with labels, or is below -1.
    """
    labelled = sorted(subject.id for subject in subjects if any(frame.has_labels for frame in subject.frames))
    if count == ALL_LABELLED:
        return frozenset(labelled)
    if not 0 <= count <= len(labelled):
        raise UserError(
            f'data.labelled_subjects is {count}',
            expected=f'-1 (all) or 0 to {len(labelled)}, the number of training subjects with labels',
            fix='correct data.labelled_subjects',
        )
    order = np.random.default_rng(seed).permutation(len(labelled))
    return frozenset(labelled[position] for position in order[:count])
