"""Records of an evaluation, one per pair, as CSV for spreadsheets, JSON for programs and text for people."""

import csv
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autofuse_jax.errors import UserError
from autofuse_jax.files import json_types, replacing, write_json, write_text
from autofuse_jax.reports.summary import markdown_summary, seconds_apart, spread_of, structures, summary_numbers

CSV_NAME, JSON_NAME, SUMMARY_NAME = 'pairs.csv', 'pairs.json', 'summary.md'
PER_LABEL = '_per_label'


def write_records(
    folder: str | os.PathLike,
    records: Sequence[Mapping[str, Any]],
    classes: Mapping[int, str],
    header: Mapping[str, Any],
) -> Path:
    """Write `pairs.csv`, `pairs.json` and `summary.md`.

    A record has 'pair' ('X_to_Y': moving X registered to fixed Y) and, where known, 'subject', 'fixed_frame',
    'moving_frame', 'dsc_before', 'dsc_after' (in [0, 1]), 'dsc_before_per_label', 'dsc_after_per_label',
    'segmentation_dsc_per_label' (label id to DSC), 'njd_percent', 'sdlogj', 'seconds' and 'gate_means' (gate name to
    mean weight). Other entries go into the CSV and JSON as they are. Numbers that are missing or nan become empty
    fields in the CSV and null in the JSON.

    Args:
        folder: Where to write; made if missing. Files of these names are replaced.
        records: At least one, in the order of evaluation.
        classes: Label id to name, background included or not.
        header: What was evaluated (data, split, checkpoint, commit, ...); 'title' becomes the heading of the summary.

    Returns:
        The path of `summary.md`.

    Raises:
        UserError: There are no records.
    """
    _check(records)
    folder = Path(folder)
    rows = [_flat(record, classes) for record in records]
    # Columns in order of first appearance, so that a record with extra entries loses nothing.
    columns = list(dict.fromkeys(column for row in rows for column in row))
    with replacing(folder / CSV_NAME) as temporary, temporary.open('w', newline='', encoding='utf-8') as file:
        writer = csv.DictWriter(file, columns, restval='', lineterminator='\n')
        writer.writeheader()
        writer.writerows({column: '' if value is None else value for column, value in row.items()} for row in rows)
    content = {
        'header': header,
        'classes': classes,
        'summary': summary_numbers(records, classes),
        'pairs': list(records),
    }
    write_json(folder / JSON_NAME, json_types(content))
    write_text(folder / SUMMARY_NAME, markdown_summary(records, classes, header))
    return folder / SUMMARY_NAME


def console_table(records: Sequence[Mapping[str, Any]], classes: Mapping[int, str]) -> str:
    """A short plain text table of the same means, for the terminal.

    Args:
        records: As `write_records` takes them.
        classes: Label id to name.

    Returns:
        Text of a few lines, without a line break at the end.

    Raises:
        UserError: There are no records.
    """
    _check(records)
    segmented = any(record.get('segmentation_dsc_per_label') for record in records)
    rows = [['DSC %', 'before', 'after', *(['segmentation'] if segmented else [])]]
    for label, name in structures(classes).items():
        row = [name]
        for key in ('dsc_before_per_label', 'dsc_after_per_label', 'segmentation_dsc_per_label')[: 2 + segmented]:
            row.append(spread_of(records, key, label).text(1, 100))
        rows.append(row)
    overall = [spread_of(records, key).text(1, 100) for key in ('dsc_before', 'dsc_after')]
    rows.append(['mean', *overall, *([''] if segmented else [])])
    lines = _aligned(rows)
    first, later = seconds_apart(records)
    lines.append('')
    lines.append(f'NJD {spread_of(records, "njd_percent").text(3)} %   SDlogJ {spread_of(records, "sdlogj").text(3)}')
    timing = f'{len(records)} {"pair" if len(records) == 1 else "pairs"}'
    if later.count:
        timing += f', {later.text(3)} s each'
    if first is not None and not math.isnan(first):
        timing += f', first pair {first:.3f} s (may include compilation)'
    lines.append(timing)
    return '\n'.join(lines)


def _check(records: Sequence[Mapping[str, Any]]) -> None:
    if not records:
        raise UserError(
            'there are no pairs to report',
            expected='at least one evaluated pair',
            fix='check that the chosen split of the manifest has subjects with the frames to register',
        )


def _flat(record: Mapping[str, Any], classes: Mapping[int, str]) -> dict[str, Any]:
    """One CSV row: entries of nested dictionaries become columns such as dsc_after_myocardium and gate_2."""
    row: dict[str, Any] = {}
    for key, value in json_types(record).items():
        if not isinstance(value, dict):
            row[key] = value
        elif key.endswith(PER_LABEL):
            for label, name in structures(classes).items():
                row[f'{key.removesuffix(PER_LABEL)}_{name.replace(" ", "_")}'] = value.get(str(label))
        elif key == 'gate_means':
            row.update(value)
        else:
            row.update({f'{key}_{inner}': item for inner, item in value.items()})
    return row


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines with the first column flush left and the others flush right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        '  '.join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
