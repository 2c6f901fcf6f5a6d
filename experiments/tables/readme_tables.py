"""Write the tables of README.md and docs/ from the records in experiments/results/.

    python -m experiments.tables.readme_tables          # rewrite the documents
    python -m experiments.tables.readme_tables --check  # exit 1 where one is not what the records say

A table stands between `<!-- NAME -->` and `<!-- end NAME -->`; what is between them is replaced.
"""

import argparse
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from autofuse_jax.files import write_text
from autofuse_jax.reports.markdown import markdown_table
from experiments.comparison.table import paper_tables
from experiments.notebooks.table import notebooks_table
from experiments.speed.complexity import summary_table
from experiments.tables.real_world_table import other_contrasts_table, real_world_table
from experiments.tables.registration_tables import registration_tables
from experiments.tables.reliability_table import loops_table, reliability_table
from experiments.tables.speed_tables import speed_tables
from experiments.weights.compare_fusions import fusions_table

REPOSITORY = Path(__file__).resolve().parents[2]
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
    return _quickstart_row('quickstart.json')


def _quickstart_row(name: str) -> str:
    record = read_record(name)
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


def quickstart_trans_table() -> str:
    """Return what the small AutoFuse-Trans reaches on phantoms."""
    return _quickstart_row('quickstart_trans.json')


def parity_table() -> str:
    """Return how closely the networks agree with the official ones."""
    rows = []
    for name, errors in read_record('parity.json')['networks'].items():
        for precision in ('float32', 'float64'):
            outputs = dict(errors[precision]['outputs_largest_difference'])
            gates = outputs.pop('gate_means')
            gradients = errors[precision]['gradient_norms_relative']
            rows.append(
                [
                    f'{name}, {precision}',
                    f'{outputs["velocity_mean"]:.1e}',
                    f'{outputs["flow"]:.1e}',
                    f'{max(outputs.values()):.1e}',
                    f'{gates:.1e}',
                    f'{max(errors[precision]["losses_relative"].values()):.1e}',
                    f'{gradients["median"]:.1e}',
                    f'{gradients["largest"]:.1e}',
                ]
            )
    head = ['network', 'velocity', 'flow', 'all outputs', 'gate means', 'losses (relative)']
    return markdown_table([*head, 'gradient norms (relative): median', 'largest'], rows)


def adam_table() -> str:
    """Return the losses before three Adam steps, ours, official, and of slightly changed weights."""
    rows = []
    for name, errors in read_record('parity.json')['networks'].items():
        if 'adam' in errors['float64']:
            adam = errors['float64']['adam']
            runs = adam['perturbed']['losses']
            spread = [f'{min(r[n] for r in runs):.4f} to {max(r[n] for r in runs):.4f}' for n in range(3)]
            rows.append([name, 'official', *(f'{value:.4f}' for value in adam['official'])])
            rows.append(['', 'ours, float64', *(f'{value:.4f}' for value in adam['losses'])])
            rows.append(['', f'ours, weights changed by 1e-7 ({len(runs)} draws)', *spread])
    return markdown_table(['network', 'loss before', 'step 1', 'step 2', 'step 3'], rows)


def determinant_table() -> str:
    """Return what the two determinants say of the same fields."""
    record = read_record('official_determinant.json')
    rows = [
        [name, f'{value["correct"]:g}', f'{value["official"]:g}', 'yes' if value['correct'] <= 0 else 'no']
        for name, value in record['linear'].items()
    ]
    folded = record['smooth random field, percent folded']
    rows.append(['smooth random field: % folded', f'{folded["correct"]:.2f}', f'{folded["official"]:.2f}', 'partly'])
    return markdown_table(['field', 'det(I + grad u)', 'official', 'folds'], rows)


def memory_table() -> str:
    """Return memory and work of the compiled programs, and the time of those that were run."""
    rows = []
    for program in read_record('memory_cpu.json')['programs']:
        seconds = program.get('seconds')
        rows.append(
            [
                f'{program["network"]}, {program["size"]}',
                program['program'],
                f'{program["total_gib"]:.1f}',
                f'{program["gflop"]:,.0f}',
                f'{seconds["median"]:.1f}' if seconds else '',
            ]
        )
    return markdown_table(['network', 'program', 'GiB', 'GFLOP', 'seconds'], rows)


