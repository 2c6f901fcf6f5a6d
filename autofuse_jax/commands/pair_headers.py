"""What the headers of the files in a table of pairs show to be wrong, before any work."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from autofuse_jax.data.formats import IMAGE_KEY, LABELS_KEY
from autofuse_jax.data.headers import HeaderFacts, read_header
from autofuse_jax.data.inputs import check_on_voxels
from autofuse_jax.data.pair_table import FIXED, MOVING, PairRow
from autofuse_jax.errors import UserError
from autofuse_jax.registration.pair_checks import check_headers
from autofuse_jax.registration.results import check_suffix

# Ending of a column: what it holds, in words.
COMPANIONS = {'labels': 'label map', 'mask': 'mask'}


def header_problems(rows: Sequence[PairRow], suffix: str) -> list[tuple[int, str]]:
    """Open every file of some pairs once, and compare those that belong together.

    Args:
        rows: The pairs; files that are not there are passed over.
        suffix: Suffix of the moved images, which has to hold the grid of the fixed one.

    Returns:
        Line of the table and problem; of a file that is named in several lines the first.
    """
    problems: list[tuple[int, str]] = []
    opened: dict[tuple[Path, str], HeaderFacts | None] = {}
    for row in rows:
        known: dict[str, HeaderFacts] = {}
        for column, file in row.files.items():
            key = IMAGE_KEY if column in (FIXED, MOVING) else LABELS_KEY
            if file.exists() and (file, key) not in opened:
                opened[file, key], found = _try(read_header, file, key=key)
                problems += [(row.line, problem) for problem in found]
            facts = opened.get((file, key))
            if facts is not None:
                known[column] = facts
        problems += [(row.line, problem) for problem in _problems_of_pair(row, known, suffix)]
    return problems


def _problems_of_pair(row: PairRow, known: Mapping[str, HeaderFacts], suffix: str) -> list[str]:
    problems = []
    if FIXED in known and MOVING in known:
        problems += _try(check_headers, known[FIXED], known[MOVING])[1]
    if FIXED in known:
        problems += _try(check_suffix, suffix, known[FIXED].grid)[1]
    for role in (FIXED, MOVING):
        for ending, kind in COMPANIONS.items():
            column = f'{role}_{ending}'
            if role in known and column in known:
                name = f'{kind} {row.files[column]}'
                problems += _try(_check_companion, known[column], known[role], name)[1]
    return problems


def _check_companion(facts: HeaderFacts, image: HeaderFacts, name: str) -> None:
    if len(facts.image_shape) != 3:
        raise UserError(f'the {name} has shape {facts.image_shape}', expected='three axes (D, H, W)')
    check_on_voxels(facts.grid, image.grid, name, image.file)


def _try(function: Callable, *arguments: Any, **options: Any) -> tuple[Any, list[str]]:
    """What a function returns, None where it finds a problem; and the problem."""
    try:
        return function(*arguments, **options), []
    except UserError as error:
        return None, [str(error)]
