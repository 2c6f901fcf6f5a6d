"""Points in CSV files and Slicer's .fcsv and .mrk.json: three columns of coordinates among any others."""

import csv
import dataclasses
import io
import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from autofuse_jax.choices import MILLIMETRES, MILLIMETRES_LPS, VOXELS
from autofuse_jax.errors import UserError
from autofuse_jax.files import write_text
from autofuse_jax.transforms.grids import LONGEST_MM
from autofuse_jax.transforms_io.point_columns import Columns, choose_columns, named_columns
from autofuse_jax.transforms_io.slicer_markups import is_markups, read_markups
from autofuse_jax.transforms_io.text_files import read_text

INSIDE_COLUMN = 'inside'
DELIMITERS = (',', ';', '\t')
COMMENT = '#'
LPS_FROM_RAS = np.array([-1.0, -1.0, 1.0])
# How Slicer's .fcsv names its frame: by a word or, in old files, by a number.
SLICER_FRAMES = {
    **dict.fromkeys(('ras', '0'), MILLIMETRES),
    **dict.fromkeys(('lps', '1'), MILLIMETRES_LPS),
    **dict.fromkeys(('ijk', '2'), VOXELS),
}
# A millionth of a millimetre or voxel: far below any precision that matters, and short enough to read.
DECIMALS = 6


@dataclasses.dataclass(frozen=True, eq=False)
class PointTable:
    """A table of points.

    Attributes:
        path: The file.
        header: Names of the columns, None where no row of the file holds them.
        rows: The cells of every row, as text.
        lines: Line number of each row, for messages.
        columns: Numbers of the three columns of coordinates.
        points: float64 (N, 3), the coordinates as they are in the file.
        delimiter: Separator of the columns.
        units: Unit and frame of the coordinates, a key of `choices.POINT_UNITS`.
        comments: Lines above the table, as in Slicer's .fcsv.
        others: Numbers of columns that hold coordinates of the points in other units.
    """

    path: Path
    header: list[str] | None
    rows: list[list[str]]
    lines: list[int]
    columns: tuple[int, int, int]
    points: np.ndarray
    delimiter: str
    units: str = MILLIMETRES
    comments: tuple[str, ...] = ()
    others: tuple[int, ...] = ()

    @property
    def ras_mm(self) -> np.ndarray:
        """The points in RAS millimetres, (N, 3).

        Raises:
            UserError: They are voxels of an image, which this table does not know.
        """
        if self.units == VOXELS:
            raise UserError(f'{self.path} counts points in voxels', expected='points in millimetres')
        return self.points * LPS_FROM_RAS if self.units == MILLIMETRES_LPS else self.points


def read_points(path: str | os.PathLike, units: str | None = None) -> PointTable:
    """Read points from a CSV file, or a .fcsv or .mrk.json of Slicer.

    Coordinates are the columns whose names say so (`point_columns`); the names stand in the first row, or in a comment
    above it. A file without names has three columns and nothing else. Commas, semicolons and tabs separate columns;
    empty lines are skipped. Of a .mrk.json the table has a label and three coordinates, named after their frame.

    Args:
        path: The file.
        units: Unit and frame of the coordinates, a key of `choices.POINT_UNITS`; None: what the file says, and RAS
            millimetres where it says nothing.

    Returns:
        The table.

    Raises:
        UserError: Missing, empty or binary file, another encoding than UTF-8 and UTF-16, no or several columns that
            could be meant, a frame that is not the one that is asked for, a row with too few columns, or a coordinate
            that is no finite number.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f'{path} is a folder' if path.is_dir() else f'there is no file {path}', fix='check the path')
    if is_markups(path):
        return _table_of_markups(path, units)
    text = read_text(path, 'a CSV file of points')
    all_lines = text.splitlines()
    count = next((n for n, line in enumerate(all_lines) if line.strip() and not _is_comment(line)), len(all_lines))
    comments, text = [line for line in all_lines[:count] if line.strip()], '\n'.join(all_lines[count:])
    if not text.strip():
        raise UserError(f'{path} is empty', expected='one point per line', fix='check the file')
    delimiter = max(DELIMITERS, key=all_lines[count].count)
    try:
        reader = csv.reader(io.StringIO(text), delimiter=delimiter)
        rows, lines = [], []
        for row in reader:
            if any(cell.strip() for cell in row):
                rows.append(row)
                lines.append(count + reader.line_num)
    except csv.Error as error:
        raise UserError(f'{path} cannot be read as CSV ({error})', fix='check the file') from error
    if len(rows[0]) < 3:
        raise UserError(
            f'{path}, line {lines[0]}: {len(rows[0])} columns',
            expected='three coordinates, and any other columns',
            fix='give every point three coordinates, separated by commas',
        )
    header = None
    if all(_number(cell) is None for cell in rows[0][:3]):
        header, rows, lines = rows[0], rows[1:], lines[1:]
    if not rows:
        raise UserError(f'{path} has a header and no points', expected='one point per line', fix='check the file')
    columns = _columns(path, header, comments, len(rows[0]), delimiter, units)
    points = np.array([_coordinates(path, *pair, columns.numbers) for pair in zip(lines, rows, strict=True)])
    return PointTable(
        path,
        header,
        rows,
        lines,
        columns.numbers,
        points,
        delimiter,
        columns.units or MILLIMETRES,
        tuple(comments),
        columns.others,
    )


def write_points(path: str | os.PathLike, table: PointTable, points: np.ndarray, inside: np.ndarray) -> None:
    """Write a table with new coordinates; every other column stays as it was, but for coordinates in other units, which
    are left empty: they would still be those of the points that were read.

    With a header, a last column 'inside' (or the one that is there already) gets 1 or 0. A file without header, such as
    a .fcsv, keeps exactly its columns, because its readers count them.

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
        for column in table.others:
            if column < len(row):
                row[column] = ''
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
    text.writelines(f'{comment}\n' for comment in table.comments)
    csv.writer(text, delimiter=table.delimiter, lineterminator='\n').writerows([header, *rows] if header else rows)
    write_text(path, text.getvalue())


