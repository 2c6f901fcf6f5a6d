"""The table of a comparison of methods, from the record that `compare_methods` writes."""

import math
from collections.abc import Callable, Collection
from typing import Any

from autofuse_jax.configs.comparison.rows import TABLES

from autofuse_jax.reports.markdown import MISSING, markdown_table

MILLION = 1e6
# P values below this are given as such.
SMALLEST_P = 1e-4
HEAD = [
    'method',
    'parameters (M)',
    'DSC %',
    'NJD %',
    'CPU s a pair',
    'accelerator s a pair',
    'training minutes',
    'P (DSC)',
    'P (NJD)',
]
# What a machine's devices are called where they are its processor, '1 x cpu'.
CPU = 'cpu'


def table_of(record: dict[str, Any], names: Collection[str] | None = None) -> str:
    """Return the table, methods without labels first, each group in the order of the record.

    Args:
        record: Of `compare_methods`.
        names: Rows that it shows where they are in the record; default all.

    Returns:
        Markdown. `before` is the mean overlap without registration; P is against AutoFuse trained in the same way. The
        time of a pair stands in the column of what the row was evaluated on.
    """
    rows = []
    for semi in (False, True):
        shown = (row for name, row in record['rows'].items() if names is None or name in names)
        group = [row for row in shown if row['semi'] == semi]
        if group and not rows:
            before = group[0]['scores']['dsc_before']
            rows.append(['before', MISSING, _spread(before, 100, 1), *[MISSING] * (len(HEAD) - 3)])
        rows += [_row(row) for row in group]
    return markdown_table(HEAD, rows)


def paper_tables(read_record: Callable[[str], dict[str, Any]]) -> dict[str, Callable[[], str]]:
    """Return the functions that make the tables of docs/methods.md, by name: the rows of each table of the paper.

    Args:
        read_record: Reads a record of experiments/results/.
    """

    def made(names: Collection[str]) -> Callable[[], str]:
        return lambda: table_of(read_record('comparison_hippocampus.json'), names)

    return {f'comparison {number}': made(names) for number, names in TABLES.items()}


def _row(row: dict[str, Any]) -> list[str]:
    scores, seconds = row['scores'], f'{row["seconds_a_pair"]:.3f}'
    on_cpu = row['machine']['devices'].endswith(CPU)
    return [
        row['title'],
        f'{row["parameters"] / MILLION:.2f}',
        _spread(scores['dsc_after'], 100, 1),
        _spread(scores['njd_percent'], 1, 3),
        *((seconds, MISSING) if on_cpu else (MISSING, seconds)),
        f'{row["training_minutes"]:.1f}',
        _p(row.get('p_dsc_after')),
        _p(row.get('p_njd_percent')),
    ]


def _spread(found: dict[str, Any], factor: float, decimals: int) -> str:
    mean = f'{factor * found["mean"]:.{decimals}f}'
    deviation = found.get('deviation')
    return mean if deviation is None or math.isnan(deviation) else f'{mean} ± {factor * deviation:.{decimals}f}'


def _p(value: float | None) -> str:
    if value is None or math.isnan(value):
        return MISSING
    return f'< {SMALLEST_P}' if value < SMALLEST_P else f'{value:.4f}'
