"""Tables of registration without training, from the records of `compare_with_syn` and `brain_cut`."""

from collections.abc import Callable
from typing import Any

from autofuse_jax.reports.markdown import MISSING, markdown_table
from autofuse_jax.reports.summary import Spread
from experiments.comparison.compare_with_syn import SYN, summarise

# Method in the records: its name in the tables.
METHODS = {
    'before': 'before',
    'affine': 'affine',
    'SyN': 'ANTs SyN, cross-correlation',
    'affine + instance': 'affine + instance optimisation (default)',
    'affine + unsupervised network': 'affine + `cardiac_unsup`',
    'affine + unsupervised network + instance': 'affine + `cardiac_unsup` + instance optimisation',
    'affine + network': 'affine + network',
    'affine + network + instance': 'affine + network + instance optimisation',
    'affine + network + guided instance': 'affine + network + instance optimisation guided by its segmentations',
}
# What the routes of a network that was trained without labels are called beside those of another one.
UNSUPERVISED = {
    'affine + network': 'affine + unsupervised network',
    'affine + network + instance': 'affine + unsupervised network + instance',
}
Record = dict[str, Any]


def comparison_table(summary: dict[str, Record]) -> str:
    """Return accuracy, folding and time of each method of a result of `summarise`."""
    rows = []
    # A mean over fewer pairs has no place beside the others; it has a table of its own.
    most = max(means['pairs'] for means in summary.values())
    for method, title in METHODS.items():
        if method in summary and summary[method]['pairs'] == most:
            means = summary[method]
            rows.append(
                [
                    title,
                    f'{means["pairs"]}',
                    Spread(means['dsc'], means['dsc_deviation'], means['pairs']).text(1, 100),
                    _number(means.get('njd_percent'), 4),
                    _number(means.get('seconds'), 0),
                    _number(means.get('processor_seconds'), 0),
                ]
            )
    head = ['method', 'pairs', 'DSC %', 'NJD %', 'seconds a pair', 'processor seconds a pair']
    return markdown_table(head, rows)


def summary_of(record: Record, *, with_syn: bool = False) -> dict[str, Record]:
    """Return the means over the pairs of a record, all of them or those that SyN registered.

    Of the pairs and not of the record's own summary: the deviations of older ones have the divisor n.
    """
    pairs, records = record['data']['pairs'], record['records']
    return summarise(records, [pair for pair in pairs if not with_syn or SYN in records[pair]])


def registration_tables(read_record: Callable[[str], Record]) -> dict[str, Callable[[], str]]:
    """Return the tables by the name of their place in the documents."""
    return {
        # Run one after the other on one machine, the first without a network.
        'routes acdc': lambda: comparison_table(
            summary_of(read_record('budgets_acdc.json'))
            | summary_of(read_record('guided_acdc.json'))
            | {name: summary_of(read_record('unsup_acdc.json'))[method] for method, name in UNSUPERVISED.items()}
        ),
        'instance acdc': lambda: comparison_table(summary_of(read_record('instance_acdc.json'))),
        'instance acdc syn': lambda: comparison_table(summary_of(read_record('instance_acdc.json'), with_syn=True)),
        'instance brains': lambda: comparison_table(summary_of(read_record('instance_brains_again.json'))),
        'instance brains syn': lambda: comparison_table(summary_of(read_record('instance_brains.json'), with_syn=True)),
        'brain cut': lambda: brain_cut_table(read_record('prepare_brains.json')),
    }


def brain_cut_table(record: Record) -> str:
    """Return the share of each brain that the prepared grid cuts off."""
    rows = [
        [subject, f'{brain["cut_percent"]:.4f}', 'yes' if 'fit_scale' in brain else 'no', f'{brain["seconds"]:.0f}']
        for subject, brain in record['measured'].items()
    ]
    return markdown_table(['subject', 'brain voxels cut %', 'fitted', 'seconds'], rows)


def _number(value: float | None, decimals: int) -> str:
    return MISSING if value is None else f'{value:.{decimals}f}'
