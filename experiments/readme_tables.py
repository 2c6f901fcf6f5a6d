"""Write the tables of README.md from the records in experiments/results/.

    python -m experiments.readme_tables          # rewrite README.md
    python -m experiments.readme_tables --check  # exit 1 where it is not what the records say

A table stands between `<!-- NAME -->` and `<!-- end NAME -->`; what is between them is replaced.
"""

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

from autofuse_jax.files import write_text
from autofuse_jax.reports.summary import markdown_table

REPOSITORY = Path(__file__).resolve().parents[1]
README = REPOSITORY / 'README.md'
RESULTS = REPOSITORY / 'experiments' / 'results'

# Record: how the run is called in the table.
CARDIAC_RUNS = {
    'acdc_cpu_unsup.json': 'unsupervised (`cardiac_cpu_unsup.py`)',
    'acdc_cpu_semi.json': 'semi-supervised (`cardiac_cpu_semi.py`)',
}


def read_record(name: str) -> dict[str, Any]:
    """Read a record of experiments/results/."""
    return json.loads((RESULTS / name).read_text(encoding='utf-8'))


def percent(spread: dict[str, Any]) -> str:
    """Format a spread of numbers in [0, 1] as 'mean ± standard deviation' in percent."""
    return f'{100 * spread["mean"]:.1f} ± {100 * spread["deviation"]:.1f}'


def cardiac_table() -> str:
    """Return the table of the runs on ACDC."""
    rows = []
    for name, title in CARDIAC_RUNS.items():
        record = read_record(name)
        scores = record['scores']
        rows.append(
            [
                title,
                percent(scores['dsc_before']),
                percent(scores['dsc_after']),
                f'{scores["njd_percent"]["mean"]:.4f}',
                f'{record["steps"]:,}',
                f'{record["training_minutes"]:.0f}',
            ]
        )
    return markdown_table(['run', 'DSC before %', 'DSC after %', 'NJD %', 'steps of the best', 'minutes'], rows)


def quickstart_table() -> str:
    """Return the table that `make demo` ends with, of the recorded run."""
    record = read_record('quickstart.json')
    scores = record['scores']
    row = [
        percent(scores['dsc_before']),
        percent(scores['dsc_after']),
        f'{scores["njd_percent"]["mean"]:.3f}',
        f'{record["training_minutes"]:.1f}',
    ]
    return markdown_table(['DSC before %', 'DSC after %', 'NJD %', 'training minutes'], [row])


def time_table() -> str:
    """Return the measured times."""
    record = read_record('time_cpu.json')
    rows = [
        [name, f'{seconds["median"]:.2f}', f'{seconds["minimum"]:.2f}', f'{seconds["maximum"]:.2f}']
        for name, seconds in record['seconds'].items()
    ]
    return markdown_table(['seconds on two CPU cores', 'median', 'minimum', 'maximum'], rows)


TABLES = {'quickstart': quickstart_table, 'cardiac': cardiac_table, 'time': time_table}


def render(text: str) -> str:
    """Return the README with all tables made anew.

    Args:
        text: The README.

    Raises:
        ValueError: A table has no place in it.
    """
    for name, table in TABLES.items():
        pattern = re.compile(f'(<!-- {name} -->\n).*?(<!-- end {name} -->)', re.DOTALL)
        if not pattern.search(text):
            raise ValueError(f'the README has no place for the table {name!r}.')
        text = pattern.sub(lambda found, table=table: f'{found[1]}{table()}\n{found[2]}', text)
    return text


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--check', action='store_true', help='change nothing; exit 1 where the README is outdated')
    options = parser.parse_args(arguments)
    text = README.read_text(encoding='utf-8')
    rendered = render(text)
    if options.check:
        return int(rendered != text)
    write_text(README, rendered)
    return 0


if __name__ == '__main__':
    sys.exit(main())
