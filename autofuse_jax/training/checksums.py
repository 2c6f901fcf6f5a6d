"""Checksums of what a checkpoint holds.

Orbax's formats protect their indices, but not the values of arrays: it gives Zarr 3 the codec crc32c for the index of
shards only, leaves the checksum of zstd off, and has no option for either. A flipped bit would load as another number.
So the record that lies beside the arrays has a CRC-32 of each of them, and one of itself.
"""

import json
import zlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

ARRAYS, RECORD = 'array_checksums', 'record_checksum'


class DamageError(ValueError):
    """What was read is not what was written."""


def sealed(record: Mapping[str, Any], arrays: Any) -> dict[str, Any]:
    """Return a record with the checksums of arrays and of itself.

    Args:
        record: JSON-compatible.
        arrays: Tree of the arrays that are saved with it; each process has all of their values.
    """
    content = json.loads(json.dumps(dict(record))) | {ARRAYS: _array_checksums(arrays)}
    return content | {RECORD: _of_text(content)}


def opened(record: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str] | None]:
    """Check a record and take its checksums out.

    Args:
        record: The record as it was read.

    Returns:
        The record that was given to `sealed`, and the checksums of the arrays by name; None for a record from before
        there were any.

    Raises:
        DamageError: The record differs from what was written.
    """
    content = dict(record)
    seal = content.pop(RECORD, None)
    # Damage to the name of one of the two leaves the other.
    if seal is None and ARRAYS not in content:
        return content, None
    if seal != _of_text(content):
        raise DamageError('the checksum of its record differs')
    return content, content.pop(ARRAYS)


def check_arrays(arrays: Any, checksums: Mapping[str, str]) -> None:
    """Check arrays that were read.

    Args:
        arrays: Tree of arrays, some or all of those that were saved, in the types that they were saved in.
        checksums: Checksums by name, from `opened`.

    Raises:
        DamageError: One of them differs from what was written.
    """
    different = [name for name, checksum in _array_checksums(arrays).items() if checksums.get(name) != checksum]
    if different:
        more = f' and of {len(different) - 1} more' if len(different) > 1 else ''
        raise DamageError(f'the checksum of {different[0]}{more} differs')


def leaf_names(tree: Any) -> dict[str, Any]:
    """Return the leaves of a tree by their names: keys and positions, joined by '/'.

    Tuples come back from a checkpoint as lists and structs as dictionaries: only the names and positions matter here.
    """
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {'/'.join(_key_name(key) for key in path): leaf for path, leaf in leaves}


def _array_checksums(arrays: Any) -> dict[str, str]:
    return {name: _of_array(_values(leaf)) for name, leaf in leaf_names(arrays).items()}


def _values(leaf: Any) -> np.ndarray:
    """Values of an array; of random keys what they are made of."""
    keys = isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(leaf) if keys else leaf)


def _of_array(array: np.ndarray) -> str:
    header = f'{array.dtype.name} {array.shape}'.encode()
    # As bytes, because the types of low precision that NumPy does not know have no buffer.
    return f'{zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data, zlib.crc32(header)):08x}'


def _of_text(content: Mapping[str, Any]) -> str:
    return f'{zlib.crc32(json.dumps(content, sort_keys=True).encode()):08x}'


def _key_name(key: Any) -> str:
    for attribute in ('key', 'name', 'idx'):
        if hasattr(key, attribute):
            return str(getattr(key, attribute))
    return str(key)