def _table_of_markups(path: Path, units: str | None) -> PointTable:
    """Read a .mrk.json as a table whose column names say the frame."""
    markups = read_markups(path)
    _check_frame(path, markups.units, units)
    word = 'lps' if markups.units == MILLIMETRES_LPS else 'ras'
    pairs = zip(markups.labels, markups.points, strict=True)
    return PointTable(
        path,
        ['label', *(f'{letter}_{word}' for letter in 'xyz')],
        [[label, *map(str, point)] for label, point in pairs],
        list(range(1, len(markups.points) + 1)),
        (1, 2, 3),
        markups.points,
        DELIMITERS[0],
        markups.units,
    )


def _check_frame(path: Path, frame: str | None, units: str | None) -> None:
    """Check that a file does not say another frame than the user."""
    if frame is not None and units not in (None, frame):
        raise UserError(f'{path} says that its points are in {frame}, not in {units}', fix='leave out --points-units')


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _is_comment(line: str) -> bool:
    return line.lstrip().startswith(COMMENT)


def _columns(
    path: Path, header: list[str] | None, comments: Sequence[str], width: int, delimiter: str, units: str | None
) -> Columns:
    """Find the coordinates by the names of the columns."""
    names, frame = header, None
    for comment in comments:
        content = comment.lstrip(f'{COMMENT} ')
        field = re.match(r'(columns|CoordinateSystem)\s*=\s*(.*)', content, re.IGNORECASE)
        if field is None:
            if header is None and len(content.split(delimiter)) == width:
                names = content.split(delimiter)
        elif field[1].lower() == 'columns':
            names = field[2].split(',')
        else:
            frame = SLICER_FRAMES.get(field[2].strip().lower())
            if frame is None:
                raise UserError(
                    f'{path} says that its coordinate system is {field[2]!r}',
                    expected=f'one of {", ".join(SLICER_FRAMES)}',
                    fix='correct that line',
                )
    _check_frame(path, frame, units)
    if names is None:
        if width != 3:
            raise UserError(
                f'{path} has {width} columns and no header',
                expected='three columns, or a first line that names them',
                fix='add a line such as label,x,y,z',
            )
        return Columns((0, 1, 2), units)
    try:
        return choose_columns(named_columns(names), units or frame, names)
    except UserError as error:
        raise UserError(f'{path}: {error.found}', expected=error.expected, fix=error.fix) from error


def _coordinates(path: Path, line: int, row: Sequence[str], columns: tuple[int, int, int]) -> list[float]:
    if len(row) <= max(columns):
        raise UserError(
            f'{path}, line {line}: {len(row)} columns',
            expected=f'coordinates in columns {", ".join(str(column + 1) for column in columns)}',
            fix='give every point three coordinates, separated by commas',
        )
    values = [_number(row[column]) for column in columns]
    for column, value in zip(columns, values, strict=True):
        if value is None or not abs(value) <= LONGEST_MM:
            raise UserError(
                f'{path}, line {line}, column {column + 1}: {row[column]!r} is no finite number up to {LONGEST_MM:g}',
                expected='three coordinates',
                fix='correct or remove this line',
            )
    return values
