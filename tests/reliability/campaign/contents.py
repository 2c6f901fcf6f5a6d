"""What a folder holds: its visible files as they are, and what two runs of one command must agree in."""

import hashlib
import json
from pathlib import Path

import numpy as np

# Entries of records that differ between two runs of one command.
# Exported programs of one command may differ in their bytes, and so in the hash that their record holds.
PASSING = frozenset({'seconds', 'times', 'date', 'command', 'commit', 'pairs_per_second', 'sha256'})
# Parts of the names of what is left over by a command that did not end; a lock is one, too.
LEFTOVERS = ('.writing-', '.replaced-', '.ready-', '.replacement', '.orbax-checkpoint-tmp', '.lock')


def files_of(folder: Path) -> list[Path]:
    """Return the files below a folder that are no leftovers, in order."""
    return sorted(path for path in folder.rglob('*') if path.is_file() and not _is_leftover(path, folder))


def leftovers_of(folder: Path) -> list[str]:
    """Return the names of leftovers below a folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob('*') if _is_leftover(path, folder))


def _is_leftover(path: Path, folder: Path) -> bool:
    return any(part in str(path.relative_to(folder)) for part in LEFTOVERS)


def bytes_of(folder: Path) -> dict[str, str]:
    """Return a hash of every file below a folder by its name."""
    return {str(path.relative_to(folder)): _hash(path.read_bytes()) for path in files_of(folder)}


def facts_of(folder: Path) -> dict[str, str]:
    """Return by name what two runs of one command must agree in.

    Arrays count by their values, records without the entries that pass, pages and pictures by being there.
    """
    return {str(path.relative_to(folder)): _fact(path) for path in files_of(folder)}


def _fact(path: Path) -> str:
    if path.suffix == '.json':
        return _hash(json.dumps(_lasting(json.loads(path.read_text(encoding='utf-8'))), sort_keys=True).encode())
    if path.suffix == '.npz':
        with np.load(path) as arrays:
            return _hash(b''.join(name.encode() + arrays[name].tobytes() for name in sorted(arrays)))
    if path.suffix in ('.html', '.md', '.png', '.stablehlo'):
        return 'empty' if path.stat().st_size == 0 else 'page'
    return _hash(path.read_bytes())


def _lasting(value):
    if isinstance(value, dict):
        return {name: _lasting(inner) for name, inner in value.items() if name not in PASSING}
    return [_lasting(inner) for inner in value] if isinstance(value, list) else value


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
