"""Which brain belongs to which split: a file, what the layout says, or the rule of the data set."""

import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from autofuse_jax.choices import SPLITS
from autofuse_jax.errors import UserError
from autofuse_jax.preparation.found_brains import FoundBrains
from autofuse_jax.preparation.persons import images_of_persons
from autofuse_jax.preparation.splits import SPLITS_NAME, draw_validation, read_splits
from autofuse_jax.records.reading import read_json

# The paper's numbers: 314 training, 20 validation and 80 test subjects of the 414 of neurite-OASIS.
OASIS_TOTAL, OASIS_VALIDATION, OASIS_TEST = 414, 20, 80
SPLIT_SEED = 2023
# Of a folder without splits; fewer than two validation subjects cannot be paired with one another.
FOLDER_VALIDATION_FRACTION = 0.1
FOLDER_SMALLEST = 6

# Of the persons.
Rule = Callable[[Sequence[str]], tuple[dict[str, str], str]]


def split_brains(
    source: FoundBrains, dataset: str, name: str, root: Path, splits_file: str | os.PathLike | None
) -> tuple[dict[str, str], str]:
    """Decide the split of every subject.

    The first of these that there is: the file that the user names; splits.json in the folder or the one above it, where
    it has this data set; what the layout itself says (Learn2Reg, the official code); the rule of the data set. The rule
    puts all images of a person into one split, see `persons`.

    Args:
        source: The subjects.
        dataset: A key of `SPLIT_RULES`.
        name: Key of the data set in a file with several.
        root: Folder of the data.
        splits_file: File that the user names, or None.

    Returns:
        Subject id to split, and the rule in words.

    Raises:
        UserError: A splits file is unusable.
    """
    path = splits_file or nearby_splits(root, name)
    if path is not None:
        return read_splits(path, name), f'listed in {Path(path).name}'
    ids = [brain.id for brain in source.brains]
    if any(brain.split for brain in source.brains):
        split_of = {brain.id: brain.split or 'train' for brain in source.brains}
        return split_of, f'as the source says ({source.layout})'
    images = images_of_persons(ids)
    split_of, rule = SPLIT_RULES[dataset](list(images))
    return {name: split for person, split in split_of.items() for name in images[person]}, rule


def nearby_splits(root: Path, name: str) -> Path | None:
    """Return splits.json in a folder or the one above it where it has this data set, or None."""
    for folder in (root, root.resolve().parent):
        path = folder / SPLITS_NAME
        if not path.is_file():
            continue
        try:
            content = read_json(path)
        except UserError:
            # Told properly by whoever reads it.
            return path
        # Splits without a data set's name count for the folder they lie in, not for others beside it.
        if isinstance(content, dict) and (name in content or (folder == root and set(content) & set(SPLITS))):
            return path
    return None


def _oasis(ids: Sequence[str]) -> tuple[dict[str, str], str]:
    share = len(ids) / OASIS_TOTAL
    test, validation = round(OASIS_TEST * share), round(OASIS_VALIDATION * share)
    test_and_validation = draw_validation(dict.fromkeys(ids, ''), test + validation, SPLIT_SEED)
    tested = set(draw_validation(dict.fromkeys(ids, ''), test, SPLIT_SEED))
    split_of = {
        name: ('test' if name in tested else 'validation') if name in test_and_validation else 'train' for name in ids
    }
    train = len(ids) - test - validation
    return split_of, f'{train} train, {validation} validation, {test} test, drawn with seed {SPLIT_SEED}'


def _folder(ids: Sequence[str]) -> tuple[dict[str, str], str]:
    if len(ids) < FOLDER_SMALLEST:
        return dict.fromkeys(ids, 'train'), f'fewer than {FOLDER_SMALLEST} subjects, all train'
    count = max(2, math.ceil(FOLDER_VALIDATION_FRACTION * len(ids)))
    validation = draw_validation(dict.fromkeys(ids, ''), count, SPLIT_SEED)
    split_of = dict.fromkeys(ids, 'train') | dict.fromkeys(validation, 'validation')
    return split_of, f'{count} of {len(ids)} subjects drawn with seed {SPLIT_SEED} are validation, the others train'


def _all(split: str) -> Rule:
    return lambda ids: (dict.fromkeys(ids, split), f'all {split}')


SPLIT_RULES: dict[str, Rule] = {
    'oasis': _oasis,
    'mindboggle': _all('test'),
    'buckner': _all('test'),
    'ixi': _all('train'),
    'adni': _all('train'),
    'abide': _all('train'),
    'adhd': _all('train'),
    'folder': _folder,
}
