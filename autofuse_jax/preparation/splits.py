"""Which subject belongs to which split: read from a file, or drawn once and for all by a fixed seed."""

import hashlib
import os
from collections.abc import Mapping

from autofuse_jax.choices import SPLITS
from autofuse_jax.errors import UserError
from autofuse_jax.records.reading import read_json

SPLITS_NAME = 'splits.json'
SPLITS_EXAMPLE = '{"train": ["patient001"], "validation": ["patient002"]}'


def read_splits(path: str | os.PathLike, dataset: str) -> dict[str, str]:
    """Read the splits of a data set.

    Args:
        path: JSON file: {"train": [ids], "validation": [ids], "test": [ids]}, or several of those under data set names.
        dataset: Name of the data set, such as 'acdc', in a file with several.

    Returns:
        Subject id to split.

    Raises:
        UserError: No such file, not of that form, no subject at all, or a subject that is listed twice.
    """
    expected = f'JSON such as {SPLITS_EXAMPLE}, or that under the key {dataset!r}'
    content = read_json(path, kind='the splits file', expected=expected)
    if isinstance(content, dict) and not set(content) & set(SPLITS):
        content = content.get(dataset)
    if not isinstance(content, dict) or not content or not set(content) <= set(SPLITS):
        raise UserError(f'the splits file {path} has no splits of {dataset}', expected=expected)
    split_of: dict[str, str] = {}
    for split, ids in content.items():
        if not isinstance(ids, list) or not all(isinstance(name, str) for name in ids):
            raise UserError(f'{split!r} in the splits file {path} is not a list of subject ids', expected=expected)
        for name in ids:
            if name in split_of:
                raise UserError(
                    f'the splits file {path} lists {name} twice ({split_of[name]} and {split})',
                    fix='keep every subject in one split, so that no subject is both learned from and tested on',
                )
            split_of[name] = split
    if not split_of:
        raise UserError(f'the splits file {path} lists no subject', expected=expected)
    return split_of


def draw_validation(group_of: Mapping[str, str], count: int, seed: int) -> list[str]:
    """Draw validation subjects evenly from the groups.

    The order within a group is that of sha256('seed:id'), so the choice depends neither on the version of a random
    number generator nor on the order of the files; groups then take turns.

    Args:
        group_of: Subject id to group.
        count: Number to draw, at most all.
        seed: Another seed, another choice.

    Returns:
        The drawn ids, sorted.
    """
    group_counts: dict[str, int] = {}
    ranked = []
    # Names of files need not be UTF-8; those that are give the same bytes on every computer.
    hashes = {
        name: hashlib.sha256(f'{seed}:{name}'.encode('utf-8', 'surrogateescape')).hexdigest() for name in group_of
    }
    for key, name in sorted((hashes[name], name) for name in group_of):
        rank = group_counts.get(group_of[name], 0)
        group_counts[group_of[name]] = rank + 1
        ranked.append((rank, key, name))
    return sorted(name for _, _, name in sorted(ranked)[:count])
