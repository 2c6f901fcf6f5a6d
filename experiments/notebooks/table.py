"""Table of the notebooks and of the time of each, from the record of `experiments.notebooks.execute`."""

from typing import Any

from autofuse_jax.reports.markdown import markdown_table


def notebooks_table(record: dict[str, Any]) -> str:
    """Return one row a notebook: seconds by the clock, and those of all processors together.

    Args:
        record: Content of notebooks.json.
    """
    rows = [
        [f'`{name}`', f'{times["seconds"]:.0f}', f'{times["processor_seconds"]:.0f}']
        for name, times in record['notebooks'].items()
    ]
    return markdown_table(['notebook', 'seconds', 'processor seconds'], rows)
