"""Two label maps of one brain: the original ids for evaluation, and fewer classes for training.

The built-in tables merge to the 19 structures of the paper (left and right are one): classes 1 to 19, 0 for background.
"""

import dataclasses
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from autofuse_jax.choices import DKT62, FREESURFER, NEUROMORPHOMETRICS, OASIS35
from autofuse_jax.errors import UserError
from autofuse_jax.preparation.brain_label_names import (
    DESIKAN_REGIONS,
    DKT_REGIONS,
    FREESURFER_LEFT,
    FREESURFER_OTHERS,
    FREESURFER_RIGHT,
    FREESURFER_SUBCORTICAL,
    MERGED_NAMES,
    NEUROMORPHOMETRICS_CORTEX,
    NEUROMORPHOMETRICS_OTHERS,
    NEUROMORPHOMETRICS_SUBCORTICAL,
    OASIS_NAMES,
)
from autofuse_jax.records.reading import read_json

BACKGROUND = 'background'
MERGED_CLASSES = {0: BACKGROUND, **dict(enumerate(MERGED_NAMES, start=1))}
# Training classes are stored as uint8.
MOST_CLASSES = 256
LONGEST_ID = 10
TABLE_EXAMPLE = '{"17": {"name": "Left-Hippocampus", "class": "Hippocampus"}, "85": "Optic-Chiasm"}'


@dataclasses.dataclass(frozen=True)
class LabelTable:
    """What the ids of a label map mean, and which class each becomes for training.

    Attributes:
        convention: Meaning of the original ids, in words.
        names: Original id to name, background left out. An id that is not here is background in both maps' scores.
        class_of: Original id to training class, 1 or more; any other id becomes background.
        classes: Training class to name, 0 for background, without gaps.
        complete: Whether an id that `names` lacks is an error; otherwise it is background for training.
    """

    convention: str
    names: dict[int, str]
    class_of: dict[int, int]
    classes: dict[int, str]
    complete: bool

    def training_labels(self, labels: np.ndarray) -> np.ndarray:
        """Return the training classes of a label map.

        Args:
            labels: Integer original ids, of any shape.

        Returns:
            uint8 of the same shape.
        """
        ids, place = np.unique(labels, return_inverse=True)
        classes = np.array([self.class_of.get(int(label), 0) for label in ids], np.uint8)
        return classes[place].reshape(labels.shape)

    def check(self, labels: np.ndarray, name: str) -> None:
        """Refuse ids that a complete table lacks, and ids below 0.

        Args:
            labels: Integer original ids.
            name: Name of the label map in the message.

        Raises:
            UserError: Such an id is there.
        """
        ids = set(np.unique(labels).tolist()) - {0}
        unknown = sorted(ids - set(self.names)) if self.complete else sorted(label for label in ids if label < 0)
        if unknown:
            raise UserError(
                f'the labels of {name} hold the unknown ids {unknown}',
                expected=f'ids of {self.convention}',
                fix='check --labels, or add them to the --label-table',
            )


def oasis_table() -> LabelTable:
    """Return the table of neurite-OASIS: 35 structures."""
    merged = {name: label for label, name in MERGED_CLASSES.items()}
    class_of = {label: merged[_without_side(name)] for label, name in OASIS_NAMES.items()}
    return LabelTable('neurite-OASIS (35 structures, ids 1 to 35)', OASIS_NAMES, class_of, MERGED_CLASSES, True)


def freesurfer_table(regions: str = 'all') -> LabelTable:
    """Return the table of FreeSurfer's aseg and cortical ids.

    Args:
        regions: 'all' (default) names all structures; 'dkt' only the 62 cortical regions of Mindboggle-101, which are
            then the ones to score. Training classes are the same.

    Returns:
        The table.
    """
    names, class_of = _subcortical(FREESURFER_SUBCORTICAL)
    names |= FREESURFER_OTHERS
    cortex = MERGED_NAMES.index('Cerebral-Cortex') + 1
    dkt: dict[int, str] = {}
    for offset, side in ((FREESURFER_LEFT, 'ctx-lh'), (FREESURFER_RIGHT, 'ctx-rh')):
        dkt |= {offset + number: f'{side}-{name}' for number, name in DKT_REGIONS.items()}
        names |= {offset + number: f'{side}-{name}' for number, name in DESIKAN_REGIONS.items()}
    names |= dkt
    class_of |= {label: cortex for label in names if label >= FREESURFER_LEFT}
    if regions == 'dkt':
        return LabelTable('the 62 cortical regions of DKT31', dkt, class_of, MERGED_CLASSES, False)
    return LabelTable('FreeSurfer (aseg and cortical regions)', names, class_of, MERGED_CLASSES, False)


