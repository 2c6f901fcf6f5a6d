"""The one line that says how far something is and how long it will take, in a terminal or in a file."""

import sys
import time
from collections.abc import Callable
from typing import TextIO

# Called with the name of a step, its iterations done, its iterations at most, and the loss.
OnProgress = Callable[[str, int, int, float], None]

# What starts a line anew on a terminal: back to its beginning, and what stands there away.
REWRITE = '\r\033[2K'
# Seconds between lines where the output is a file: enough to follow, not enough to fill it.
FILE_INTERVAL = 10.0


def format_duration(seconds: float) -> str:
    """Return a duration as '1h05m', '3m20s' or '8s'.

    Args:
        seconds: Length of time, at least 0.

    Example:
        >>> format_duration(3900), format_duration(200), format_duration(8.4)
        ('1h05m', '3m20s', '8s')
    """
    seconds = round(seconds)
    hours, minutes = seconds // 3600, seconds // 60 % 60
    if hours:
        return f'{hours}h{minutes:02d}m'
    return f'{minutes}m{seconds % 60:02d}s' if minutes else f'{seconds}s'


class ProgressLine:
    """One line: rewritten in place on a terminal, a line of its own every now and then in a file.

    Args:
        stream: Stream to write to; default standard error.
        interval: Seconds between two lines in a file, at least 0; default 0: every one is written.
    """

    def __init__(self, stream: TextIO | None = None, *, interval: float = 0.0):
        self._stream = stream or sys.stderr
        self._interval = interval
        self._written = time.monotonic()
        self._open = False

    def show(self, text: str, *, first: bool = False, last: bool = False) -> None:
        """Write the line.

        Args:
            text: The line.
            first: Whether it begins something, so that a file gets it however short ago the last one was; default
                False. On a terminal it goes below the line that stands there.
            last: Whether it ends something: a file gets it too, and a terminal goes on below it; default False.
        """
        terminal, now = self._stream.isatty(), time.monotonic()
        if terminal:
            self._write(('\n' if first and self._open else '') + REWRITE + text + ('\n' if last else ''))
            self._open = not last
        elif first or last or now - self._written >= self._interval:
            self._written = now
            self._write(text + '\n')

    def say(self, text: str) -> None:
        """Write a message of its own; on a terminal it takes the place of the line."""
        self._write((REWRITE if self._stream.isatty() else '') + text + '\n')
        self._open = False

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


class Pace:
    """Remaining time of equal steps, measured from a moment after which nothing else is in their way.

    Whoever holds one restarts it when compiling or reading is over, and leaves out what does not belong to the steps.
    """

    def __init__(self):
        self.restart()

    def restart(self) -> None:
        """Measure from now on."""
        self._started = time.monotonic()

    def leave_out(self, seconds: float) -> None:
        """Leave out seconds that were spent on something else."""
        self._started += seconds

    def remaining(self, steps: int, steps_ahead: int) -> float | None:
        """Return the seconds that the steps which are left will take.

        Args:
            steps: Number of steps since the last restart.
            steps_ahead: Number of steps that are left.

        Returns:
            Seconds; None where no step has been measured yet.
        """
        return (time.monotonic() - self._started) / steps * steps_ahead if steps > 0 else None


class CountProgress:
    """Progress through a known number of things: 'prepared 3/10 subjects, about 2m10s left'.

    Args:
        verb: Word for what is done with each, such as 'prepared'.
        total: Number of things.
        noun: Word for the things, such as 'subjects'.
        stream: Stream to write to, see `ProgressLine`.
    """

    def __init__(self, verb: str, total: int, noun: str, *, stream: TextIO | None = None):
        self._line = ProgressLine(stream, interval=FILE_INTERVAL)
        self._verb, self._total, self._noun = verb, total, noun
        self._done = self._measured = 0
        self._pace = Pace()

    def step(self, note: str = '', *, restored: bool = False) -> None:
        """Count one more.

        Args:
            note: Text beside the count; default none.
            restored: Whether it was there already, so that it says nothing of those that are left; default False.
        """
        self._done += 1
        self._measured += not restored
        if not self._measured:
            self._pace.restart()
        remaining = self._pace.remaining(self._measured, self._total - self._done)
        parts = [f'{self._verb} {self._done}/{self._total} {self._noun}', note]
        parts += [] if remaining is None else [f'about {format_duration(remaining)} left']
        self._line.show(', '.join(filter(None, parts)), last=self._done == self._total)
