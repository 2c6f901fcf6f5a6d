"""Make the tables and figures of the paper, each from a record, and the records by training where they are missing.

    python -m experiments.paper --all --from-records
    python -m experiments.paper --item table4 figure5 --data=prepared/acdc --grid=64,64,16 --steps=1000 \\
        --schedule=cosine --warmup=50 --clip-norm=1 --learning-rate=3e-4 --validations=10 --work=runs/paper
    python -m experiments.paper --item table1 --data=prepared/oasis --steps=100000 --work=runs/paper_oasis
    python -m experiments.paper --item gates --networks phantom@phantom runs/cardiac_semi.npz@prepared/acdc

--from-records trains nothing: it takes what is in --records. Otherwise the rows of an item are trained first, with the
same recipe for each, on whatever prepared folder --data is: hearts with ED and ES, or brains. What is done is kept in
--work; the same command goes on where it was interrupted, in the middle of a training too.

--out gets a table as Markdown, LaTeX and CSV, a figure as PNG and PDF, and paper.md, the page of all that was made;
below each stands where its numbers come from, and beside ours stand those of the paper (experiments/paper/
paper_values.json). An item without its record is one line that says which record and the command that makes it.

Exit status: 0 when all was made, or with --all when only records were missing; 1 when with --all something failed and
the others were made; 2 when nothing could be made of what was asked for; 143 when a signal ended a training.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from autofuse_jax.errors import UserError, run_command
from experiments.comparison.recipe import add_recipe
from experiments.comparison.row_runs import STOPPED_STATUS
from experiments.paper.items import ITEMS, LABELLED_COUNTS, Item
from experiments.paper.making import Outcome, make_item, measure_item, train_item, write_pages

RECORDS = Path(__file__).resolve().parents[1] / 'results'
OUT = Path('runs/paper')
FAILED_STATUS = 1


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    options = parser().parse_args(arguments)
    return run_command(lambda: run(options))


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    command = argparse.ArgumentParser(
        prog='python -m experiments.paper', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    wanted = command.add_mutually_exclusive_group(required=True)
    wanted.add_argument('--item', nargs='+', choices=tuple(ITEMS), metavar='ITEM', help=', '.join(ITEMS))
    wanted.add_argument('--all', action='store_true', help='all of them')
    command.add_argument('--from-records', action='store_true', help='train nothing')
    command.add_argument('--out', type=Path, default=OUT, help=f'folder of tables and figures; default {OUT}')
    command.add_argument('--records', type=Path, default=RECORDS, help='folder of records; default experiments/results')
    command.add_argument(
        '--comparison', type=Path, nargs='+', metavar='RECORD', help='records whose rows one table is made of'
    )
    command.add_argument(
        '--page', type=Path, metavar='FILE', help='write the page there, too, with images/paper beside it'
    )
    measuring = command.add_argument_group('trained networks')
    measuring.add_argument(
        '--networks',
        nargs='+',
        default=[],
        metavar='WEIGHTS[@DATA]',
        help='run for gates, figure7 and figureA2: weights or folders of runs, on prepared data or on phantom',
    )
    measuring.add_argument('--pair', metavar='NAME', help='pair that is drawn; default the first of the split')
    training = command.add_argument_group('training')
    add_recipe(training, required=False)
    training.add_argument('--work', type=Path, help='folder that keeps what is done')
    training.add_argument('--name', help='what the data is called; default as its manifest says')
    training.add_argument(
        '--score', type=Path, metavar='DIR', help='train nothing: score what was trained on --data on this folder'
    )
    training.add_argument('--validations', type=int, default=10, help='how often a training is validated; default 10')
    training.add_argument('--split', help='which split is scored; default test, or validation where there is no test')
    training.add_argument('--learning-rate', type=float, help='of every row; default that of the configs')
    training.add_argument('--rates', type=Path, help='a record of experiments.learning_rates: that of each row')
    training.add_argument('--rows', nargs='+', metavar='ROW', help='train only these rows of an item, in this order')
    training.add_argument('--minutes', type=float, default=0.0, help='begin no further row after so long; 0: no limit')
    training.add_argument(
        '--labelled',
        type=_numbers,
        default=LABELLED_COUNTS,
        metavar='N,..',
        help='numbers of labelled subjects in figure5; default ' + ','.join(map(str, LABELLED_COUNTS)),
    )
    return command


def run(options: argparse.Namespace) -> int:
    """Train where that is asked for, and make what is asked for.

    Args:
        options: Options of `parser`.

    Returns:
        The exit status.

    Raises:
        UserError: A single item cannot be made.
    """
    outcome = Outcome()
    for name in ITEMS if options.all else options.item:
        item = ITEMS[name]
        try:
            if not options.from_records and not _start_runs(item, options):
                return STOPPED_STATUS
            outcome.add(item, make_item(item, options))
        except UserError as error:
            if not options.all and len(options.item) == 1:
                raise
            print(f'{name}: {error}', file=sys.stderr)
            outcome.failed.append(name)
    if outcome.outputs:
        write_pages(outcome, options)
    return _say(outcome, options)


def _start_runs(item: Item, options: argparse.Namespace) -> bool:
    """Train or measure what an item needs; returns False where a signal ended a training."""
    if item.rows and not options.comparison:
        return train_item(item, options)
    if item.measure is not None and options.networks:
        measure_item(item, options)
    return True


def _say(outcome: Outcome, options: argparse.Namespace) -> int:
    for _, output in outcome.outputs:
        print(f'made: {options.out / output.name}')
    for line in outcome.absent:
        print(f'missing: {line}')
    if outcome.failed:
        print(f'failed: {", ".join(outcome.failed)}', file=sys.stderr)
        return FAILED_STATUS
    return 0 if outcome.outputs or options.all else 2


def _numbers(text: str) -> Sequence[int]:
    return tuple(sorted({int(part) for part in text.split(',')}))


_numbers.__name__ = 'list of whole numbers'

if __name__ == '__main__':
    sys.exit(main())
