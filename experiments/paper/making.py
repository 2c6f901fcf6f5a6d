"""Making items: training what they need, reading their records, writing their files and the page of all."""

import argparse
import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path

from autofuse_jax.data.manifests import read_manifest
from autofuse_jax.errors import UserError
from autofuse_jax.files import write_text
from autofuse_jax.records.reading import read_json
from autofuse_jax.runtime import enable_compilation_cache
from experiments.paper.comparison_tables import join_records
from experiments.paper.items import ITEMS, Item, Source, comparison_source, figure5_rows
from experiments.paper.networks import named_network
from experiments.paper.other_data import score_elsewhere
from experiments.paper.outputs import Output, PaperFigure
from experiments.paper.training import train_record

PAGE_NAME = 'paper.md'
CHECKOUT = Path(__file__).resolve().parents[2]
# From a page elsewhere to its pictures.
PICTURES = 'images/paper/'
HEAD = (
    '# The paper, from records',
    'Written by `python -m experiments.paper --all --from-records`; nothing here is typed by hand. Below each table '
    'and figure stands the command that made its record. Numbers of the paper (Meng et al., Pattern Recognition 161, '
    '111338, 2025) stand beside ours where there are any; the notes say where data or patients differ.',
)


@dataclasses.dataclass
class Outcome:
    """What came of a command.

    Attributes:
        outputs: Tables and figures, each with its item.
        absent: Lines about records that are missing.
        failed: Names of items that could not be made of their records.
    """

    outputs: list[tuple[Item, Output]] = dataclasses.field(default_factory=list)
    absent: list[str] = dataclasses.field(default_factory=list)
    failed: list[str] = dataclasses.field(default_factory=list)

    def add(self, item: Item, parts: tuple[list[Output], list[str]]) -> None:
        """Add what `make_item` returns."""
        outputs, absent = parts
        self.outputs += [(item, output) for output in outputs]
        self.absent += absent


def train_item(item: Item, options: argparse.Namespace) -> bool:
    """Train the rows of an item, and write their record.

    Args:
        item: An item with rows.
        options: Options of `python -m experiments.paper`.

    Returns:
        False where a signal ended it.

    Raises:
        UserError: The data, a row or the recipe is wrong.
    """
    rows = _chosen_rows(figure5_rows(options.labelled) if item.name == 'figure5' else item.rows, item, options.rows)
    path = options.records / _trained_record(item, options)
    if options.score is not None:
        if item.record:
            raise UserError(f'--score with {item.name}', expected='a table of a comparison', fix='leave it out')
        enable_compilation_cache()
        return bool(score_elsewhere(rows, options, path))
    return train_record(rows, options, path) is not None


def _chosen_rows(rows: Sequence[str], item: Item, chosen: Sequence[str] | None) -> Sequence[str]:
    """Rows of an item, or those of them that the command line names."""
    unknown = sorted(set(chosen or ()) - set(rows))
    if unknown:
        raise UserError(
            f'{item.name} has no row {", ".join(unknown)}', expected=', '.join(rows), fix='correct --rows or --item'
        )
    return chosen or rows


def measure_item(item: Item, options: argparse.Namespace) -> None:
    """Run the networks of the command line for an item, and write its record.

    Args:
        item: An item that measures.
        options: Options of `python -m experiments.paper`.

    Raises:
        UserError: A network or its data is wrong.
    """
    enable_compilation_cache()
    phantoms = options.out / 'phantom'
    networks = [named_network(text, options.data, options.split, phantoms) for text in options.networks]
    item.measure(networks, options.records / item.record, options.pair)


def make_item(item: Item, options: argparse.Namespace) -> tuple[list[Output], list[str]]:
    """Make an item of its records and write its files.

    Args:
        item: The item.
        options: Options of `python -m experiments.paper`.

    Returns:
        What was made, and a line about each record that is missing.

    Raises:
        UserError: A record is of another kind or version, or its rows were scored on different pairs.
    """
    outputs: list[Output] = []
    absent = []
    if options.comparison:
        if not item.rows:
            raise UserError(f'--comparison with {item.name}', expected='a table of rows', fix='leave it out')
        records = [(str(path), read_record(path, comparison_source('data', item.name))) for path in options.comparison]
        outputs += item.make({options.comparison[0]: join_records(records)})
    else:
        present = {}
        for source in sources_of(item, options):
            path = options.records / source.name
            if path.is_file():
                present[path] = read_record(path, source)
            else:
                absent.append(f'{item.name}: no record `{_from_checkout(path)}`; made by `{source.command}`')
        outputs += item.make(present) if present else []
    for output in outputs:
        output.write(options.out)
    return outputs, absent


def sources_of(item: Item, options: argparse.Namespace) -> list[Source]:
    """Return the records that an item is made of here: those of `--data` alone where that is trained on, otherwise
    those that it expects and further comparisons of its tasks in the folder of records."""
    if item.record or not item.rows:
        return list(item.sources)
    if options.data is not None and not options.from_records:
        name = _trained_record(item, options).removeprefix('comparison_').removesuffix('.json')
        return [comparison_source(name, item.name)]
    sources = {source.name: source for source in item.sources}
    for path in sorted(options.records.glob('comparison_*.json')):
        source = comparison_source(path.stem.removeprefix('comparison_'), item.name)
        if path.name not in sources and (not item.tasks or read_record(path, source)['task'] in item.tasks):
            sources[path.name] = source
    return list(sources.values())


def read_record(path: Path, source: Source) -> dict:
    """Read a record.

    Args:
        path: The file.
        source: What it should be.

    Raises:
        UserError: It cannot be read, or is of another kind or version.
    """
    return read_json(
        path, source.form, misfit='is no record of this kind or version', fix=f'make it again: {source.command}'
    )


def page_of(outputs: Sequence[tuple[Item, Output]], absent: Sequence[str] = (), *, pictures: str = '') -> str:
    """Return the page of what was made, in the order of the items.

    Args:
        outputs: Tables and figures, each with its item.
        absent: Lines about records that are missing.
        pictures: Way from the page to the folder of the PNG files.
    """
    parts = list(HEAD)
    for item in ITEMS.values():
        for owner, output in outputs:
            if owner is item:
                text = output.markdown(pictures) if isinstance(output, PaperFigure) else output.markdown()
                parts.append(text.rstrip())
    if absent:
        parts += ['## Not made yet', '\n'.join(f'- {line}' for line in absent)]
    return '\n\n'.join(parts) + '\n'


def write_pages(outcome: Outcome, options: argparse.Namespace) -> None:
    """Write the page of what was made beside its files and, where `--page` says so, in another place with pictures."""
    write_text(options.out / PAGE_NAME, page_of(outcome.outputs, outcome.absent))
    if options.page is not None:
        for _, output in outcome.outputs:
            if isinstance(output, PaperFigure):
                target = options.page.parent / PICTURES / f'{output.name}.png'
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(options.out / target.name, target)
        write_text(options.page, page_of(outcome.outputs, outcome.absent, pictures=PICTURES))


def _from_checkout(path: Path) -> Path:
    """Return a path as it is from the top of the checkout, where it lies inside."""
    return path.relative_to(CHECKOUT) if path.is_relative_to(CHECKOUT) else path


def _trained_record(item: Item, options: argparse.Namespace) -> str:
    if item.record:
        return item.record
    data = options.score or options.data
    name = options.name or ('' if data is None else read_manifest(data).dataset)
    return f'comparison_{name}.json'
