"""The files of an evaluated run: CSV for spreadsheets, JSON for programs, Markdown and LaTeX; text for the terminal."""

import csv
import io
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autofuse_jax.files import json_types, write_json, write_text
from autofuse_jax.reports.summary import PER_LABEL, RunContent, present, seconds_apart, spread_of, summary_numbers
from autofuse_jax.reports.summary_page import summary_latex, summary_page

CSV_NAME, STRUCTURES_NAME, JSON_NAME = 'pairs.csv', 'structures.csv', 'pairs.json'
PAGE_NAME, LATEX_NAME = 'summary.md', 'summary.tex'


def write_tables(folder: str | os.PathLike, content: RunContent) -> list[Path]:
    """Write pairs.csv, structures.csv, pairs.json, summary.md and summary.tex.

    A record has 'pair' ('X_to_Y': moving X registered to fixed Y), 'subject' and what
    `evaluation.pair_scores.score_pair` returns. Entries that are numbers or text become columns of pairs.csv, and so do
    gate means; scores of structures are in structures.csv, a line for each structure of each pair. Numbers that are
    missing or nan are empty in CSV and null in JSON.

    Args:
        folder: Folder to write to; made if missing. Files of these names are replaced.
        content: The run.

    Returns:
        The files.
    """
    texts = {
        CSV_NAME: csv_text([_pair_row(record) for record in content.records]),
        STRUCTURES_NAME: csv_text(_structure_rows(content)),
        PAGE_NAME: summary_page(content),
        LATEX_NAME: summary_latex(content),
    }
    paths = {name: Path(folder) / name for name in (*texts, JSON_NAME)}
    for name, text in texts.items():
        write_text(paths[name], text)
    record = {
        'header': {'title': content.title, **content.facts},
        'classes': content.classes,
        'protocol': content.protocol,
        'notes': list(content.notes),
        'summary': summary_numbers(content),
        'pairs': list(content.records),
    }
    write_json(paths[JSON_NAME], json_types(record))
    return list(paths.values())


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as CSV; columns in order of first appearance, missing numbers as empty fields."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, restval='', lineterminator='\n')
    writer.writeheader()
    for row in rows:
        cells = json_types(row)
        writer.writerow({column: '' if value is None else value for column, value in cells.items()})
    return buffer.getvalue()


def console_table(content: RunContent) -> str:
    """A short plain text table of the same means, for the terminal.

    Args:
        content: The run.

    Returns:
        Text of a few lines, without a line break at the end.
    """
    records = content.records
    columns = {'before': 'dsc_before', 'after': 'dsc_after'}
    if any(record.get('segmentation_dsc_per_label') for record in records):
        columns['segmentation'] = 'segmentation_dsc'
    rows = [['DSC %', *columns]]
    for label, name in content.classes.items():
        rows.append([name, *(spread_of(records, key + PER_LABEL, label).text(1, 100) for key in columns.values())])
    rows.append(['mean', *(spread_of(records, key).text(1, 100) for key in columns.values())])
    first, later = seconds_apart(records)
    timing = f'{len(records)} {"pair" if len(records) == 1 else "pairs"}'
    if later.count:
        timing += f', {later.text(3)} s each'
    if first is not None and not math.isnan(first):
        timing += f', first pair {first:.3f} s (may include compilation)'
    folding = f'NJD {spread_of(records, "njd_percent").text(3)} %   SDlogJ {spread_of(records, "sdlogj").text(3)}'
    return '\n'.join([*_aligned(rows), '', folding, timing])


def _pair_row(record: Mapping[str, Any]) -> dict[str, Any]:
    """One line: what is a number or text, then gates."""
    row = {key: value for key, value in record.items() if not isinstance(value, Mapping)}
    return row | dict(record.get('gate_means') or {})


def _structure_rows(content: RunContent) -> list[dict[str, Any]]:
    labelled = [quantity for quantity in present(content.records) if quantity.per_label]
    keys = [key for quantity in labelled for key in (quantity.before, quantity.key) if key]
    return [
        {'pair': record['pair'], 'label': label, 'structure': name}
        | {key: (record.get(key + PER_LABEL) or {}).get(label, math.nan) for key in keys}
        for record in content.records
        for label, name in content.classes.items()
    ]


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
