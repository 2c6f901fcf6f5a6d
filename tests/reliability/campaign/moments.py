"""Moments at which a command is killed: any time, while results are written, or right before a name changes."""

import itertools
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from autofuse_jax.storage import swaps
from tests.reliability.campaign.contents import LEFTOVERS
from tests.reliability.campaign.processes import Running

# Functions of `os` by which a name appears, changes or goes.
NAME_CHANGES = ('rename', 'replace', 'link', 'unlink', 'rmdir', 'mkdir')
# Seconds after results begin to be written, in which a small command ends.
WRITING_SECONDS = 0.15


def watch_names(reach: Callable[[], None]) -> None:
    """Let `reach` be called in this process before each change of a name."""

    def watched(function):
        def call(*arguments, **options):
            reach()
            return function(*arguments, **options)

        return call

    for name in NAME_CHANGES:
        setattr(os, name, watched(getattr(os, name)))
    swaps._rename_both = watched(swaps._rename_both)


def kill_at(moment: int) -> None:
    """Let this process kill itself before the change of a name with this number, from 0."""
    left = itertools.count(moment, -1)

    def reach():
        if next(left) == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    watch_names(reach)


def count_changes(file: Path) -> None:
    """Let this process write one byte to a file before each change of a name."""
    handle = os.open(file, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o666)
    watch_names(lambda: os.write(handle, b'.'))


def writes(folder: Path) -> bool:
    """Tell whether a command has begun to write into a folder or beside it."""
    return any(any(part in name for part in LEFTOVERS if part != '.lock') for name in _names(folder.parent))


def _names(folder: Path) -> Iterator[str]:
    for _, folders, files in os.walk(folder):
        yield from folders
        yield from files


def kill_sometime(running: Running, rng: random.Random, seconds: float) -> str:
    """Kill a command at any time of those that it takes; return the moment in words."""
    moment = rng.uniform(0, seconds)
    running.wait(seconds=moment)
    running.kill()
    return f'{moment:.3f} s after its start'


def kill_while(running: Running, rng: random.Random, begins: Callable[[], bool], seconds: float) -> str:
    """Kill a command so long after something begins, or at its end where that never does; return the moment."""
    moment = rng.uniform(0, seconds)
    running.wait(until=begins)
    time.sleep(moment)
    running.kill()
    return f'{moment:.3f} s after it began'
