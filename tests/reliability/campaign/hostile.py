"""Hostile files and flipped bits: every file is read as it was, or refused in one sentence."""

import contextlib
import json
import pickle
import random
import shutil
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from autofuse_jax.errors import UserError
from tests.reliability.campaign.binary_kinds import BINARY_KINDS, Kind
from tests.reliability.campaign.damage import damaged_bytes, damaged_json, damaged_words, flipped_bit
from tests.reliability.campaign.json_kinds import JSON_KINDS
from tests.reliability.campaign.outcomes import TRACEBACKS, WRONG, Trial, trial
from tests.reliability.campaign.processes import ask
from tests.reliability.campaign.stage import Stage

HOSTILE, FLIPS = 'hostile files', 'flipped bits'
# A message to the user can be read.
LONGEST_MESSAGE = 3000


def read_hostile(stage: Stage, each: int, rng: random.Random) -> tuple[list[Trial], list[str]]:
    """Read damaged files of every kind, so many of each.

    Args:
        stage: The stage.
        each: Number of files of each kind.
        rng: Source of the damage.

    Returns:
        The trials, and kinds that were skipped because a package is missing.
    """
    kinds = {name: Kind(make) for name, make in JSON_KINDS.items()} | BINARY_KINDS
    return _each_kind(stage, kinds, HOSTILE, each, rng)


def read_flipped(stage: Stage, each: int, rng: random.Random) -> tuple[list[Trial], list[str]]:
    """Read files with a single flipped bit, so many of each kind that has a checksum; see `read_hostile`."""
    return _each_kind(stage, {n: kind for n, kind in BINARY_KINDS.items() if kind.sealed}, FLIPS, each, rng)


def _each_kind(stage, kinds, what: str, each: int, rng: random.Random) -> tuple[list[Trial], list[str]]:
    trials: list[Trial] = []
    skipped = []
    for name, kind in kinds.items():
        if kind.missing:
            skipped.append(f'{name}: {kind.needs} is not installed')
            continue
        trials += in_a_process(stage, what, name, each, (name, each, rng.randrange(2**32), what))
    return trials, skipped


def in_a_process(stage: Stage, what: str, name: str, each: int, arguments: tuple, function=None) -> list[Trial]:
    """Read in a process of its own, which a library may crash: that counts as a traceback."""
    folder = stage.folder(what)
    try:
        return ask(function or _read_kind, folder, *arguments, log=stage.log())
    except RuntimeError as error:
        crash = Trial(what, name, f'one of {each}')
        crash.expect(False, TRACEBACKS, str(error))
        return [crash]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _read_kind(folder: Path, name: str, each: int, seed: int, what: str) -> list[Trial]:
    rng = random.Random(seed)
    trials: list[Trial] = []
    kind = BINARY_KINDS.get(name)
    path, read = kind.make(folder) if kind else JSON_KINDS[name](folder)
    content = path.read_bytes()
    original = try_reading(lambda: read(path))
    for number in range(each):
        with trial(trials, what, name, f'file {number} of seed {seed}') as one:
            path.write_bytes(_damaged(kind, content, rng, what))
            check_reading(one, lambda: read(path), original if kind and kind.sealed and what == FLIPS else None)
    return trials


def _damaged(kind: Kind | None, content: bytes, rng: random.Random, what: str) -> bytes:
    if what == FLIPS:
        return flipped_bit(content, rng, kind.sealed(content))
    if kind is None:
        return damaged_json(json.loads(content), rng)
    return damaged_words(content.decode(), rng) if kind.words else damaged_bytes(content, rng)


def try_reading(read: Callable[[], Any]) -> Any:
    """Return what is read as bytes that can be compared; what is refused is its message."""
    try:
        return pickle.dumps(_plain(read()))
    except UserError as error:
        return str(error)


def check_reading(one: Trial, read: Callable[[], Any], original: Any) -> None:
    """Read a damaged file and note a traceback, a message of several lines, or other values than the original's.

    Args:
        one: The trial.
        read: Function that reads it.
        original: Outcome of `try_reading` of the file as it was; None where no checksum protects it.
    """
    try:
        with warnings.catch_warnings(), np.errstate(all='ignore'), silent():
            warnings.simplefilter('ignore')
            value = read()
    except (UserError, OSError) as error:
        # Commands tell what the system says in a line of theirs.
        one.expect(len(str(error)) < LONGEST_MESSAGE or isinstance(error, OSError), TRACEBACKS, f'too long: {error}')
    except BaseException:
        one.expect(False, TRACEBACKS, traceback.format_exc())
    else:
        same = original is None or pickle.dumps(_plain(value)) == original
        one.expect(same, WRONG, 'other values were read, and no checksum was checked')


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Leave remarks out."""
    # As commands have their streams.
    with (
        open('/dev/null', 'w', errors='backslashreplace') as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        yield


def _plain(value: Any) -> Any:
    """Return a value whose pickle depends on its content alone."""
    if isinstance(value, tuple | list):
        return [_plain(inner) for inner in value]
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    return value if isinstance(value, str | int | float | type(None)) else repr(value)
