"""The table of a comparison of methods, from the record that `compare_methods` writes."""

import math
from typing import Any

from autofuse_jax.reports.summary import MISSING, markdown_table

MILLION = 1e6
# P values below this are given as such.
SMALLEST_P = 1e-4
HEAD = ['method', 'parameters (M)', 'DSC %', 'NJD %', 'seconds a pair', 'training minutes', 'P (DSC)', 'P (NJD)']


def table_of(record: dict[str, Any]) -> str:
    """Return the table, methods without labels first, each group in the order of the record.

    Args:
        record: Of `compare_methods`.

    Returns:
        Markdown. `before` is the mean overlap without registration; P is against AutoFuse trained in the same way.
    """
    rows = []
    for semi in (False, True):
        group = [row for row in record['rows'].values() if row['semi'] == semi]
        if group and not rows:
            before = group[0]['scores']['dsc_before']
            rows.append(['before', MISSING, _spread(before, 100, 1), *[MISSING] * 5])
        rows += [_row(row) for row in group]
    return markdown_table(HEAD, rows)


def _row(row: dict[str, Any]) -> list[str]:
    scores = row['scores']
    return [
        row['title'],
        f'{row["parameters"] / MILLION:.2f}',
        _spread(scores['dsc_after'], 100, 1),
        _spread(scores['njd_percent'], 1, 3),
        f'{row["seconds_a_pair"]:.2f}',
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
