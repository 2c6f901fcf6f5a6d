"""Table of the reliability campaign, from the record of `tests.reliability.campaign.run`."""

from typing import Any

from autofuse_jax.reports.markdown import MISSING, markdown_table

HEAD = ['part', 'what', 'trials', 'lost', 'tracebacks', 'silently wrong']
COUNTS = ('trials', 'lost', 'tracebacks', 'silently_wrong')


def reliability_table(record: dict[str, Any]) -> str:
    """Return one row for whatever was tried, below each part a row of all, and what the record is of.

    Args:
        record: Content of reliability.json.
    """
    rows = []
    for part, content in record['parts'].items():
        rows += [[part, name, *_counts(counted)] for name, counted in content['of'].items()]
        about = f'all, share {content["share"]:g}, {content["seconds"] / 60:.0f} min'
        rows.append([f'**{part}**', about, *_counts(content)])
    rows.append(['**campaign**', f'all, {record["all"]["seconds"] / 60:.0f} min', *_counts(record['all'])])
    skipped = [line for content in record['parts'].values() for line in content['skipped']]
    return '\n'.join(
        [markdown_table(HEAD, rows), '', f'Seed {record["seed"]}. Skipped: {"; ".join(skipped) or MISSING}']
    )


def loops_table(record: dict[str, Any]) -> str:
    """Return maps and memory of the process after each size of the long loop.

    Args:
        record: Content of reliability.json.
    """
    measured = record['parts'].get('long loops', {}).get('measured', {})
    rows = [
        [' x '.join(map(str, size['shape'])), f'{size["maps"]:,}', f'{size["memory_mib"]:,.0f}']
        for size in measured.get('sizes', [])
    ]
    return markdown_table(['voxels', 'memory maps', 'memory, MiB'], rows)


def _counts(counted: dict[str, Any]) -> list[str]:
    return [f'{counted[name]:,}' for name in COUNTS]
