"""Train and evaluate the paper's methods on one prepared data set under one budget, and make the table of it.

    python -m experiments.compare_methods --task=hippocampus --data=prepared/hippocampus --steps=1000 \
        --workdir=runs/comparison --out=experiments/results/comparison_hippocampus.json
    python -m experiments.compare_methods --task=cardiac --data=prepared/acdc --rows voxelmorph autofuse \
        --steps=50000 --workdir=runs/comparison_acdc --out=runs/comparison_acdc.json

The rows are those of configs/comparison/rows.py; the default is all of them. Every row gets the same number of steps,
spread over its phases as in the paper, the same optimiser and the same pairs. What is done is kept in --workdir: the
same command goes on where it was interrupted, in the middle of a training too. Beside the record, a Markdown table is
written: DSC, NJD, seconds a pair, and the P value of a Wilcoxon signed-rank test against AutoFuse, corrected by Holm.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from autofuse_jax.config_checks import differing_fields
from autofuse_jax.errors import UserError, run_command
from autofuse_jax.evaluation.comparison import compare
from autofuse_jax.files import write_json, write_text
from autofuse_jax.provenance import provenance
from autofuse_jax.register import enable_compilation_cache
from autofuse_jax.reporting import RESULT_NAME
from autofuse_jax.reports.tables import plain
from autofuse_jax.train import CONFIG_NAME, train_and_evaluate
from configs.comparison.presets import TASKS, comparison_config
from configs.comparison.rows import ROWS
from experiments.comparison_table import table_of

PAIRS_NAME = 'pairs.json'
STOPPED_STATUS = 143
# What each row is compared with.
REFERENCES = {False: 'autofuse', True: 'autofuse_semi'}
# Rows whose settings differ in these only are the same run.
FREE_FIELDS = (
    'data.cache_gib',
    'data.threads',
    'training.depth_devices',
    'training.check_memory',
    'training.compilation_cache',
    'training.log_every',
)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--task', choices=tuple(TASKS), required=True)
    parser.add_argument('--data', type=Path, required=True, help='folder that autofuse_jax.prepare wrote')
    parser.add_argument('--rows', nargs='+', metavar='ROW', help='rows of configs/comparison/rows.py; default all')
    parser.add_argument('--steps', type=int, required=True, help='of every row, all phases together')
    parser.add_argument('--validations', type=int, default=1, help='how often a training is validated; default 1')
    parser.add_argument('--split', default='test', help='which split is scored; default test')
    parser.add_argument('--learning-rate', type=float, help='of every row; default that of the configs')
    parser.add_argument('--schedule', choices=('constant', 'cosine'), help='of every row; default that of the configs')
    parser.add_argument('--minutes', type=float, default=0.0, help='begin no further row after so long; 0: no limit')
    parser.add_argument('--workdir', type=Path, required=True, help='keeps what is done')
    parser.add_argument('--out', type=Path, required=True, help='the record; the table lies beside it')
    options = parser.parse_args(arguments)
    return run_command(lambda: _run(options))


def _run(options: argparse.Namespace) -> int:
    enable_compilation_cache()
    names = options.rows or list(ROWS)
    unknown = [name for name in names if name not in ROWS]
    if unknown:
        raise UserError(f'unknown rows {", ".join(unknown)}', expected=f'rows among {", ".join(ROWS)}')
    configs = {name: row_config(name, options) for name in names}
    started = time.monotonic()
    for number, (name, config) in enumerate(configs.items(), 1):
        folder = options.workdir / name
        if is_done(folder, config):
            continue
        if options.minutes and time.monotonic() - started > 60 * options.minutes:
            print(f'{options.minutes:g} minutes are over; the same command goes on with {name}', file=sys.stderr)
            break
        print(f'[{number}/{len(configs)}] {ROWS[name].title}', file=sys.stderr)
        if train_and_evaluate(config, folder) is None:
            return STOPPED_STATUS
        # Each row compiles programs of its own, which nobody needs any more.
        jax.clear_caches()
    done = {name: config for name, config in configs.items() if is_done(options.workdir / name, config)}
    if not done:
        raise UserError('no row is complete', fix='give more --minutes, or fewer --steps')
    record = provenance() | {
        'command': ' '.join(['python -m experiments.compare_methods', *(sys.argv[1:])]),
        'task': options.task,
        'split': options.split,
        'steps': options.steps,
        'not_done': [name for name in names if name not in done],
        'rows': summarise_rows(done, options.workdir),
    }
    write_json(options.out, plain(record))
    table = table_of(record)
    write_text(options.out.with_suffix('.md'), table + '\n')
    print(table)
    return 0


def row_config(name: str, options: argparse.Namespace) -> ConfigDict:
    """Return the config of a row under the budget of the command line.

    Args:
        name: Of the row.
        options: Of the command line.

    Returns:
        The config, its phases scaled to the steps of the budget.

    Raises:
        UserError: There are fewer steps than phases.
    """
    config = comparison_config(TASKS[options.task], name)
    config.data.root = str(options.data)
    # One pair a step, as in the paper, cannot be shared by several devices.
    config.training.devices = 1
    for phase, steps in scaled_phases({p: config.phases[p].steps for p in config.phases}, options.steps).items():
        config.phases[phase].steps = steps
    config.training.validate_every = max(1, options.steps // max(1, options.validations))
    config.training.checkpoint_every = config.training.validate_every
    config.training.log_every = max(1, min(config.training.log_every, options.steps // 4))
    config.evaluation.split = options.split
    config.evaluation.pictures = 1
    config.optimizer.learning_rate = options.learning_rate or config.optimizer.learning_rate
    config.optimizer.schedule = options.schedule or config.optimizer.schedule
    return config


def scaled_phases(steps: Mapping[str, int], total: int) -> dict[str, int]:
    """Scale the steps of phases to a total, keeping their shares.

    Args:
        steps: By phase, in order.
        total: What the result sums to.

    Returns:
        At least one step for each phase that had any.

    Raises:
        UserError: The total is less than the number of phases.
    """
    used = {name: count for name, count in steps.items() if count}
    if total < len(used):
        raise UserError(f'--steps={total} for {len(used)} phases', expected='at least one step a phase')
    whole, scaled, before = sum(used.values()), {}, 0
    for number, (name, count) in enumerate(used.items(), 1):
        before += count
        # Later phases keep at least a step each.
        end = min(round(total * before / whole), total - (len(used) - number))
        scaled[name] = max(1, end - sum(scaled.values()))
    return {name: scaled.get(name, 0) for name in steps}


def is_done(folder: Path, config: ConfigDict) -> bool:
    """Tell whether a row has been trained and evaluated with this config.

    Raises:
        UserError: The folder holds a run with another config.
    """
    if not (folder / CONFIG_NAME).is_file():
        return False
    before = json.loads((folder / CONFIG_NAME).read_text(encoding='utf-8'))
    now = json.loads(config.to_json_best_effort())
    differences = [line for line in differing_fields(before, now) if not line.startswith(FREE_FIELDS)]
    if differences:
        raise UserError(
            f'{folder} holds a run with another config: {"; ".join(differences[:3])}',
            fix='use another --workdir, or delete that folder',
        )
    return (_evaluation(folder, config) / RESULT_NAME).is_file()


def summarise_rows(configs: Mapping[str, ConfigDict], workdir: Path) -> dict[str, Any]:
    """Collect scores, sizes and times of complete rows, and their tests against AutoFuse.

    Args:
        configs: Of the rows, by name.
        workdir: Folder with a folder for each row.

    Returns:
        By row: title, method, parameters, steps, training minutes, means and deviations, median seconds a pair (the
        first pair, which compiles, left out), and P values where AutoFuse is among the rows.
    """
    rows, pairs = {}, {}
    for name, config in configs.items():
        folder = _evaluation(workdir / name, config)
        result = json.loads((folder / RESULT_NAME).read_text(encoding='utf-8'))
        pairs[name] = json.loads((folder / PAIRS_NAME).read_text(encoding='utf-8'))['pairs']
        rows[name] = {
            'title': ROWS[name].title,
            'method': config.method,
            'semi': ROWS[name].semi,
            'learning_rate': config.optimizer.learning_rate,
            **{key: result[key] for key in ('parameters', 'training_minutes', 'scores', 'commit', 'machine', 'date')},
            'best_step': result['steps'],
            'seconds_a_pair': _median(r['seconds'] for r in pairs[name] if not r['first_call']),
        }
    for semi, reference in REFERENCES.items():
        family = {name: records for name, records in pairs.items() if ROWS[name].semi == semi}
        if reference in family:
            for found in compare(family, reference, {}):
                if found.label is None and found.quantity in ('dsc_after', 'njd_percent'):
                    rows[found.run][f'p_{found.quantity}'] = found.p_holm
    return rows


def _evaluation(folder: Path, config: ConfigDict) -> Path:
    return folder / f'evaluation_{config.evaluation.split}'


def _median(values: Iterable[float]) -> float:
    ordered = sorted(values)
    return ordered[len(ordered) // 2] if ordered else float('nan')


if __name__ == '__main__':
    sys.exit(main())
