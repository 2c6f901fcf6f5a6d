"""When to end a run before its last step: signals and a time budget."""

import enum
import signal
import time
from types import FrameType, TracebackType
from typing import Any, Self

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
SECONDS_PER_MINUTE = 60.0


class Ending(enum.IntEnum):
    """What asks for an end; of several processes the largest counts."""

    NONE = 0
    BUDGET = 1
    SIGNAL = 2


class StopRequest:
    """A context in which SIGTERM and SIGINT ask for a clean end instead of ending the process.

    A second signal of the same kind has its usual effect, for whoever cannot wait.

    Args:
        max_minutes: Time budget from the start of the context; 0 means none.
    """

    def __init__(self, max_minutes: float = 0.0):
        self._budget = max_minutes * SECONDS_PER_MINUTE
        self._started = time.monotonic()
        self._signal: str | None = None
        self._previous: dict[int, Any] = {}

    @property
    def reason(self) -> str | None:
        """Why the run should end now, or None."""
        if self._signal:
            return f'received {self._signal}'
        if self._budget and time.monotonic() - self._started >= self._budget:
            return f'the time budget of {self._budget / SECONDS_PER_MINUTE:g} minutes is used up'
        return None

    @property
    def ending(self) -> Ending:
        """What asks for an end."""
        if self._signal:
            return Ending.SIGNAL
        return Ending.NONE if self.reason is None else Ending.BUDGET

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self._signal = signal.Signals(number).name
        signal.signal(number, self._previous[number])

    def __enter__(self) -> Self:
        try:
            self._previous = {number: signal.signal(number, self._receive) for number in STOP_SIGNALS}
        except ValueError:
            # Signals belong to the main thread; elsewhere (a notebook's worker) the usual effect stays.
            self._previous = {}
        self._started = time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
