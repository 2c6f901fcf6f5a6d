"""Which columns of a table are coordinates, and in what they are counted: told by their names, never guessed."""

import dataclasses
import re
from collections.abc import Sequence

from autofuse_jax.choices import MILLIMETRES, MILLIMETRES_LPS, VOXELS
from autofuse_jax.errors import UserError

# Letters of three coordinates, and what they are counted in where the letters alone say it.
LETTERS = {
    ('x', 'y', 'z'): None,
    ('r', 'a', 's'): MILLIMETRES,
    ('l', 'p', 's'): MILLIMETRES_LPS,
    ('i', 'j', 'k'): VOXELS,
    ('d', 'h', 'w'): VOXELS,
}
# Words beside the letters: x_mm, ras_x, voxel_x. Those of any point say nothing more.
WORDS = {
    'ras': MILLIMETRES,
    'lps': MILLIMETRES_LPS,
    **dict.fromkeys(('vox', 'voxel', 'voxels', 'ijk', 'index'), VOXELS),
}
MILLIMETRE_WORDS = {'mm', 'millimetre', 'millimetres', 'millimeter', 'millimeters'}
PLAIN_WORDS = {'coord', 'coordinate', 'pos', 'position', 'point', 'world', 'physical', 'center', 'centre'}
KNOWN_NAMES = 'x, y, z; r, a, s; l, p, s; i, j, k or d, h, w, also with mm, ras, lps or voxel (x_mm, lps_x)'


@dataclasses.dataclass(frozen=True)
class Columns:
    """Three columns of coordinates.

    Attributes:
        numbers: Numbers of the columns, from 0.
        units: Unit and frame that their names say, a key of `choices.POINT_UNITS`; None where they say none.
        others: Numbers of the columns of other sets, of which these were chosen.
    """

    numbers: tuple[int, int, int]
    units: str | None = None
    others: tuple[int, ...] = ()


def named_columns(names: Sequence[str]) -> list[Columns]:
    """Return all sets of three columns that are named as coordinates.

    Args:
        names: Names of the columns.

    Returns:
        The sets; none where no names are known.

    Raises:
        UserError: Two columns have the same name and could both be meant.
    """
    numbers: dict[tuple[str, frozenset[str]], int] = {}
    for number, name in enumerate(names):
        parts = _parts(name)
        if parts is None:
            continue
        if parts in numbers:
            raise UserError(
                f'two columns are named {name.strip()}', expected='one column for each coordinate', fix='rename one'
            )
        numbers[parts] = number
    sets = []
    for letters, units in LETTERS.items():
        for words in dict.fromkeys(words for letter, words in numbers if letter == letters[0]):
            if all((letter, words) in numbers for letter in letters):
                first, second, third = (numbers[letter, words] for letter in letters)
                sets.append(Columns((first, second, third), units or _units(words)))
    return sets


def choose_columns(sets: Sequence[Columns], units: str | None, names: Sequence[str]) -> Columns:
    """Choose the columns of coordinates.

    Args:
        sets: What `named_columns` returned.
        units: Unit and frame that the user names; None: what the names of the columns say.
        names: Names of all columns, for messages.

    Returns:
        The set, its units never None: RAS millimetres where nobody says anything.

    Raises:
        UserError: None or several fit.
    """
    header = ', '.join(name.strip() for name in names)
    if not sets:
        raise UserError(
            f'the columns are named {header}', expected=f'coordinates named {KNOWN_NAMES}', fix='rename the columns'
        )
    fitting = [one for one in sets if units is None or one.units in (None, units)]
    exact = [one for one in fitting if units is not None and one.units == units]
    fitting = exact or fitting
    if len(fitting) != 1:
        counts = ' and '.join(dict.fromkeys(one.units or 'no unit' for one in sets))
        raise UserError(
            f'the columns {header} are named as coordinates in {counts}',
            expected=f'columns in {units}' if units and not fitting else 'one set of three coordinates',
            fix='name the one that is meant with --points-units' if len(fitting) > 1 else 'correct --points-units',
        )
    (chosen,) = fitting
    others = {number for one in sets for number in one.numbers} - set(chosen.numbers)
    return dataclasses.replace(chosen, units=chosen.units or units or MILLIMETRES, others=tuple(sorted(others)))


def _parts(name: str) -> tuple[str, frozenset[str]] | None:
    """Letter of a coordinate and the words beside it; None for any other column."""
    words = re.findall(r'[a-z]+|[0-9]+', name.lower())
    letters = [word for word in words if any(word in letters for letters in LETTERS)]
    others = frozenset(words) - set(letters)
    if len(letters) != 1 or not others <= {*WORDS, *MILLIMETRE_WORDS, *PLAIN_WORDS}:
        return None
    return letters[0], others


def _units(words: frozenset[str]) -> str | None:
    return next((WORDS[word] for word in WORDS if word in words), None)
