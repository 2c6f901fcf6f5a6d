"""Put trainings of one network with several kinds of fusion side by side, with tests of their differences.

    python -m experiments.weights.compare_fusions --trainings runs/ablation_gate runs/ablation_sum runs/ablation_none \\
        --evaluations runs/ablation_gate_eval runs/ablation_sum_eval runs/ablation_none_eval --out=fusions.json

A training is the --work folder of `train_fusion`, its evaluation the --workdir of `autofuse_jax.main --mode=evaluate`
with the weights that it wrote. Pairs must be the same. P is Wilcoxon's signed-rank test against the first, corrected by
Holm.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from autofuse_jax.errors import UserError, run_command
from autofuse_jax.files import write_json
from autofuse_jax.metrics.statistics import holm, wilcoxon_p
from autofuse_jax.provenance import provenance
from autofuse_jax.reports.markdown import markdown_table
from experiments.weights.advancing import RECORD_NAME

EVALUATION = 'evaluation_{split}'
KINDS = {
    'gate': 'gates (the paper)',
    'sum': 'features added',
    'concat': 'features side by side',
    'none': 'no features of the single branch',
}


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--trainings', type=Path, nargs='+', required=True, help='folders of train_fusion, first: base')
    parser.add_argument('--evaluations', type=Path, nargs='+', required=True, help='folder of the evaluation of each')
    parser.add_argument('--split', default='validation', help='which evaluation; default validation')
    parser.add_argument('--out', type=Path, required=True, help='record to write')
    options = parser.parse_args(arguments)
    return run_command(lambda: compare(options.trainings, options.evaluations, options.split, options.out))


def compare(trainings: Sequence[Path], evaluations: Sequence[Path], split: str, out: Path) -> None:
    """Read trainings and their evaluations, test their differences and write the record.

    Args:
        trainings: Folders of `train_fusion`; the first is what the others are compared with.
        evaluations: Folder of the evaluation of each, in the same order.
        split: Which evaluation.
        out: The record.

    Raises:
        UserError: A record is missing, evaluations have other pairs, or there are not as many of them as trainings.
    """
    if len(trainings) != len(evaluations):
        raise UserError(f'{len(trainings)} trainings and {len(evaluations)} evaluations', expected='one of each other')
    rows = [_row(*folders, EVALUATION.format(split=split)) for folders in zip(trainings, evaluations, strict=True)]
    base = rows[0]['dsc']
    different = [row['weights'] for row in rows if row['dsc'].keys() != base.keys()]
    if different:
        raise UserError(f'{different[0]} was scored on other pairs than {rows[0]["weights"]}', fix='evaluate it again')
    values = [[row['dsc'][pair] for pair in base] for row in rows]
    corrected = holm([wilcoxon_p(one, values[0]) for one in values[1:]])
    for row, p in zip(rows[1:], corrected, strict=True):
        row['p'] = p
    write_json(out, provenance() | {'split': split, 'networks': rows})
    print(fusions_table(json.loads(out.read_text(encoding='utf-8'))))


def _row(training: Path, evaluation: Path, split_folder: str) -> dict[str, Any]:
    trained, result, pairs = (
        _read(path)
        for path in (
            training / RECORD_NAME,
            evaluation / split_folder / 'result.json',
            evaluation / split_folder / 'pairs.json',
        )
    )
    settings, scores = trained['settings'], result['scores']
    return {
        'fusion': result['config']['model']['fusion'],
        'weights': settings['out'],
        'parameters': result['parameters'],
        'steps': settings['steps'],
        'train_minutes': trained['train_minutes'],
        'training': {name: trained[name] for name in ('command', 'commit', 'machine', 'date')},
        'evaluation': {name: result[name] for name in ('command', 'commit', 'machine', 'date')},
        'dsc': {pair['pair']: pair['dsc_after'] for pair in pairs['pairs']},
        'scores': {name: scores[name] for name in ('dsc_before', 'dsc_after', 'njd_percent', 'sdlogj')},
        'structures': {name: value['dsc_after'] for name, value in scores['structures'].items()},
    }


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise UserError(f'{path} is not there', fix='run `train_fusion` to its end and evaluate what it wrote')
    return json.loads(path.read_text(encoding='utf-8'))


def fusions_table(record: dict[str, Any]) -> str:
    """Return the record as a table.

    Args:
        record: Result of `compare`.
    """
    structures = list(record['networks'][0]['structures'])
    rows = [
        [
            KINDS[row['fusion']],
            f'{row["parameters"] / 1e6:.2f}',
            f'{row["steps"]:,}',
            f'{100 * row["scores"]["dsc_after"]["mean"]:.1f} ± {100 * row["scores"]["dsc_after"]["deviation"]:.1f}',
            *(f'{100 * row["structures"][name]["mean"]:.1f}' for name in structures),
            f'{row["scores"]["njd_percent"]["mean"]:.4f}',
            f'{row["scores"]["sdlogj"]["mean"]:.3f}',
            f'{row["p"]:.4f}' if 'p' in row else '–',
        ]
        for row in record['networks']
    ]
    return markdown_table(['fusion', 'parameters (M)', 'steps', 'DSC %', *structures, 'NJD %', 'SDlogJ', 'P'], rows)


if __name__ == '__main__':
    sys.exit(main())
