"""Scores of an earlier evaluation, taken as they are."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autofuse_jax.errors import UserError
from autofuse_jax.evaluation.runs import Run

PAIRS_NAME = 'pairs.json'


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
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
        records = [_read_record(record) for record in content['pairs']]
        classes = {int(label): str(title) for label, title in content['classes'].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f'{path} holds no scores ({error!r})', expected='the file that an evaluation wrote', fix='evaluate again'
        ) from error
    if not records:
        raise UserError(f'{path} holds no pairs', fix='evaluate again')
    protocol = content.get('protocol')
    rules = f'the protocol {protocol["name"]}' if protocol else 'the rules of the report after training'
    note = f'Scores were taken from {path} as they are; they were made under {rules}.'
    return Run(name, folder, 'earlier evaluation', (), classes, (note,), tuple(records), protocol)


def _read_record(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record as it was before it became JSON: label ids are numbers again, and null is nan."""
    scores: dict[str, Any] = {}
    for key, value in record.items():
        if key.endswith('_per_label'):
            scores[key] = {int(label): math.nan if number is None else float(number) for label, number in value.items()}
        else:
            scores[key] = math.nan if value is None else value
    if not isinstance(scores['pair'], str):
        raise TypeError('a pair has no name')
    return scores
