"""Points in CSV files: three coordinate columns among any others, with or without a header."""

import csv
import dataclasses
import io
import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from autofuse_jax.errors import UserError
from autofuse_jax.files import write_text

INSIDE_COLUMN = 'inside'
# Names that mark coordinate columns in a header, in this order of preference.
COORDINATE_NAMES = (('x', 'y', 'z'), ('i', 'j', 'k'), ('d', 'h', 'w'))
DELIMITERS = (',', ';', '\t')
# A millionth of a millimetre or voxel: far below any precision that matters, and short enough to read.
DECIMALS = 6


@dataclasses.dataclass(frozen=True, eq=False)
class PointTable:
    """A CSV file of points.

    Attributes:
        path: The file.
        header: Names of the columns, None where the file has none.
        rows: The cells of every row, as text.
        lines: Line number of each row, for messages.
        columns: Numbers of the three columns of coordinates.
        points: float64 (N, 3), the coordinates as they are in the file.
        delimiter: Separator of the columns.
    """

    path: Path
    header: list[str] | None
    rows: list[list[str]]
    lines: list[int]
    columns: tuple[int, int, int]
    points: np.ndarray
    delimiter: str


def read_points(path: str | os.PathLike) -> PointTable:
    """Read points from a CSV file.

    A first row without a number among its first three cells is a header. Coordinates are the columns named x, y, z (or
    i, j, k, or d, h, w) in it, and the first three columns without such names. Commas, semicolons and tabs separate
    columns; empty lines are skipped.

    Args:
        path: The file.

    Returns:
        The table.

    Raises:
        UserError: Missing, empty or binary file, a row with too few columns, or a coordinate that is no finite number;
            with the number of the line.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f'{path} is a folder' if path.is_dir() else f'there is no file {path}', fix='check the path')
    try:
        text = path.read_text(encoding='utf-8-sig')
    except UnicodeDecodeError as error:
        raise UserError(f'{path} is no text file ({error.reason})', expected='a CSV file of points') from error
    lines = [number for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    if not lines:
        raise UserError(f'{path} is empty', expected='one point per line', fix='check the file')
    first = text.splitlines()[lines[0] - 1]
    delimiter = max(DELIMITERS, key=first.count)
    try:
        reader = csv.reader(io.StringIO(text), delimiter=delimiter)
        rows, lines = [], []
        for row in reader:
            if any(cell.strip() for cell in row):
                rows.append(row)
                lines.append(reader.line_num)
    except csv.Error as error:
        raise UserError(f'{path} cannot be read as CSV ({error})', fix='check the file') from error
    header = None
    if all(_number(cell) is None for cell in rows[0][:3]):
        header, rows, lines = rows[0], rows[1:], lines[1:]
    if not rows:
        raise UserError(f'{path} has a header and no points', expected='one point per line', fix='check the file')
    columns = _coordinate_columns(header)
    points = np.array([_coordinates(path, *pair, columns) for pair in zip(lines, rows, strict=True)])
    return PointTable(path, header, rows, lines, columns, points, delimiter)


def write_points(path: str | os.PathLike, table: PointTable, points: np.ndarray, inside: np.ndarray) -> None:
    """Write a table with new coordinates; every other column stays as it was.

    With a header, a last column 'inside' (or the one that is there already) gets 1 or 0. A file without header keeps
    exactly its columns, because its readers count them.

    Args:
        path: The file to write.
        table: The table that was read.
        points: (N, 3), the new coordinates.
        inside: bool (N,), which points the transform knows.

    Raises:
        OSError: The file cannot be written.
    """
    header = None if table.header is None else list(table.header)
    rows = [list(row) for row in table.rows]
    for row, point in zip(rows, points, strict=True):
        for column, value in zip(table.columns, point, strict=True):
            # Adding 0 turns a rounded -0 into 0.
            row[column] = f'{round(float(value), DECIMALS) + 0.0:.{DECIMALS}f}'
    if header is not None:
        names = [name.strip().lower() for name in header]
        place = names.index(INSIDE_COLUMN) if INSIDE_COLUMN in names else len(header)
        if place == len(header):
            header.append(INSIDE_COLUMN)
        for row, flag in zip(rows, inside, strict=True):
            row.extend([''] * (len(header) - len(row)))
            row[place] = str(int(flag))
    text = io.StringIO()
    csv.writer(text, delimiter=table.delimiter, lineterminator='\n').writerows([header, *rows] if header else rows)
    write_text(path, text.getvalue())


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _coordinate_columns(header: list[str] | None) -> tuple[int, int, int]:
    names = [name.strip().lower() for name in header or []]
    for column_names in COORDINATE_NAMES:
        if set(column_names) <= set(names):
            first, second, third = (names.index(name) for name in column_names)
            return first, second, third
    return (0, 1, 2)


def _coordinates(path: Path, line: int, row: Sequence[str], columns: tuple[int, int, int]) -> list[float]:
    if len(row) <= max(columns):
        raise UserError(
            f'{path}, line {line}: {len(row)} columns',
            expected=f'coordinates in columns {", ".join(str(column + 1) for column in columns)}',
            fix='give every point three coordinates, separated by commas',
        )
    values = [_number(row[column]) for column in columns]
    for column, value in zip(columns, values, strict=True):
        if value is None or not math.isfinite(value):
            raise UserError(
                f'{path}, line {line}, column {column + 1}: {row[column]!r} is no finite number',
                expected='three coordinates; in a header their columns are named x, y, z',
                fix='correct or remove this line',
            )
    return values
