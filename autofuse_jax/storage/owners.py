"""Processes as owners of files: which one made something, and whether it still runs."""

import dataclasses
import enum
import functools
import hashlib
import os
import socket
import subprocess
from pathlib import Path
from typing import NamedTuple

TOKEN_LENGTH = 8
# Fields of /proc/PID/stat behind the name of the command, which may hold spaces and brackets.
STATE_FIELD, START_FIELD = 0, 19
ENDED_STATES = ('Z', 'X')


class Life(enum.Enum):
    """What is known of a process: it runs, it has ended, or it cannot be seen from here."""

    RUNS = enum.auto()
    ENDED = enum.auto()
    UNKNOWN = enum.auto()


@dataclasses.dataclass(frozen=True)
class Owner:
    """A process. Numbers of processes are given again, so that the moment of its start belongs to it.

    Attributes:
        machine: Token of the running system whose process numbers these are: host, boot and container.
        process: Number of the process.
        started: Token of the moment of its start.
    """

    machine: str
    process: int
    started: str

    def life(self) -> Life:
        """Find out whether the process still runs; one that has ended and waits for its parent does not."""
        if self.machine != machine() or os.name != 'posix':
            return Life.UNKNOWN
        status = _status(self.process)
        if status is None:
            return Life.ENDED
        return Life.RUNS if status.started == self.started and not status.ended else Life.ENDED


class _Status(NamedTuple):
    started: str
    ended: bool


def this_process() -> Owner:
    """Return the process that asks."""
    return _owner(os.getpid())


# A process that was forked has another number.
@functools.cache
def _owner(process: int) -> Owner:
    status = _status(process) if os.name == 'posix' else None
    return Owner(machine(), process, status.started if status else '0')


@functools.cache
def machine() -> str:
    """Return the token of this system: two with the same token see the same processes under the same numbers."""
    facts = [socket.gethostname()]
    for path in ('/proc/sys/kernel/random/boot_id', '/proc/self/ns/pid'):
        try:
            facts.append(os.readlink(path) if path.endswith('pid') else Path(path).read_text(encoding='ascii'))
        except OSError:
            # Other systems than Linux have neither.
            facts.append('')
    return token('\n'.join(facts))


def token(text: str) -> str:
    """Return a short name of a text, made of digits and the letters a to f."""
    return hashlib.sha256(os.fsencode(text)).hexdigest()[:TOKEN_LENGTH]


def _status(process: int) -> _Status | None:
    """Start and end of a process; None where there is none of that number."""
    if not Path('/proc/self/stat').exists():
        return _status_by_ps(process)
    try:
        fields = Path(f'/proc/{process}/stat').read_bytes().rpartition(b')')[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return _Status(fields[START_FIELD].decode(), fields[STATE_FIELD].decode() in ENDED_STATES)


def _status_by_ps(process: int) -> _Status | None:
    command = ['ps', '-o', 'stat=,lstart=', '-p', str(process)]
    text = subprocess.run(command, capture_output=True, text=True, env={**os.environ, 'LC_ALL': 'C'}).stdout.strip()
    if not text:
        return None
    state, _, started = text.partition(' ')
    return _Status(token(started.strip()), state[0] in ENDED_STATES)
