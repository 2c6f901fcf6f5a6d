"""Train and evaluate the paper's methods on one prepared data set under one budget, and make the table of it.

    python -m experiments.comparison.compare_methods --task=hippocampus --data=prepared/hippocampus --steps=1000 \
        --workdir=runs/comparison --out=experiments/results/comparison_hippocampus.json
    python -m experiments.comparison.compare_methods --task=cardiac --data=prepared/acdc --rows voxelmorph autofuse \
        --steps=50000 --workdir=runs/comparison_acdc --out=runs/comparison_acdc.json

The rows are those of configs/comparison/rows.py; the default is all of them. Every row gets the same number of steps,
spread over its phases as in the paper, the same optimiser and the same pairs. What is done is kept in --workdir: the
same command goes on where it was interrupted, in the middle of a training too. With --earlier=RECORD it goes on where
another machine ended, and trains the rows that the record lacks. Beside the record, a Markdown table is written: DSC,
NJD, seconds a pair, and the P value of a Wilcoxon signed-rank test against AutoFuse, corrected by Holm.
"""

import argparse
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import jax
from autofuse_jax.configs.comparison.presets import TASKS, comparison_config
from autofuse_jax.configs.comparison.rows import ROWS
from ml_collections import ConfigDict

from autofuse_jax.errors import UserError, run_command
from autofuse_jax.files import json_types, write_json, write_text
from autofuse_jax.provenance import provenance
from autofuse_jax.runtime import enable_compilation_cache
from autofuse_jax.training.loop import train_and_evaluate
from experiments.comparison.rows import earlier_rows, is_done, row_of, with_tests
from experiments.comparison.table import table_of
from experiments.record_parser import record_parser

STOPPED_STATUS = 143


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = record_parser(__doc__, beside='the table')
    parser.add_argument('--task', choices=tuple(TASKS), required=True)
    parser.add_argument('--data', type=Path, required=True, help='folder that autofuse_jax.prepare wrote')
    parser.add_argument('--rows', nargs='+', metavar='ROW', help='rows of configs/comparison/rows.py; default all')
    parser.add_argument('--steps', type=int, required=True, help='of every row, all phases together')
    parser.add_argument('--validations', type=int, default=1, help='how often a training is validated; default 1')
    parser.add_argument('--split', default='test', help='which split is scored; default test')
    parser.add_argument('--learning-rate', type=float, help='of every row; default that of the configs')
    parser.add_argument('--schedule', choices=('constant', 'cosine'), help='of every row; default that of the configs')
    parser.add_argument('--minutes', type=float, default=0.0, help='begin no further row after so long; 0: no limit')
    parser.add_argument('--earlier', type=Path, help='a record of this comparison whose rows are taken over')
    parser.add_argument('--workdir', type=Path, required=True, help='keeps what is done')
    options = parser.parse_args(arguments)
    return run_command(lambda: _run(options))


def _run(options: argparse.Namespace) -> int:
    enable_compilation_cache()
    names = options.rows or list(ROWS)
    unknown = [name for name in names if name not in ROWS]
    if unknown:
        raise UserError(f'unknown rows {", ".join(unknown)}', expected=f'rows among {", ".join(ROWS)}')
    configs = {name: row_config(name, options) for name in names}
    budget = {'task': options.task, 'split': options.split, 'steps': options.steps}
    earlier = earlier_rows(options.earlier, configs, budget) if options.earlier else {'rows': {}, 'pairs': []}
    started = time.monotonic()
    for number, (name, config) in enumerate(configs.items(), 1):
        folder = options.workdir / name
        if name in earlier['rows'] or is_done(folder, config):
            continue
        if options.minutes and time.monotonic() - started > 60 * options.minutes:
            print(f'{options.minutes:g} minutes are over; the same command goes on with {name}', file=sys.stderr)
            break
        print(f'[{number}/{len(configs)}] {ROWS[name].title}', file=sys.stderr)
        if train_and_evaluate(config, folder) is None:
            return STOPPED_STATUS
        # Each row compiles programs of its own, which nobody needs any more.
        jax.clear_caches()
    rows, pairs = {}, earlier['pairs']
    for name, config in configs.items():
        if name in earlier['rows']:
            rows[name] = earlier['rows'][name]
        elif is_done(options.workdir / name, config):
            rows[name], scored = row_of(name, config, options.workdir)
            if pairs and scored != pairs:
                raise UserError(f'{name} was scored on other pairs than the rows before it', fix='use the same data')
            pairs = scored
    if not rows:
        raise UserError('no row is complete', fix='give more --minutes, or fewer --steps')
    record = provenance() | budget
    record |= {
        'not_done': [name for name in names if name not in rows],
        'pairs': pairs,
        'rows': with_tests(rows, pairs),
    }
    write_json(options.out, json_types(record))
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


if __name__ == '__main__':
    sys.exit(main())
