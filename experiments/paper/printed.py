"""The numbers that the paper prints, by table, row and data set."""

import functools
from pathlib import Path
from typing import Any

from autofuse_jax.records.reading import read_json

VALUES = Path(__file__).with_name('paper_values.json')


@functools.cache
def printed_values() -> dict[str, Any]:
    """Return the content of paper_values.json: 'tables' by number, row and data set, and what 'sets' are."""
    return read_json(VALUES)


def printed_sets(table: str) -> list[str]:
    """Return the data sets of a table of the paper, by their names in paper_values.json."""
    rows = printed_values()['tables'][table].values()
    return [name for name in printed_values()['sets'] if any(name in row for row in rows)]


def printed_number(table: str, row: str, quantity: str, data: str = '') -> float | None:
    """Return a number of the paper.

    Args:
        table: Its number, such as '2'.
        row: Name of the row in our tables.
        quantity: 'dsc_percent', 'njd_percent', and without a data set 'parameters_million', 'cpu_seconds',
            'gpu_seconds'.
        data: Name of the data set; '': a number of the row itself.

    Returns:
        The number; None where the paper has none.
    """
    values = printed_values()['tables'][table].get(row, {})
    return (values.get(data, {}) if data else values).get(quantity)
