"""A table of pairs to register: a CSV with one pair a row, read and checked as a whole before any work."""

import csv
import dataclasses
import difflib
import os
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from autofuse_jax.data.file_kinds import DICOM, reader_of
from autofuse_jax.data.pair_names import GOOD_NAME, is_folder_name, pair_names
from autofuse_jax.errors import UserError

FIXED, MOVING, NAME = 'fixed', 'moving', 'name'
FILE_COLUMNS = (FIXED, MOVING, 'fixed_labels', 'moving_labels', 'fixed_mask', 'moving_mask')
COLUMNS = (*FILE_COLUMNS, NAME)
# Spreadsheets of some countries write semicolons.
DELIMITERS = ',;\t'
# A column whose name has one of these in it was meant for something here.
TELLING_WORDS = ('fixed', 'moving', 'label', 'mask', 'seg', 'name')
# Further problems of rows, with their lines.
Check = Callable[[Sequence['PairRow']], Sequence[tuple[int, str]]]


@dataclasses.dataclass(frozen=True)
class PairRow:
    """One pair of a table.

    Attributes:
        line: Line of the file, from 1, the header included.
        name: Name of the pair and of its folder; unique in the table.
        files: Column of `FILE_COLUMNS` to its file; columns that are empty in this row are left out.
    """

    line: int
    name: str
    files: Mapping[str, Path]


def read_pair_table(
    path: str | os.PathLike, *, reserved: Collection[str] = (), check: Check | None = None
) -> list[PairRow]:
    """Read a table of pairs and check that everything it names is there.

    Args:
        path: CSV with a header; columns 'fixed' and 'moving', and any of 'fixed_labels', 'moving_labels', 'fixed_mask',
            'moving_mask' and 'name'. Paths are relative to its folder. Separated by commas, semicolons or tabs.
        reserved: Names that no pair may have.
        check: Function that returns what else is wrong with rows, see `Check`, of which files may not be there; default
            None.

    Returns:
        The pairs, in the order of the file. Without a name a pair is called MOVING_to_FIXED after its files, with as
        many of their folders before as it takes to tell the pairs apart, see `pair_names`.

    Raises:
        UserError: The file cannot be read or has no pairs; or columns are missing, files are missing, names are no
            names, or `check` found something: all problems in one message.
    """
    path = Path(path)
    header, lines = _read_lines(path)
    whole = _problems_of_header(header)
    if not lines and not whole:
        raise UserError(f'{path} lists no pairs', expected='a row for each pair below the header')
    problems = [(0, problem) for problem in whole]
    rows = [(line, dict(zip(header, cells, strict=False))) for line, cells in lines]
    files = [_files_of(path.parent, cells) for _, cells in rows]
    given = [cells.get(NAME, '') for _, cells in rows]
    names = pair_names(given, [_two_files(row_files) for row_files in files])
    for (line, cells), (_, values), row_files in zip(rows, lines, files, strict=True):
        if len(values) != len(header):
            problems.append((line, f'{len(values)} cells, and the header has {len(header)}'))
        problems += [(line, f'no {role} image') for role in (FIXED, MOVING) if role in header and not cells.get(role)]
        for column, file in row_files.items():
            if not _is_there(file):
                problems.append((line, f'{column} {file} is {"a folder" if file.is_dir() else "not there"}'))
    table = [PairRow(line, name, row) for (line, _), name, row in zip(rows, names, files, strict=True)]
    problems += _problems_of_names(table, given, {name.lower() for name in reserved})
    problems += check(table) if check else []
    if problems:
        ordered = sorted(problems, key=lambda problem: problem[0])
        raise _all_problems(path, [f'line {line}: {text}' if line else text for line, text in ordered])
    return table


def _all_problems(path: Path, problems: Sequence[str]) -> UserError:
    """Error that lists everything that is wrong with a table, one line each."""
    count = '1 problem' if len(problems) == 1 else f'{len(problems)} problems'
    listed = '\n'.join(f'  {problem}' for problem in problems)
    return UserError(f'{path} has {count}, and nothing was begun:\n{listed}', fix='correct them and run it again')


