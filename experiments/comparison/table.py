"""The tables of a comparison of methods, from the record that `compare_methods` writes."""

import math
from collections.abc import Callable, Collection, Mapping
from typing import Any

from autofuse_jax.configs.comparison.rows import ROWS, TABLES, find_row

from autofuse_jax.reports.markdown import MISSING, markdown_table
from autofuse_jax.reports.summary import gates_of
from experiments.comparison.curve import CONVERGED_GAIN, has_converged, last_gain

MILLION = 1e6
# P values below this are given as such.
SMALLEST_P = 1e-4
# What a machine's devices are called where they are its processor, '1 x cpu'.
CPU = 'cpu'
# Behind the titles of rows, and what the line below the table says of them.
NOT_CONVERGED, PUBLISHED_RATE = '†', '‡'
LEGENDS = {
    NOT_CONVERGED: f'not converged: the last quarter of training gained {CONVERGED_GAIN:g} points of DSC or more',
    PUBLISHED_RATE: 'diverged with the learning rate of the comparison, and was trained again with the published one',
}
DSC = 'DSC %'
# The row of pairs that are not registered.
BEFORE = 'before'
# Record in experiments/results/ that the table of docs/methods.md is made from.
PAPER_RECORD = 'comparison_acdc.json'
Row = dict[str, Any]
Cell = Callable[[Row], str]


def _spread(spread: dict[str, Any] | None, factor: float, decimals: int) -> str:
    if spread is None or spread['mean'] is None:
        return MISSING
    mean, deviation = f'{factor * spread["mean"]:.{decimals}f}', spread.get('deviation')
    return mean if deviation is None or math.isnan(deviation) else f'{mean} ± {factor * deviation:.{decimals}f}'


def _scores(quantity: str, factor: float, decimals: int) -> Cell:
    return lambda row: _spread(row['scores'].get(quantity), factor, decimals)


def _p(quantity: str) -> Cell:
    def cell(row: Row) -> str:
        value = row.get(f'p_{quantity}')
        if value is None or math.isnan(value):
            return MISSING
        return f'< {SMALLEST_P}' if value < SMALLEST_P else f'{value:.4f}'

    return cell


def _seconds(*, on_cpu: bool) -> Cell:
    """Time of a pair, of the rows that were evaluated on a processor or on an accelerator."""

    def cell(row: Row) -> str:
        seconds = row['seconds_a_pair']
        if seconds is None or row['machine']['devices'].endswith(CPU) != on_cpu:
            return MISSING
        return f'{seconds:.3f}'

    return cell


def _gain(row: Row) -> str:
    gain = last_gain(row.get('validation', ()))
    return MISSING if gain is None else f'{gain:.2f}'


def _gates(row: Row) -> str:
    """Mean weight of the fusion branch at each gate, in the order of their levels."""
    means = row['scores'].get('gate_means') or {}
    return ' '.join(f'{means[gate]["mean"]:.3f}' for gate in gates_of([row['scores']])) or MISSING


# Columns behind the method; those in which no shown row has anything are left out.
COLUMNS: dict[str, Cell] = {
    'parameters (M)': lambda row: f'{row["parameters"] / MILLION:.2f}',
    DSC: _scores('dsc_after', 100, 1),
    'NJD %': _scores('njd_percent', 1, 3),
    'SDlogJ': _scores('sdlogj', 1, 3),
    'P (DSC)': _p('dsc_after'),
    'P (NJD)': _p('njd_percent'),
    'P (SDlogJ)': _p('sdlogj'),
    'last quarter gained, DSC points': _gain,
    'gates by level': _gates,
    'learning rate': lambda row: f'{row["learning_rate"]:g}',
    'CPU s a pair': _seconds(on_cpu=True),
    'accelerator s a pair': _seconds(on_cpu=False),
    'training minutes': lambda row: f'{row["training_minutes"]:.1f}',
}


