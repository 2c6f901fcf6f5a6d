"""What trials of the campaign come to, and how they are counted."""

import dataclasses
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

TRACEBACK = 'Traceback (most recent call last)'
# Faults that a trial may show: results lost or a command that does not go on; a traceback or a crash; a value that is
# neither right nor refused.
LOST, TRACEBACKS, WRONG = FAULTS = 'lost', 'tracebacks', 'silently_wrong'
# Words of a fault that are kept.
SHOWN = 600


@dataclasses.dataclass
class Trial:
    """One trial.

    Attributes:
        kind: Kind of trial, such as 'kills'.
        name: Name of what was tried, such as 'register --overwrite'.
        about: Circumstances, such as the moment, for whoever tries it again.
        faults: Fault and description of each that was seen.
        seconds: Seconds that it took.
    """

    kind: str
    name: str
    about: str = ''
    faults: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    seconds: float = 0.0

    def expect(self, holds: bool, fault: str, description: str) -> bool:
        """Note a fault unless something holds; return whether it does."""
        if not holds:
            self.faults.append((fault, description[-SHOWN:]))
        return holds

    def read_output(self, text: str) -> None:
        """Note a traceback in what a command printed."""
        self.expect(TRACEBACK not in text and 'Fatal Python error' not in text, TRACEBACKS, text)


@contextmanager
def trial(trials: list[Trial], kind: str, name: str, about: str = '') -> Iterator[Trial]:
    """Time a trial and add it to the others; print it where it shows a fault."""
    one = Trial(kind, name, about)
    started = time.monotonic()
    yield one
    one.seconds = time.monotonic() - started
    trials.append(one)
    for fault, description in one.faults:
        print(f'{fault}: {kind}, {name}, {one.about}: {description}', flush=True)


def counts(trials: list[Trial]) -> dict[str, Any]:
    """Return trials, faults and seconds, together and by name."""
    return _count(trials) | {'of': {name: _count([t for t in trials if t.name == name]) for name in _names(trials)}}


def _names(trials: list[Trial]) -> list[str]:
    return list(dict.fromkeys(one.name for one in trials))


def _count(trials: list[Trial]) -> dict[str, Any]:
    seen = {fault: sum(any(kind == fault for kind, _ in one.faults) for one in trials) for fault in FAULTS}
    return {'trials': len(trials), **seen, 'seconds': round(sum(one.seconds for one in trials), 1)}


def faults_of(trials: list[Trial]) -> list[dict[str, str]]:
    """Return every fault with its circumstances."""
    return [
        {'kind': one.kind, 'name': one.name, 'about': one.about, 'fault': fault, 'says': description}
        for one in trials
        for fault, description in one.faults
    ]
