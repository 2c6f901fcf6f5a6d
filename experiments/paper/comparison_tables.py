"""Tables 1 to 7 from records of trained rows, with the paper's numbers beside ours."""

from collections.abc import Mapping, Sequence
from typing import Any

from autofuse_jax.configs.comparison.rows import TABLES

from autofuse_jax.errors import UserError
from autofuse_jax.reports.markdown import MISSING
from experiments.comparison.rows import with_tests
from experiments.comparison.table import table_cells
from experiments.paper.outputs import PaperTable
from experiments.paper.printed import printed_number, printed_sets, printed_values

# Rows of our tables: `TABLES` of the comparison.
ROWS_OF = {
    '1': TABLES['1 and 2'],
    '2': TABLES['1 and 2'],
    '3': TABLES['3'],
    '4': ('autofuse_disp_mu_0', 'autofuse_disp', 'autofuse_mu_0', 'autofuse_lambda_200', 'autofuse_lambda_400')
    + ('autofuse',),
    '5': TABLES['5 and 6'],
    '6': TABLES['5 and 6'],
    '7': TABLES['7'],
}
TITLES = {
    '1': 'Table 1: unsupervised registration of brains',
    '2': 'Table 2: unsupervised registration of hearts',
    '3': 'Table 3: fusion, without labels',
    '4': 'Table 4: regularisation',
    '5': 'Table 5: semi-supervised registration of brains',
    '6': 'Table 6: semi-supervised registration of hearts',
    '7': 'Table 7: fusion, with labels on part of the data',
}
# What rows are called where the table is about what they differ in.
REGULARISATION_TITLES = {
    'autofuse_disp_mu_0': 'AutoFuse-disp, μ = 0',
    'autofuse_disp': 'AutoFuse-disp, μ = 1e-5',
    'autofuse_mu_0': 'AutoFuse, λ = 50, μ = 0',
    'autofuse_lambda_200': 'AutoFuse, λ = 200, μ = 0',
    'autofuse_lambda_400': 'AutoFuse, λ = 400, μ = 0',
    'autofuse': 'AutoFuse, λ = 50, μ = 1e-5',
}
# Columns of comparisons that the paper's tables have no place for.
LEFT_OUT = ('gates by level', 'learning rate', 'last quarter gained, DSC points', 'P (SDlogJ)')
# Decimals of the paper's numbers, and what their columns are called.
DSC, NJD = ('dsc_percent', 'DSC %', 1), ('njd_percent', 'NJD %', 3)
OF_ROWS = (
    ('parameters_million', 'paper: parameters (M)', 2),
    ('cpu_seconds', 'paper: CPU s', 2),
    ('gpu_seconds', 'paper: GPU s', 2),
)
PATIENTS = {
    'acdc': "The paper scored other patients, ACDC's official test set, after 50,000 steps at full size: its numbers "
    'stand beside ours for orientation.'
}
OTHER_DATA = 'The paper measured other data ({sets}): what can be compared is the order of its rows, not its numbers.'
WALL_TIME = (
    'Training minutes are wall time: other work on the machine, and time for which a training stood still, count.'
)
KNOWN = 'Parameters are those of the networks, whatever the data; the times of the paper are those of its machine.'


def comparison_table(number: str, record: Mapping[str, Any]) -> PaperTable:
    """Return a table of the paper made of a record of trained rows.

    Args:
        number: Number of the table, '1' to '7'.
        record: Record of `experiments.compare_methods`, or of the rows that this package trained.

    Raises:
        UserError: A row was scored on other pairs than the record lists.
    """
    check_pairs(record)
    titles = REGULARISATION_TITLES if number == '4' else None
    head, rows, legend = table_cells(dict(record), ROWS_OF[number], titles, leave_out=LEFT_OUT)
    name = data_name(record)
    columns = _columns(number, name)
    cells = [[*row, *(_cell(number, key, *column[1:]) for column in columns)] for key, row in rows.items()]
    pairs = len(record['pairs'])
    notes = [
        f'{pairs} pairs of the {record["split"]} split of {name}. P: Wilcoxon signed-rank test against AutoFuse '
        'trained in the same way, corrected by Holm.',
        *([legend] if legend else []),
        _note(number, name),
        *_parameters_note(number, record),
        *([WALL_TIME] if 'training minutes' in head else []),
        *([KNOWN] if any(not column[1] for column in columns) else []),
    ]
    return PaperTable(
        f'table{number}_{name}',
        f'{TITLES[number]} ({name})',
        [*head, *(column[0] for column in columns)],
        cells,
        notes,
        origin_of(record),
    )