def neuromorphometrics_table() -> LabelTable:
    """Return the table of Neuromorphometrics: about 130 structures, none of them a choroid plexus."""
    names, class_of = _subcortical(NEUROMORPHOMETRICS_SUBCORTICAL)
    names |= NEUROMORPHOMETRICS_OTHERS
    cortex = MERGED_NAMES.index('Cerebral-Cortex') + 1
    for right, name in NEUROMORPHOMETRICS_CORTEX.items():
        names |= {right: f'Right {name}', right + 1: f'Left {name}'}
        class_of |= {right: cortex, right + 1: cortex}
    convention = 'Neuromorphometrics (MICCAI 2012 multi-atlas challenge)'
    return LabelTable(convention, names, class_of, MERGED_CLASSES, False)


# Name on the command line: the table.
LABEL_TABLES = {
    OASIS35: oasis_table,
    FREESURFER: freesurfer_table,
    DKT62: lambda: freesurfer_table('dkt'),
    NEUROMORPHOMETRICS: neuromorphometrics_table,
}


def table_of_ids(ids: Collection[int]) -> LabelTable:
    """Return the table in which every id is a class of its own, in ascending order.

    Args:
        ids: The original ids that occur; 0 counts as background, and ids below 0 are unknown to the table.

    Returns:
        The table; structures are called 'label 7' after their original id.

    Raises:
        UserError: More ids than training classes can be stored.
    """
    ordered = sorted(label for label in set(ids) if label > 0)
    if len(ordered) >= MOST_CLASSES:
        raise UserError(
            f'the label maps hold {len(ordered)} different ids',
            expected=f'at most {MOST_CLASSES - 1} for training',
            fix=f'say what they are with --labels ({", ".join(LABEL_TABLES)}), or merge them with --label-table FILE',
        )
    names = {label: f'label {label}' for label in ordered}
    class_of = {label: number for number, label in enumerate(ordered, start=1)}
    classes = {0: BACKGROUND, **{number: names[label] for label, number in class_of.items()}}
    return LabelTable('ids as they are in the files, each a class of its own', names, class_of, classes, True)


def read_label_table(path: str | os.PathLike) -> LabelTable:
    """Read a table from JSON: original id to name, or to {"name": ..., "class": ...}.

    Ids with the same class are merged for training; without "class" an id is a class of its own, and with "class": null
    it is background for training and scored nevertheless. Classes are numbered in the order of the file.

    Args:
        path: The file.

    Returns:
        The table; ids that are not in it are errors.

    Raises:
        UserError: No such file, not JSON, or not of that form.
    """
    expected = f'JSON such as {TABLE_EXAMPLE}'
    content = read_json(path, kind='the label table', expected=expected)
    if not isinstance(content, dict) or not content:
        raise UserError(f'the label table {path} is no JSON object with entries', expected=expected)
    names, class_of, classes = {}, {}, {0: BACKGROUND}
    for key, entry in content.items():
        label, name, group = _entry(key, entry, path, expected)
        if label == 0:
            continue
        names[label] = name
        if group is None:
            continue
        number = next(
            (class_id for class_id, its_name in classes.items() if class_id and its_name == group), len(classes)
        )
        classes[number] = group
        class_of[label] = number
    if len(classes) > MOST_CLASSES:
        raise UserError(
            f'the label table {path} has {len(classes) - 1} classes', expected=f'{MOST_CLASSES - 1} or fewer'
        )
    return LabelTable(f'the table {Path(path).name}', names, class_of, classes, True)


def _entry(key: str, entry: Any, path: str | os.PathLike, expected: str) -> tuple[int, str, str | None]:
    """Return id, name and class of one entry of a label table."""
    fields = {'name': entry} if isinstance(entry, str) else entry
    good = (
        key.isdecimal()
        and len(key) <= LONGEST_ID
        and isinstance(fields, dict)
        and set(fields) <= {'name', 'class'}
        and 'name' in fields
    )
    if not good or not isinstance(fields['name'], str) or not isinstance(fields.get('class'), str | None):
        raise UserError(f'the label table {path} has the entry {key!r}: {entry!r}', expected=expected)
    return int(key), fields['name'], fields.get('class', fields['name'])


def _subcortical(structures: dict[str, tuple[int, ...]]) -> tuple[dict[int, str], dict[int, int]]:
    """Return names and training classes of the left, right and midline ids of a convention."""
    names, class_of = {}, {}
    for structure, ids in structures.items():
        sides = ('Left-', 'Right-') if len(ids) > 1 else ('',)
        for side, label in zip(sides, ids, strict=True):
            names[label] = side + structure
            class_of[label] = MERGED_NAMES.index(structure) + 1
    return names, class_of


def _without_side(name: str) -> str:
    return name.removeprefix('Left-').removeprefix('Right-')
