"""Tables of registration without training, from the records of `compare_with_syn` and `brain_cut`."""

import math
from collections.abc import Callable
from typing import Any

from autofuse_jax.reports.markdown import MISSING, markdown_table

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
    """Return accuracy, folding and time of each method of a summary."""
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
                    f'{100 * means["dsc"]:.1f}{_spread(means)}',
                    _number(means.get('njd_percent'), 4),
                    _number(means.get('seconds'), 0),
                    _number(means.get('processor_seconds'), 0),
                ]
            )
    head = ['method', 'pairs', 'DSC %', 'NJD %', 'seconds a pair', 'processor seconds a pair']
    return markdown_table(head, rows)


def registration_tables(read_record: Callable[[str], Record]) -> dict[str, Callable[[], str]]:
    """Return the tables by the name of their place in the documents."""
    return {
        # Run one after the other on one machine, the first without a network.
        'routes acdc': lambda: comparison_table(
            read_record('budgets_acdc.json')['summary']
            | read_record('guided_acdc.json')['summary']
            | {name: read_record('unsup_acdc.json')['summary'][method] for method, name in UNSUPERVISED.items()}
        ),
        'instance acdc': lambda: comparison_table(read_record('instance_acdc.json')['summary']),
        'instance acdc syn': lambda: comparison_table(read_record('instance_acdc.json')['summary_of_pairs_with_syn']),
        'instance brains': lambda: comparison_table(read_record('instance_brains.json')['summary']),
        'instance brains syn': lambda: comparison_table(
            read_record('instance_brains.json')['summary_of_pairs_with_syn']
        ),
        'brain cut': lambda: brain_cut_table(read_record('prepare_brains.json')),
    }


def brain_cut_table(record: Record) -> str:
    """Return the share of each brain that the prepared grid cuts off."""
    rows = [
        [subject, f'{brain["cut_percent"]:.4f}', 'yes' if 'fit_scale' in brain else 'no', f'{brain["seconds"]:.0f}']
        for subject, brain in record['measured'].items()
    ]
    return markdown_table(['subject', 'brain voxels cut %', 'fitted', 'seconds'], rows)


def _spread(means: Record) -> str:
    """Write ' ± standard deviation' of the DSC in percent."""
    # Records divide by the number of pairs, all other tables by one less.
    count = means['pairs']
    return f' ± {100 * means["dsc_deviation"] * math.sqrt(count / (count - 1)):.1f}' if count > 1 else ''


def _number(value: float | None, decimals: int) -> str:
    return MISSING if value is None else f'{value:.{decimals}f}'