def check_pairs(record: Mapping[str, Any]) -> None:
    """Check that all rows were scored on the pairs of their record.

    Raises:
        UserError: A row was not.
    """
    for name, row in record['rows'].items():
        if len(row['dsc_after']) != len(record['pairs']):
            raise UserError(
                f'{name} was scored on {len(row["dsc_after"])} pairs, and the other rows on {len(record["pairs"])}',
                expected='rows that were scored on the same pairs',
                fix='score them again on one split, or make a table of each',
            )


def join_records(records: Sequence[tuple[str, Mapping[str, Any]]]) -> dict[str, Any]:
    """Join records of rows that were scored on the same pairs; of a row in several, the first counts.

    P values are those of all rows together, against the AutoFuse that counts.

    Args:
        records: Name and content of each.

    Raises:
        UserError: They were scored on different pairs.
    """
    first_name, first = records[0]
    rows: dict[str, Any] = {}
    for name, record in records:
        if record['pairs'] != first['pairs']:
            raise UserError(
                f'the rows of {name} were scored on other pairs than those of {first_name}',
                expected='rows that were scored on the same pairs',
                fix='score them again on one split, or make a table of each',
            )
        rows = {**record['rows'], **rows}
    joined = with_tests(rows, first['pairs']) if len(records) > 1 else rows
    return {**first, 'rows': joined, 'not_done': [name for name in first['not_done'] if name not in rows]}


def data_name(record: Mapping[str, Any]) -> str:
    """Return what the data of a record is called."""
    return record.get('data', {}).get('name') or {'cardiac': 'acdc'}.get(record['task'], record['task'])


def origin_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what stands below a table or figure: command, data, steps, grid, date and commit of its record."""
    grid = record.get('grid')
    return {
        'command': f'`{record["command"]}`',
        'data': f'{data_name(record)}, {record["split"]} split',
        'steps': f'{record["steps"]:,}',
        'grid': ' x '.join(map(str, grid)) if grid else 'as prepared',
        'date': record['date'][:10],
        'commit': record['commit'],
    }


def _columns(number: str, name: str) -> list[tuple[str, str, str, int]]:
    """Columns of the paper's numbers: title, data set or '', quantity and decimals."""
    sets = [name] if name in printed_sets(number) else [] if number in ('1', '2', '5', '6') else printed_sets(number)
    columns = [
        (f'paper: {title}' if data == name else f'paper, {data.split("_")[0]}: {title}', data, quantity, decimals)
        for data in sets
        for quantity, title, decimals in (DSC, NJD)
        if any(printed_number(number, row, quantity, data) is not None for row in ROWS_OF[number])
    ]
    known = [
        (title, '', quantity, decimals)
        for quantity, title, decimals in OF_ROWS
        if (quantity == 'parameters_million' or sets)
        and any(printed_number(number, row, quantity) is not None for row in ROWS_OF[number])
    ]
    return known[:1] + columns + known[1:] if number == '3' else columns + known


def _parameters_note(number: str, record: Mapping[str, Any]) -> list[str]:
    """Say of Table 3 whose parameters the paper's number is, where it is not that of the row."""
    counts = [record['rows'].get(name, {}).get('parameters') for name in ('autofuse_no_elk', 'autofuse')]
    if number != '3' or None in counts:
        return []
    printed = printed_number('3', 'autofuse_no_elk', 'parameters_million')
    without, with_blocks = (f'{count / 1e6:.2f}' for count in counts)
    return [
        f'The paper prints {printed:.2f} M for AutoFuse without ELK blocks; ours has {without} M without them and '
        f'{with_blocks} M with them.'
    ]


def _cell(number: str, row: str, data: str, quantity: str, decimals: int) -> str:
    value = printed_number(number, row, quantity, data)
    return MISSING if value is None else f'{value:.{decimals}f}'


def _note(number: str, name: str) -> str:
    sets = printed_sets(number)
    if name in sets:
        return PATIENTS.get(name, f'The paper: {printed_values()["sets"][name]}.')
    return OTHER_DATA.format(sets=', '.join(printed_values()['sets'][data] for data in sets))
