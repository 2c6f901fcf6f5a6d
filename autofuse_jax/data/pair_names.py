"""What pairs are called that nobody named: after their files, as the name of a folder."""

import hashlib
import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from autofuse_jax.data.file_kinds import stem_of
from autofuse_jax.records.paths import LONGEST_NAME

# What file systems and shells everywhere take as the name of a folder.
NAMES = re.compile(r'[\w][\w .+@=-]*')
GOOD_NAME = 'letters, digits, spaces and . + @ = - _ only, a letter or a digit first'
NOT_IN_NAMES = re.compile(r'[^\w .+@=-]+')
SEPARATOR = '_to_'
# Digits of a hash that tell two names apart.
DIGITS = 8


def is_folder_name(name: str) -> bool:
    """Tell whether the folder of a pair can have a name.

    Args:
        name: The name.
    """
    return bool(NAMES.fullmatch(name)) and len(os.fsencode(name)) <= LONGEST_NAME


def pair_names(given: Sequence[str], files: Sequence[tuple[Path, Path] | None]) -> list[str]:
    """Return given names, and names after the files where none is given.

    A name is MOVING_to_FIXED, with as many folders before each file as it takes to tell the pairs apart. What the name
    of a folder cannot hold becomes '_'; where two names are alike then, or one is too long, digits of a hash of the
    files' names follow, which do not depend on the order of the rows.

    Args:
        given: Given name of each pair; empty where it has none.
        files: Moving and fixed file of each pair; None where one of them is missing.

    Returns:
        The names; those of the same two files are the same, and those without files empty.
    """
    names = list(given)
    open_rows = {row: pair for row, pair in enumerate(files) if pair is not None and not given[row]}
    for depth in range(1, 1 + max((len(fixed.resolve().parts) for _, fixed in open_rows.values()), default=0)):
        for row, pair in open_rows.items():
            names[row] = SEPARATOR.join(_file_name(file, depth) for file in pair)
        if max(Counter(name for name in names if name).values()) == 1:
            break
    folders = {row: _folder_name(names[row]) for row in open_rows}
    meant: dict[str, set[str]] = {}
    for row, name in enumerate(names):
        if name:
            meant.setdefault(folders.get(row, name).lower(), set()).add(name)
    for row, folder in folders.items():
        alike = len(meant[folder.lower()]) > 1
        names[row] = _with_hash(folder, names[row]) if alike or not is_folder_name(folder) else folder
    return names


def _file_name(file: Path, depth: int) -> str:
    """Name of a file without suffix after the names of as many folders as there are beyond a depth of 1."""
    folders = file.resolve().parts[1:-1]
    return '-'.join([*folders[len(folders) - min(depth - 1, len(folders)) :], stem_of(file)])


def _folder_name(name: str) -> str:
    return re.sub(r'^\W+', '', NOT_IN_NAMES.sub('_', name))


def _with_hash(folder: str, name: str) -> str:
    digits = hashlib.sha256(name.encode('utf-8', 'surrogateescape')).hexdigest()[:DIGITS]
    start = os.fsencode(folder)[: LONGEST_NAME - DIGITS - 1]
    return f'{start.decode("utf-8", "ignore")}-{digits}'
