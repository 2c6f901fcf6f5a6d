"""Table of what was tried on images as people have them, from the record of `experiments.real_world.run`."""

from typing import Any

from autofuse_jax.reports.markdown import MISSING, markdown_table

# Numbers of a case in the order of the table: name in the record, words, digits.
VALUES = (
    ('dsc', 'DSC {} %', 1),
    ('mean_voxels', 'mean {} voxel', 3),
    ('p95_voxels', 'p95 {} voxel', 3),
    ('largest_voxels', 'largest {} voxel', 3),
)


def real_world_table(record: dict[str, Any]) -> str:
    """Return one row a case: what it is, what it came to, what was wanted, and whether that holds.

    Args:
        record: Content of real_world.json.
    """
    rows = []
    for key, entry in record['cases'].items():
        kind, _, name = key.partition(': ')
        rows.append(
            [
                kind,
                name,
                _numbers(entry.get('values', {})) or entry.get('error', MISSING),
                _wanted(entry),
                entry.get('verdict') or MISSING,
                'yes' if entry['holds'] else 'no',
            ]
        )
    return markdown_table(['kind', 'case', 'came to', 'wanted', 'verdict', 'holds'], rows)


def _numbers(values: dict[str, Any]) -> str:
    return ', '.join(words.format(f'{values[name]:.{digits}f}') for name, words, digits in VALUES if name in values)


def _wanted(entry: dict[str, Any]) -> str:
    limits = []
    for name, words, digits in VALUES:
        if name in entry.get('wanted', {}):
            sign = 'at least' if name == 'dsc' else 'below'
            limits.append(f'{sign} ' + words.format(f'{entry["wanted"][name]:.{digits if name == "dsc" else 2}f}'))
    if entry.get('verdict_wanted'):
        limits.append(f'verdict {entry["verdict_wanted"]}')
    return ', '.join(limits) or MISSING
