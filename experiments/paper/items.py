"""What can be made: each table and figure, the records that it is made of, and the commands that make those."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from autofuse_jax.configs.comparison.rows import labelled_name

from autofuse_jax.records.forms import Form
from experiments.paper.comparison_tables import ROWS_OF, TITLES, comparison_table
from experiments.paper.forms import COMPARISON
from experiments.paper.outputs import Output

RECIPE = (
    '--grid=64,64,16 --steps=1000 --schedule=cosine --warmup=50 --clip-norm=1 --learning-rate=3e-4 --validations=10'
)
HEARTS, BRAINS = ('cardiac', 'cardiac_ed_es'), ('brain', 'hippocampus')


@dataclasses.dataclass(frozen=True)
class Source:
    """A record that an item is made of.

    Attributes:
        name: File in the folder of records.
        form: What it must hold.
        command: Command that makes it.
        arrays: File of arrays beside it, which pictures are drawn from; '': none.
    """

    name: str
    form: Form
    command: str
    arrays: str = ''


@dataclasses.dataclass(frozen=True)
class Item:
    """A table or figure of the paper, or one of ours.

    Attributes:
        name: What it is called on the command line.
        title: What it shows.
        sources: Records, each of which gives outputs of its own.
        make: Function (content of a record, path of its arrays) -> outputs.
        rows: Rows that are trained for it; empty where the record comes from another command.
        tasks: Tasks of those records of rows that belong to it; empty: all.
        record: File of the record of its own rows; '': that of the comparison on the data set.
    """

    name: str
    title: str
    sources: tuple[Source, ...]
    make: Callable[[Mapping[str, Any], Path], Sequence[Output]]
    rows: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    record: str = ''


def comparison_source(name: str, item: str) -> Source:
    """Return the record of a comparison on a data set, and the command that trains an item's rows for it."""
    command = f'python -m experiments.paper --item {item} --data=prepared/{name} {RECIPE} --work=runs/paper_{name}'
    return Source(f'comparison_{name}.json', COMPARISON, command)


def _comparison_item(number: str, data: Sequence[str], tasks: tuple[str, ...]) -> Item:
    name = f'table{number}'
    return Item(
        name,
        TITLES[number],
        tuple(comparison_source(one, name) for one in data),
        lambda record, _: [comparison_table(number, record)],
        ROWS_OF[number],
        tasks,
    )


def _own_rows_item(name: str, title: str, rows: tuple[str, ...], make: Callable[..., Sequence[Output]]) -> Item:
    record = f'paper_{name}.json'
    command = f'python -m experiments.paper --item {name} --data=prepared/acdc {RECIPE} --work=runs/paper'
    return Item(name, title, (Source(record, COMPARISON, command),), make, rows, record=record)


def figure5_rows(counts: Sequence[int]) -> tuple[str, ...]:
    """Return the rows of Fig. 5: each number of labelled subjects with the rest, and all but the ends without."""
    alone = [labelled_name(count, alone=True) for count in counts if 0 < count < max(counts)]
    return (*(labelled_name(count) for count in counts), *alone)


LABELLED_COUNTS = (0, 5, 10, 20, 40, 70)
BRAIN_DATA = ('oasis', 'mindboggle', 'buckner')
ITEMS = {
    item.name: item
    for item in (
        _comparison_item('1', BRAIN_DATA, BRAINS),
        _comparison_item('2', ('acdc',), HEARTS),
        _comparison_item('3', ('acdc',), ()),
        _own_rows_item('table4', TITLES['4'], ROWS_OF['4'], lambda record, _: [comparison_table('4', record)]),
        _comparison_item('5', BRAIN_DATA, BRAINS),
        _comparison_item('6', ('acdc',), HEARTS),
        _comparison_item('7', ('acdc',), ()),
        _own_rows_item('figure5', 'Fig. 5: labelled subjects', figure5_rows(LABELLED_COUNTS), lambda record, _: []),
    )
}
