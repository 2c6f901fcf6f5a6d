"""What can be made: each table and figure, the records that it is made of, and the commands that make those."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from autofuse_jax.configs.comparison.rows import labelled_name

from autofuse_jax.records.forms import Form
from experiments.paper import gates, pictures, segmentations
from experiments.paper.comparison_tables import ROWS_OF, TITLES, comparison_table
from experiments.paper.curves import VALIDATION_TITLE, figure5, gates_over_training, validations_over_training
from experiments.paper.forms import COMPARISON, GATES, PAIR_PICTURE, ROUTES, SEGMENTATIONS
from experiments.paper.frontier import frontier
from experiments.paper.networks import NamedNetwork
from experiments.paper.outputs import Output

RECIPE = '--grid=64,64,16 --steps=1000 --schedule=cosine --warmup=50 --clip-norm=1 --learning-rate=3e-4'
COMMAND = 'python -m experiments.paper --item'
HEARTS, BRAINS = ('cardiac', 'cardiac_ed_es'), ('brain', 'hippocampus')
BRAIN_DATA = ('oasis', 'mindboggle', 'buckner')
LABELLED_COUNTS = (0, 5, 10, 20, 40, 70)
# Of Table 4, whose gates are drawn over training.
GATED_ROWS = {'autofuse': 'AutoFuse', 'autofuse_mu_0': 'AutoFuse, μ = 0', 'autofuse_lambda_400': 'AutoFuse, λ = 400'}

Record = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Source:
    """A record that an item is made of.

    Attributes:
        name: File in the folder of records.
        form: Form of its content.
        command: Command that makes it.
    """

    name: str
    form: Form
    command: str


@dataclasses.dataclass(frozen=True)
class Item:
    """A table or figure of the paper, or one of ours.

    Attributes:
        name: Name on the command line.
        title: Heading.
        sources: Records that it is made of.
        make: Function (records that are there, by path) -> outputs.
        joint: Whether all records are made into one output; default False: each into outputs of its own.
        rows: Rows that are trained for it; empty where the record comes from elsewhere.
        tasks: Tasks of those comparisons that belong to it; empty: all.
        record: File of the record of its own rows, or of what it measures; '': the comparison on the data set.
        measure: Function (networks, record, name of a pair) that writes the record of trained networks; None: none.
    """

    name: str
    title: str
    sources: tuple[Source, ...]
    make: Callable[[Mapping[Path, Record]], Sequence[Output]]
    joint: bool = False
    rows: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    record: str = ''
    measure: Callable[[Sequence[NamedNetwork], Path, str | None], None] | None = None


def comparison_source(name: str, item: str) -> Source:
    """Return the record of a comparison on a data set, and the command that trains an item's rows for it."""
    data, recipe, score = name, RECIPE, ''
    if name in BRAIN_DATA:
        # The paper trains on the first and scores on all.
        data, recipe = BRAIN_DATA[0], '--steps=100000'
        score = '' if name == data else f' --score=prepared/{name}'
    command = f'{COMMAND} {item} --data=prepared/{data} --name={name} {recipe} --work=runs/paper_{data}{score}'
    return Source(f'comparison_{name}.json', COMPARISON, command)


def _each(make: Callable[[Record, Path], Sequence[Output]]) -> Callable[[Mapping[Path, Record]], Sequence[Output]]:
    return lambda records: [output for path, record in records.items() for output in make(record, path)]


def _comparison_item(number: str, data: Sequence[str], tasks: tuple[str, ...] = ()) -> Item:
    name = f'table{number}'
    return Item(
        name,
        TITLES[number],
        tuple(comparison_source(one, name) for one in data),
        _each(lambda record, _: [comparison_table(number, record)]),
        rows=ROWS_OF[number],
        tasks=tasks,
    )


