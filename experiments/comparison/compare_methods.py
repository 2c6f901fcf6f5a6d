"""Train and evaluate the paper's methods on one prepared data set under one recipe, and make the tables of it.

    python -m experiments.compare_methods --task=hippocampus --data=prepared/hippocampus --steps=1000 \\
        --workdir=runs/comparison --out=experiments/results/comparison_hippocampus.json
    python -m experiments.compare_methods --task=cardiac --data=prepared/acdc --rows voxelmorph autofuse \\
        --steps=50000 --workdir=runs/comparison_acdc --out=runs/comparison_acdc.json
    python -m experiments.compare_methods --task=cardiac --data=prepared/acdc --grid=64,64,16 --steps=1000 \\
        --schedule=cosine --warmup=50 --clip-norm=1 --rates=runs/learning_rates.json --validations=10 \\
        --split=validation --workdir=runs/comparison --out=runs/comparison.json

The rows are those of configs/comparison/rows.py; the default is all of them. Every row gets the same number of steps,
spread over its phases as in the paper, the same optimiser and the same pairs; with --rates, a learning rate that was
searched for its family by experiments.learning_rates. A row that diverges is trained again with the learning rate that
its authors published, and the record says so; where that diverges as well, the others go on.

What is done is kept in --workdir: the same command goes on where it was interrupted, in the middle of a training too.
With --earlier=RECORD it goes on where another machine ended, and trains the rows that the record lacks. After every row
the record is written anew, and beside it a picture of validation DSC against steps and a page with the tables of the
paper: DSC, NJD and SDlogJ with P values of Wilcoxon signed-rank tests against AutoFuse, corrected by Holm, what the
last quarter of training gained, the gates by level, and time. Rows that have not converged are marked.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from autofuse_jax.configs.comparison.rows import ROWS

from autofuse_jax.errors import UserError, run_command
from autofuse_jax.files import write_json, write_text
from autofuse_jax.runtime import enable_compilation_cache
from autofuse_jax.training.config_checks import validate
from experiments.comparison.curve_figure import draw_curves
from experiments.comparison.rates import read_rates
from experiments.comparison.recipe import add_recipe, recipe_of, row_config
from experiments.comparison.row_runs import STOPPED_STATUS
from experiments.comparison.row_training import Rows, record_of, train_rows
from experiments.comparison.rows import earlier_rows
from experiments.comparison.table import comparison_page, table_of
from experiments.record_parser import record_parser


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = record_parser(__doc__, beside='a page with the tables, and a picture of the curves,')
    add_recipe(parser)
    parser.add_argument('--rows', nargs='+', metavar='ROW', help='rows of configs/comparison/rows.py; default all')
    parser.add_argument('--validations', type=int, default=1, help='how often a training is validated; default 1')
    parser.add_argument('--split', default='test', help='which split is scored; default test')
    parser.add_argument('--learning-rate', type=float, help='of every row; default that of the configs')
    parser.add_argument('--rates', type=Path, help='a record of experiments.learning_rates: that of each row')
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
    rates = read_rates(options.rates, names, options.learning_rate) if options.rates else {}
    configs = {name: row_config(name, options, rates.get(name, options.learning_rate)) for name in names}
    for config in configs.values():
        # What is wrong with the last row should not come out days later.
        validate(config)
    budget = recipe_of(options) | {'split': options.split}
    earlier = earlier_rows(options.earlier, configs, budget) if options.earlier else {'rows': {}, 'pairs': []}
    rows = Rows(configs, options.workdir, budget, earlier)
    if not train_rows(rows, lambda: _write(options, rows), minutes=options.minutes):
        return STOPPED_STATUS
    print(table_of(_write(options, rows)))
    return 0


def _write(options: argparse.Namespace, rows: Rows) -> dict[str, Any]:
    """Write the record of the rows that are complete, its page and its picture; returns the record."""
    record = record_of(rows)
    write_json(options.out, record)
    picture = options.out.with_suffix('.png')
    draw_curves(picture, record)
    write_text(options.out.with_suffix('.md'), comparison_page(record, picture.name))
    return record


if __name__ == '__main__':
    sys.exit(main())
