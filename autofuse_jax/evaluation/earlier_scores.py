"""Scores of an earlier evaluation, taken as they are."""

import dataclasses
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autofuse_jax.errors import UserError
from autofuse_jax.evaluation.protocol_files import protocol_from_record
from autofuse_jax.evaluation.runs import Run
from autofuse_jax.records.forms import LABEL_ID, Anything, Entries, Fields, Number, OrNull, Table, Text
from autofuse_jax.records.reading import read_json

PAIRS_NAME = 'pairs.json'
# Scores, where null stands for nan: of a pair, and by label.
SCORE = OrNull(Number())
PER_LABEL = OrNull(Table(SCORE, LABEL_ID))
IDS = re.compile('_per_(label|training_class)$')
SCORE_NAME = re.compile(r'(segmentation_)?(dsc|hd95|assd|njd|ndv|jacobian|tre|sdlogj|seconds)(_.*)?')
GATE_MEANS = Table(SCORE)


@dataclasses.dataclass(frozen=True)
class ScoreRecord:
    """The record of a pair: its name, scores, scores by label, and facts in words."""

    def check(self, value: Any, place: str) -> None:
        """See `records.forms.Form`."""
        Fields({'pair': Text()}, {'subject': Text(), 'gate_means': GATE_MEANS}).check(value, place)
        for name, entry in value.items():
            form = PER_LABEL if IDS.search(name) else SCORE if SCORE_NAME.fullmatch(name) else Anything()
            form.check(entry, f'{place}.{name}')


SCORES = Fields(
    {'pairs': Entries(ScoreRecord()), 'classes': Table(Text(), LABEL_ID)},
    {'protocol': OrNull(Table(Anything()))},
)


def open_scores(folder: Path, name: str) -> Run:
    """Open the scores in `pairs.json`.

    Args:
        folder: Folder written by this command, or by the report at the end of training (`evaluation_<split>`).
        name: Name in tables.

    Returns:
        The run, with its records.

    Raises:
        UserError: The file is damaged or holds no pairs.
    """
    path = folder / PAIRS_NAME
    expected = 'the file that an evaluation wrote'
    content = read_json(path, SCORES, misfit='holds no scores', expected=expected, fix='evaluate again')
    records = [_read_record(record) for record in content['pairs']]
    classes = {int(label): title for label, title in content['classes'].items()}
    if not records:
        raise UserError(f'{path} holds no pairs', fix='evaluate again')
    protocol = _read_protocol(content.get('protocol'), path)
    rules = f'the protocol {protocol["name"]}' if protocol else 'the rules of the report after training'
    note = f'Scores were taken from {path} as they are; they were made under {rules}.'
    return Run(name, folder, 'earlier evaluation', (), classes, (note,), tuple(records), protocol)


def _read_protocol(record: Mapping[str, Any] | None, path: Path) -> dict[str, Any] | None:
    """A recorded protocol with the fields that earlier versions had not, except for what it measures: everything."""
    if record is None:
        return None
    protocol = protocol_from_record(record, str(path)).as_record()
    return {field: value for field, value in protocol.items() if field != 'quantities' or field in record}


def _read_record(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record as it was before it became JSON: label ids are numbers again, and null is nan."""
    scores: dict[str, Any] = {}
    for key, value in record.items():
        if IDS.search(key):
            scores[key] = {
                int(label): math.nan if number is None else float(number) for label, number in (value or {}).items()
            }
        else:
            scores[key] = math.nan if value is None else value
    return scores
