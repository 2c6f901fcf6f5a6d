"""Commands in processes of their own, forked from one that has imported what they need, so that each starts at once.

Importing takes longer than most commands do here. The process that forks never runs jax and has no threads, so that a
child is what `python -m MODULE` would be after its imports.
"""

import ctypes
import gc
import importlib
import os
import pickle
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

REPOSITORY = Path(__file__).resolve().parents[3]
POLL_SECONDS = 0.002
# On a busy machine a command takes a multiple of its own time.
PATIENCE_SECONDS = 900.0
# Capabilities by which root ignores permissions: numbers of CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH, and the version
# of capset(2).
IGNORING_PERMISSIONS = (1, 2)
CAPABILITY_VERSION = 0x20080522
HERE, THERE = 'here', 'there'


class Running:
    """A process that was started, and what it prints.

    Args:
        pid: Number of the process.
        log: File of its output.
    """

    def __init__(self, pid: int, log: Path):
        self.pid, self._log = pid, log
        self._status: int | None = None

    @property
    def text(self) -> str:
        """Output until now, of both streams."""
        return self._log.read_text(errors='replace') if self._log.exists() else ''

    @property
    def ended(self) -> bool:
        """Whether the process has ended."""
        if self._status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self._status = os.waitstatus_to_exitcode(status) if pid else None
        return self._status is not None

    def wait(self, until: Callable[[], bool] = lambda: False, seconds: float = PATIENCE_SECONDS) -> int | None:
        """Wait for its end, for `until` or for so long.

        Returns:
            The exit status, negative of a signal; None where it still runs.
        """
        end = time.monotonic() + seconds
        while not self.ended and not until() and time.monotonic() < end:
            time.sleep(POLL_SECONDS)
        return self._status

    def kill(self) -> None:
        """End the process and its children by SIGKILL, wherever they are."""
        if not self.ended:
            os.killpg(self.pid, signal.SIGKILL)
            self.wait()

    def end(self, seconds: float = PATIENCE_SECONDS) -> int:
        """Wait for its end, which must come within so long.

        Returns:
            The exit status; -9 of a process that did not end and was killed.
        """
        if self.wait(seconds=seconds) is None:
            self.kill()
        return self._status


def import_modules(modules: Sequence[str]) -> None:
    """Import what commands need, before the first one is started."""
    for module in modules:
        importlib.import_module(module)
    # Memory that is looked through for garbage is copied.
    gc.freeze()


def start(command: Sequence[str], log: Path, before: Callable[[], None] = lambda: None) -> Running:
    """Start a command.

    Args:
        command: Module and arguments.
        log: File of its output.
        before: Function that is called in the process before the command.

    Returns:
        The process.
    """
    module, *arguments = command
    log.parent.mkdir(parents=True, exist_ok=True)

    def body() -> int:
        program = importlib.import_module(module)
        # As `python -m` has it, so that locks tell of the command and its own processes start as they should.
        sys.modules['__main__'], sys.argv = program, [str(program.__file__), *arguments]
        before()
        return program.main(arguments)

    return _fork(body, log)


def ask(function: Callable[..., Any], *arguments: Any, log: Path, seconds: float = PATIENCE_SECONDS) -> Any:
    """Call a function in a process of its own, as one that needs jax or may crash in a library must be.

    Args:
        function: The function.
        arguments: Its arguments.
        log: File of its output; its answer lies beside it.
        seconds: Longest time that it may take.

    Returns:
        What it returns.

    Raises:
        RuntimeError: The process ended without an answer.
    """
    answer = log.with_suffix('.answer')
    answer.unlink(missing_ok=True)

    def body() -> int:
        content = pickle.dumps(function(*arguments))
        answer.write_bytes(content)
        return 0

    running = _fork(body, log)
    status = running.end(seconds)
    if not answer.exists():
        raise RuntimeError(f'{function.__name__} ended with status {status}: {running.text[-2000:]}')
    return pickle.loads(answer.read_bytes())


def _fork(body: Callable[[], int], log: Path) -> Running:
    log.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    reads, writes = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(reads)
        _be_child(body, log, writes)
    os.close(writes)
    # A process that is killed has a group of its own by then: nothing is read but the end.
    os.read(reads, 1)
    os.close(reads)
    return Running(pid, log)


def _be_child(body: Callable[[], int], log: Path, has_group: int) -> NoReturn:
    status = 1
    try:
        os.setsid()
        os.close(has_group)
        os.chdir(REPOSITORY)
        handle = os.open(log, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_APPEND, 0o666)
        null = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((null, 0), (handle, 1), (handle, 2)):
            os.dup2(source, target)
        try:
            status = body() or 0
        except SystemExit as error:
            status = error.code if isinstance(error.code, int) else 1
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        # Nothing of the process that forked is cleaned up here.
        os._exit(status & 0xFF)


def limit_files(size: int) -> None:
    """Let no file of this process grow beyond a size, as on a disk that is full; signals of that are ignored anyway."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def obey_permissions() -> None:
    """Let permissions count for root, too: give the capabilities away that pass them over."""
    if os.geteuid() != 0:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0)
    # Effective, permitted and inheritable sets of the first 32 capabilities, then of the others.
    sets = (ctypes.c_uint32 * 6)()
    if libc.capget(header, sets) != 0:
        raise OSError(ctypes.get_errno(), 'capget')
    for number in IGNORING_PERMISSIONS:
        for place in range(3):
            sets[place] &= ~(1 << number) & 0xFFFFFFFF
    if libc.capset(header, sets) != 0:
        raise OSError(ctypes.get_errno(), 'capset')
