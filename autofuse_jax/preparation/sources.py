"""What a reader of a source data set hands to the preparation: subjects, their frames, and everything found wrong."""

import dataclasses
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class SourceFrame:
    """One volume of a subject, before preparation.

    Attributes:
        index: Frame number as the source counts it.
        phase: 'ED', 'ES', or '' for a frame in between.
        image: File that holds the image.
        position: Place of the frame along the fourth axis of `image`, counted from 0; None where it is a 3-D file.
        labels: File of the label map, or None.
    """

    index: int
    phase: str
    image: Path
    position: int | None
    labels: Path | None


@dataclasses.dataclass(frozen=True)
class SourceSubject:
    """One subject of a source.

    Attributes:
        id: Unique name.
        split: 'train', 'validation' or 'test'.
        group: Diagnosis or another stratum; '' where unknown.
        series: 4-D file of which every frame is to be prepared, or None where `frames` lists them all.
        frames: The frames known by name; of a series those that have a phase.
    """

    id: str
    split: str
    group: str
    series: Path | None
    frames: tuple[SourceFrame, ...]


@dataclasses.dataclass(frozen=True)
class Problem:
    """Something wrong with one subject of the source, which is therefore left out.

    Attributes:
        subject: Its name.
        reason: Fault, with the name of the file.
    """

    subject: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Source:
    """A source data set, listed but not read.

    Attributes:
        dataset: Its name, such as 'acdc'.
        layout: Arrangement of the files, in words.
        split_rule: Rule of the splits, in words.
        label_convention: Meaning of the label ids and where they come from, in words.
        classes: Label id to name, 0 for background.
        subjects: Those that can be prepared, in order of their ids.
        problems: Subjects that cannot.
        unused: Number of subjects that are in no split.
    """

    dataset: str
    layout: str
    split_rule: str
    label_convention: str
    classes: dict[int, str]
    subjects: tuple[SourceSubject, ...]
    problems: tuple[Problem, ...]
    unused: int