def table_cells(
    record: dict[str, Any],
    names: Collection[str],
    titles: Mapping[str, str] | None = None,
    *,
    leave_out: Collection[str] = (),
) -> tuple[list[str], dict[str, list[str]], str]:
    """Return what a table holds: the titles of its columns, the cells of each row, and what the marks of rows mean.

    Args:
        record: Record of `compare_methods`.
        names: Rows that it shows, in order.
        titles: Names of rows in this table, where they are not those of `find_row`.
        leave_out: Columns that it does not show.

    Returns:
        'method' and the columns that some row has; cells by row, `BEFORE`, the mean overlap without registration, the
        first; the legend, '' where there are no marks. P is against AutoFuse trained in the same way. The time of a
        pair stands in the column of what the row was evaluated on. Rows that the record lacks say so.
    """
    shown = {name: record['rows'].get(name) for name in names}
    cells = {name: {column: cell(row) for column, cell in COLUMNS.items()} for name, row in shown.items() if row}
    filled = (column for column in COLUMNS if any(row[column] != MISSING for row in cells.values()))
    columns = [column for column in filled if column not in leave_out]
    rows = {}
    if cells:
        before = _spread(record['rows'][next(iter(cells))]['scores']['dsc_before'], 100, 1)
        rows[BEFORE] = ['before', *(before if column == DSC else MISSING for column in columns)]
    absent = dict.fromkeys(columns, MISSING)
    for name in shown:
        title = (titles or {}).get(name) or find_row(name).title
        rows[name] = [_title(title, name, record), *(cells.get(name, absent)[column] for column in columns)]
    marks = [mark for mark in LEGENDS if any(row[0].endswith(mark) or f'{mark} ' in row[0] for row in rows.values())]
    legend = '; '.join(f'{mark} {LEGENDS[mark]}' for mark in marks)
    return ['method', *columns], rows, f'{legend}.' if legend else ''


def table_of(record: dict[str, Any], names: Collection[str] | None = None) -> str:
    """Return the table, methods without labels first.

    Args:
        record: Record of `compare_methods`.
        names: Rows that it shows; default those that the record has or should have.

    Returns:
        Markdown, with a line below it about the marks of rows, see `table_cells`.
    """
    wanted = {*record['rows'], *record['not_done']} if names is None else set(names)
    head, rows, legend = table_cells(record, [name for name in ROWS if name in wanted])
    return markdown_table(head, rows.values()) + (f'\n\n{legend}' if legend else '')


def paper_tables(read_record: Callable[[str], dict[str, Any]]) -> dict[str, Callable[[], str]]:
    """Return the function that makes the table of docs/methods.md, by name: all rows that have been trained.

    Args:
        read_record: Reads a record of experiments/results/.
    """

    def made() -> str:
        record = read_record(PAPER_RECORD)
        return table_of(record, record['rows'])

    return {'comparison': made}


def comparison_page(record: dict[str, Any], picture: str) -> str:
    """Return the page of a comparison: what all rows have in common, the curves, and each table of the paper.

    Args:
        record: Record of `compare_methods`.
        picture: Name of the file with the curves, beside the page.

    Returns:
        Markdown that ends with a line break.
    """
    facts = ('steps', 'grid', 'schedule', 'warmup_steps', 'clip_norm')
    words = [f'{fact.replace("_", " ")} {record[fact]}' for fact in facts if record.get(fact) is not None]
    parts = [
        f'# Comparison of methods: {record["task"]}, {record["split"]} split',
        f'{len(record["pairs"])} pairs; of every row: {", ".join(words)}. P: Wilcoxon signed-rank test against '
        'AutoFuse trained in the same way, corrected by Holm.',
        f'![Validation DSC against steps]({picture})',
    ]
    for number, names in TABLES.items():
        parts += [f'## Rows of {"Tables" if " " in number else "Table"} {number}', table_of(record, names)]
    return '\n\n'.join(parts) + '\n'


def _title(title: str, name: str, record: dict[str, Any]) -> str:
    """Title of a row, with what is to be known of its training."""
    if name not in record['rows']:
        diverged = name in record.get('diverged', {})
        return f'{title} ({"diverged" if diverged else "no record"})'
    row = record['rows'][name]
    marks = [NOT_CONVERGED] if has_converged(row.get('validation', ())) is False else []
    marks += [PUBLISHED_RATE] if row.get('diverged_before') else []
    return ' '.join([title, *marks])