def _own_rows_item(name: str, title: str, rows: tuple[str, ...], make: Callable[[Record, Path], Any]) -> Item:
    record = f'paper_{name}.json'
    command = f'{COMMAND} {name} --data=prepared/acdc {RECIPE} --work=runs/paper_acdc'
    return Item(name, title, (Source(record, COMPARISON, command),), _each(make), rows=rows, record=record)


def _measured_item(name: str, title: str, record: str, form: Form, networks: str, measure: Any, make: Any) -> Item:
    source = Source(record, form, f'{COMMAND} {name} --networks {networks}')
    make_outputs = _each(lambda content, path: make(content, path.with_suffix('.npz')))
    return Item(name, title, (source,), make_outputs, record=record, measure=measure)


def figure5_rows(counts: Sequence[int]) -> tuple[str, ...]:
    """Return the rows of Fig. 5: each number of labelled subjects with the rest, and all but the ends without."""
    alone = [labelled_name(count, alone=True) for count in counts if 0 < count < max(counts)]
    return (*(labelled_name(count) for count in counts), *alone)


def _table4(record: Record, _: Path) -> list[Output]:
    over_training = gates_over_training(record, GATED_ROWS)
    return [comparison_table('4', record), *([] if over_training is None else [over_training])]


def _routes(name: str, more: str) -> Source:
    command = f'python -m experiments.comparison.compare_with_syn --task=acdc --data=prepared/acdc {more}'
    return Source(name, ROUTES, f'{command} --work=runs/{name} --out=experiments/results/{name}')


NETWORK = 'runs/cardiac_semi.npz@prepared/acdc'
ITEMS = {
    item.name: item
    for item in (
        _comparison_item('1', BRAIN_DATA, BRAINS),
        _comparison_item('2', ('acdc',), HEARTS),
        _comparison_item('3', ('acdc',)),
        _own_rows_item('table4', TITLES['4'], ROWS_OF['4'], _table4),
        _comparison_item('5', BRAIN_DATA, BRAINS),
        _comparison_item('6', ('acdc',), HEARTS),
        _comparison_item('7', ('acdc',)),
        Item(
            'validation',
            VALIDATION_TITLE,
            (comparison_source('acdc', 'table2'),),
            _each(lambda record, _: validations_over_training(record)),
        ),
        _measured_item(
            'gates',
            gates.TITLE,
            gates.RECORD,
            GATES,
            f'phantom@phantom {NETWORK}',
            gates.measure_gates,
            gates.gate_outputs,
        ),
        _own_rows_item(
            'figure5',
            'Fig. 5: DSC against the number of labelled subjects',
            figure5_rows(LABELLED_COUNTS),
            lambda record, _: figure5(record),
        ),
        _measured_item(
            'figure7',
            'Figs. 6 and 7: one pair through all methods',
            pictures.RECORD,
            PAIR_PICTURE,
            f'{NETWORK} runs/comparison/voxelmorph@prepared/acdc',
            pictures.measure_pair,
            pictures.pair_figure,
        ),
        _measured_item(
            'figureA2',
            'Fig. A2: predicted segmentations beside manual ones',
            segmentations.RECORD,
            SEGMENTATIONS,
            NETWORK,
            segmentations.measure_segmentations,
            segmentations.segmentation_outputs,
        ),
        Item(
            'frontier',
            'Frontier: DSC against CPU seconds of every route',
            (
                _routes(
                    'budgets_acdc.json',
                    "--methods before affine 'affine + instance' --budgets 6,4,2 15,10,5 30,20,10",
                ),
                _routes(
                    'guided_acdc.json',
                    "--weights=cardiac --methods before 'affine + network' 'affine + network + instance' "
                    "'affine + network + guided instance'",
                ),
                # Of what the two before have not: SyN.
                _routes('instance_acdc.json', '--weights=runs/cardiac_unsup.npz --syn-pairs=6'),
            ),
            lambda records: frontier({path.name: record for path, record in records.items()}),
            joint=True,
        ),
    )
}
