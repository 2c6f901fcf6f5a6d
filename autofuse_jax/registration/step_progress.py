"""A line that says which step of a registration runs, how far it is, its loss, and how long it will take."""

import sys
import time
from typing import TextIO

from autofuse_jax.training.metrics_log import format_duration

# Seconds between lines where the output is a file: enough to follow, not enough to fill it.
FILE_INTERVAL = 5.0


class StepProgress:
    """Prints progress; an instance is an `on_progress` callback.

    On a terminal the line of a step is rewritten in place; in a file there is one line every few seconds.

    Args:
        stream: Where to write; default standard error.
        prefix: Text before each line, such as the frame of a series.
    """

    def __init__(self, stream: TextIO | None = None, prefix: str = ''):
        self._stream = stream or sys.stderr
        self._prefix = prefix
        self._name = ''
        self._started = self._written = 0.0

    def __call__(self, name: str, done: int, total: int, loss: float) -> None:
        """Report a step.

        Args:
            name: Of the step.
            done: Iterations done.
            total: Iterations at most.
            loss: Of the last iteration.
        """
        now = time.monotonic()
        terminal = self._stream.isatty()
        if name != self._name:
            # The first report comes after the first iterations, whose time holds compilation.
            if terminal and self._name:
                self._stream.write('\n')
            self._name, self._started, self._written, self._first = name, now, 0.0, done
        rate = (now - self._started) / max(done - self._first, 1)
        remaining = f', at most {format_duration(rate * (total - done))} left' if done > self._first else ''
        text = f'{self._prefix}{name}: step {done}/{total}, loss {loss:+.4f}{remaining}'
        if terminal:
            self._stream.write(f'\r\033[2K{text}')
        elif now - self._written >= FILE_INTERVAL or done >= total:
            self._written = now
            self._stream.write(text + '\n')
        self._stream.flush()
