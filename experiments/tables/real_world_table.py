"""Table of what was tried on images as people have them, from the records of `experiments.real_world.run`."""

from typing import Any

from autofuse_jax.reports.markdown import MISSING, markdown_table

# Numbers of a case in the order of the table: name in the record, words, digits.
VALUES = (
    ('dsc', 'DSC {} %', 1),
    ('mean_voxels', 'mean {} voxel', 3),
    ('p95_voxels', 'p95 {} voxel', 3),
    ('largest_voxels', 'largest {} voxel', 3),
)
# Levels of older verdicts, in the words of today's.
OLDER_VERDICTS = {'good': 'verdict good', 'notice': 'verdict look', 'bad': 'verdict look'}


def real_world_table(record: dict[str, Any], before: dict[str, Any]) -> str:
    """Return one row a case: what it is, what it came to before and now, what was wanted, and whether that holds.

    Args:
        record: Content of real_world.json.
        before: Content of real_world_before.json, of older code; cases that it lacks were not run.
    """
    rows = []
    for key, entry in record['cases'].items():
        kind, _, name = key.partition(': ')
        older = before['cases'].get(key, {})
        rows.append(
            [
                kind,
                name,
                ', '.join(filter(None, (_came_to(older), OLDER_VERDICTS.get(older.get('verdict'))))) or MISSING,
                _came_to(entry) or MISSING,
                _wanted(entry),
                entry.get('verdict') or MISSING,
                'yes' if entry['holds'] else 'no',
            ]
        )
    return markdown_table(['kind', 'case', 'before', 'now', 'wanted', 'verdict now', 'holds now'], rows)


def other_contrasts_table(record: dict[str, Any], syn: dict[str, Any]) -> str:
    """Return one row a contrast: DSC of this package and of SyN with mutual information, and their folded voxels.

    Args:
        record: Content of real_world.json.
        syn: Content of real_world_syn.json.
    """
    rows = []
    for key, entry in syn['cases'].items():
        both = [record['cases'][key]['values'], entry['values']]
        cells = [f'{values[name]:.{digits}f}' for name, digits in (('dsc', 1), ('njd_percent', 3)) for values in both]
        rows.append([key.partition(': ')[2], *cells])
    return markdown_table(['moving image', 'DSC %', 'SyN: DSC %', 'NJD %', 'SyN: NJD %'], rows)


def _came_to(entry: dict[str, Any]) -> str:
    if 'error' in entry:
        # What was expected, and what to do about it, is too long for a cell.
        return 'refused: ' + entry['error'].removeprefix('error: ').split('. Expected')[0].splitlines()[0]
    return _numbers(entry.get('values', {}))


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
