"""What NRRD headers say and SimpleITK does not: the unit of length and the description."""

import os
import re

from autofuse_jax.errors import UserError

MILLIMETRES_PER_UNIT = {
    **dict.fromkeys(('mm', 'millimeter', 'millimeters', 'millimetre', 'millimetres', ''), 1.0),
    **dict.fromkeys(('um', '\u00b5m', '\u03bcm', 'micron', 'microns', 'micrometer', 'micrometre'), 0.001),
    **dict.fromkeys(('cm', 'centimeter', 'centimetre'), 10.0),
    **dict.fromkeys(('m', 'meter', 'metre', 'meters', 'metres'), 1000.0),
}
# A header is text before the first empty line; no header is longer.
LONGEST_HEADER = 1 << 20


def read_nrrd_fields(path: str | os.PathLike) -> dict[str, str]:
    """Read the fields 'name: value' of a NRRD header.

    Args:
        path: A .nrrd or .nhdr file.

    Returns:
        Names in lower case to values.
    """
    with open(path, 'rb') as file:
        header = file.read(LONGEST_HEADER)
    text = re.split(rb'\r?\n\r?\n', header, maxsplit=1)[0].decode('utf-8', 'replace')
    pairs = (line.split(': ', 1) for line in text.splitlines() if not line.startswith('#') and ': ' in line)
    return {name.strip().lower(): value.strip() for name, value in pairs}


def nrrd_unit_mm(path: str | os.PathLike, fields: dict[str, str]) -> float:
    """Return how many millimetres the unit of length of a NRRD file has; 1 where it names none.

    Args:
        path: The file, for messages.
        fields: Fields of its header.

    Raises:
        UserError: The unit is not known, or the axes have different ones.
    """
    names = set(re.findall(r'"([^"]*)"', fields.get('space units', '')))
    scales = {MILLIMETRES_PER_UNIT.get(name.strip().lower()) for name in names} or {1.0}
    scale = scales.pop()
    if scales or scale is None:
        raise UserError(
            f'{path} counts lengths in {", ".join(sorted(names))}',
            expected='one of mm, um, cm and m for all axes',
            fix='correct its field "space units"',
        )
    return scale