def _read_lines(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Header and the numbered lines below it that are not empty; cells without spaces around them."""
    if not path.is_file():
        problem = f'{path} is a folder' if path.is_dir() else f'there is no file {path}'
        raise UserError(problem, expected='a CSV of pairs', fix='check --pairs')
    try:
        # Spreadsheets put a byte order mark in front.
        text = path.read_text(encoding='utf-8-sig')
    except UnicodeDecodeError as error:
        raise UserError(f'{path} is no text in UTF-8 ({error})', fix='save it as CSV in UTF-8') from error
    first = text.partition('\n')[0]
    delimiter = max(DELIMITERS, key=first.count)
    reader = csv.reader(text.splitlines(), delimiter=delimiter)
    lines = []
    try:
        for cells in reader:
            stripped = [cell.strip() for cell in cells]
            if any(stripped):
                lines.append((reader.line_num, stripped))
    except csv.Error as error:
        raise UserError(f'line {reader.line_num} of {path} cannot be read ({error})', expected='a CSV') from error
    if not lines:
        raise UserError(f'{path} is empty', expected=f'a header with the columns {FIXED}, {MOVING}')
    header = [name.lower().replace(' ', '_').replace('-', '_') for name in lines[0][1]]
    return header, lines[1:]


def _problems_of_header(header: Sequence[str]) -> list[str]:
    problems = [f'the column {column} is missing' for column in (FIXED, MOVING) if column not in header]
    # Spreadsheets write empty columns behind the table.
    counts = Counter(name for name in header if name)
    problems += [f'the column {name} is there {count} times' for name, count in counts.items() if count > 1]
    for name in header:
        if name in COLUMNS or not any(word in name for word in TELLING_WORDS):
            continue
        near = difflib.get_close_matches(name, COLUMNS, 1)
        meant = f' (perhaps {near[0]})' if near else ''
        problems.append(f'the column {name} is unknown{meant}, expected are {", ".join(COLUMNS)}')
    return problems


def _files_of(folder: Path, cells: Mapping[str, str]) -> dict[str, Path]:
    return {column: folder / cells[column] for column in FILE_COLUMNS if cells.get(column)}


def _two_files(files: Mapping[str, Path]) -> tuple[Path, Path] | None:
    return (files[MOVING], files[FIXED]) if {MOVING, FIXED} <= files.keys() else None


def _is_there(path: Path) -> bool:
    """Whether there is a file or a folder that can hold a DICOM series, as `formats.open_image` takes them."""
    return path.is_file() or path.is_dir() and reader_of(path) == DICOM


def _problems_of_names(
    rows: Sequence[PairRow], given: Sequence[str], reserved: Collection[str]
) -> list[tuple[int, str]]:
    problems = []
    # Some file systems do not tell letters by their case.
    first: dict[str, int] = {}
    for number, row in enumerate(rows):
        alike = row.name.lower()
        if not row.name:
            continue
        if not is_folder_name(row.name):
            wrong = f'{row.name!r} cannot be the name of a folder'
            problems.append((row.line, f'{wrong}: in the column {NAME}, put {GOOD_NAME}'))
        if alike in reserved:
            problems.append((row.line, f'{row.name!r} is the name of a file of the results, put another one'))
        if first.setdefault(alike, number) != number:
            problems.append((row.line, _same_name(row, rows[first[alike]], bool(given[number]))))
    return problems


def _same_name(row: PairRow, other: PairRow, given: bool) -> str:
    if row.files == other.files:
        return f'the same pair as in line {other.line}'
    if given or _two_files(row.files) != _two_files(other.files):
        return f'the name {row.name} is that of line {other.line}'
    return f'the images of line {other.line}, with other labels or masks: name the pairs in the column {NAME}'