def pytorch_table() -> str:
    """Return the comparisons with the authors' PyTorch code."""
    rows = []
    for path in sorted(RESULTS.glob('pytorch_*.json')):
        record = json.loads(path.read_text(encoding='utf-8'))
        largest = {row['name']: row['largest_difference'] for row in record['differences']}
        rows.append(
            [
                f'{record["network"]}, {" x ".join(map(str, record["size"]))}',
                f'{max(largest.values()):.1e}',
                f'{largest["flow"]:.1e}',
                f'{record["pytorch"]["seconds"]["median"]:.2f}',
                f'{record["ours"]["seconds"]["median"]:.2f}',
                f'{record["pytorch"]["peak_mib"]:,.0f}',
                f'{record["ours"]["peak_mib"]:,.0f}',
            ]
        )
    head = ['network', 'largest difference of any block', 'of the flow, voxels', 'PyTorch s', 'ours s']
    return markdown_table([*head, 'PyTorch MiB', 'ours MiB'], rows)


REGISTRATION = registration_tables(read_record)
SPEED = speed_tables(read_record)

# Document: its tables by name.
DOCUMENTS = {
    README: {
        'quickstart': quickstart_table,
        'cardiac': cardiac_table,
        'routes acdc': REGISTRATION['routes acdc'],
        'instance acdc syn': REGISTRATION['instance acdc syn'],
    },
    REPOSITORY / 'docs' / 'training.md': {'fusions': lambda: fusions_table(read_record('fusions_acdc.json'))},
    REPOSITORY / 'docs' / 'train.md': {'quickstart trans': quickstart_trans_table},
    REPOSITORY / 'docs' / 'register.md': REGISTRATION,
    REPOSITORY / 'docs' / 'real_world.md': {
        'real world': lambda: real_world_table(read_record('real_world.json'), read_record('real_world_before.json')),
        'real world syn': lambda: other_contrasts_table(
            read_record('real_world.json'), read_record('real_world_syn.json')
        ),
    },
    REPOSITORY / 'docs' / 'reliability.md': {
        'reliability': lambda: reliability_table(read_record('reliability.json')),
        'long loops': lambda: loops_table(read_record('reliability.json')),
    },
    REPOSITORY / 'docs' / 'speed.md': SPEED | {'time': time_table},
    REPOSITORY / 'docs' / 'methods.md': paper_tables(read_record)
    | {'complexity': lambda: summary_table(read_record('complexity_cpu.json'))},
    REPOSITORY / 'docs' / 'notebooks.md': {'notebooks': lambda: notebooks_table(read_record('notebooks.json'))},
    REPOSITORY / 'docs' / 'official.md': {
        'determinant': determinant_table,
        'parity': parity_table,
        'adam': adam_table,
        'pytorch': pytorch_table,
        'memory': memory_table,
    },
}


def render(text: str, tables: dict[str, Callable[[], str]]) -> str:
    """Return a document with all its tables made anew.

    Args:
        text: The document.
        tables: Its tables by name.

    Raises:
        ValueError: A table has no place in it.
    """
    for name, table in tables.items():
        pattern = re.compile(f'(<!-- {name} -->\n).*?(<!-- end {name} -->)', re.DOTALL)
        if not pattern.search(text):
            raise ValueError(f'the document has no place for the table {name!r}.')
        text = pattern.sub(lambda match, table=table: f'{match[1]}{table()}\n{match[2]}', text)
    return text


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--check', action='store_true', help='change nothing; exit 1 where a document is outdated')
    options = parser.parse_args(arguments)
    outdated = 0
    for document, tables in DOCUMENTS.items():
        text = document.read_text(encoding='utf-8')
        rendered = render(text, tables)
        outdated += rendered != text
        if not options.check:
            write_text(document, rendered)
    return int(options.check and outdated > 0)


if __name__ == '__main__':
    sys.exit(main())
