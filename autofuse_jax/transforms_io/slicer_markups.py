"""Points that 3D Slicer saves as .mrk.json: the control points of its markups, in the frame that the file names."""

import dataclasses
from pathlib import Path

import numpy as np

from autofuse_jax.choices import MILLIMETRES, MILLIMETRES_LPS
from autofuse_jax.errors import UserError
from autofuse_jax.records.forms import Anything, Entries, Fields, Number, OrNull, Text
from autofuse_jax.records.reading import read_json

MARKUPS_SUFFIX = '.json'
# The frame of a list that does not name it, and the status of a point that has its place.
DEFAULT_FRAME, DEFINED = 'LPS', 'defined'
# Coordinate systems of markups, and the units of points in them.
FRAMES = {'RAS': MILLIMETRES, 'LPS': MILLIMETRES_LPS}
UNIT = 'mm'
# The schema of Slicer also allows a unit as three texts: its code, what it is a code of, and its name.
CODED_UNIT = ['mm', 'UCUM', 'millimeter']
CONTROL_POINT = Fields(
    {}, {'label': OrNull(Text()), 'position': OrNull(Entries(Number(), 3, 3)), 'positionStatus': Text()}
)
MARKUPS = Fields(
    {
        'markups': Entries(
            Fields(
                {'controlPoints': Entries(CONTROL_POINT)}, {'coordinateSystem': Text(), 'coordinateUnits': Anything()}
            )
        )
    }
)


@dataclasses.dataclass(frozen=True, eq=False)
class ControlPoints:
    """The points of a file.

    Attributes:
        labels: Name of each point, '' where it has none.
        points: float64 (N, 3), as they are in the file.
        units: Unit and frame of the coordinates, a value of `FRAMES`.
    """

    labels: tuple[str, ...]
    points: np.ndarray
    units: str


def is_markups(path: Path) -> bool:
    """Tell by the suffix whether a file may hold markups of Slicer."""
    return path.suffix.lower() == MARKUPS_SUFFIX


def read_markups(path: Path) -> ControlPoints:
    """Read the control points of markups.

    Args:
        path: The file; it holds one list of points.

    Returns:
        The points.

    Raises:
        UserError: It cannot be read, holds something else, no list or several, no points, points without a place, or
            counts in something else than millimetres of a known frame.
    """
    expected = 'markups that 3D Slicer saved as .mrk.json, or a CSV file of points'
    lists = read_json(path, MARKUPS, misfit='holds no points', expected=expected, fix='check the file')['markups']
    if len(lists) != 1 or not lists[0]['controlPoints']:
        found = 'a list without points' if len(lists) == 1 else f'{len(lists)} lists of points'
        raise UserError(f'{path} holds {found}', expected='one list of points', fix='save one list with its points')
    (markups,) = lists
    frame, unit = markups.get('coordinateSystem', DEFAULT_FRAME), markups.get('coordinateUnits', UNIT)
    if frame not in FRAMES or unit not in (UNIT, CODED_UNIT):
        raise UserError(
            f'{path} says that its coordinates are {frame} in {unit}',
            expected=f'millimetres, {" or ".join(FRAMES)}',
            fix='save it in one of these',
        )
    points = markups['controlPoints']
    for number, point in enumerate(points, start=1):
        if point.get('position') is None or point.get('positionStatus', DEFINED) != DEFINED:
            raise UserError(
                f'point {number} of {path} has no place', expected='a place for each', fix='place it or remove it'
            )
    return ControlPoints(
        tuple(point.get('label') or '' for point in points),
        np.array([point['position'] for point in points], np.float64),
        FRAMES[frame],
    )
