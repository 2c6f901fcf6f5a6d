"""A line that says which step of a registration runs, how far it is, its loss, and how long it will take."""

from typing import TextIO

from autofuse_jax.progress import Pace, ProgressLine, format_duration

# Seconds between lines where the output is a file: a step takes seconds to minutes.
FILE_INTERVAL = 5.0


class StepProgress:
    """Prints progress; an instance is an `OnProgress` callback.

    Args:
        stream: Stream to write to; default standard error.
        prefix: Text before each line, such as the frame of a series.
    """

    def __init__(self, stream: TextIO | None = None, prefix: str = ''):
        self._line = ProgressLine(stream, interval=FILE_INTERVAL)
        self._prefix = prefix
        self._name = ''
        self._pace = Pace()

    def __call__(self, name: str, number: int, total: int, loss: float) -> None:
        """Report a step.

        Args:
            name: Name of the step.
            number: Iterations done.
            total: Iterations at most.
            loss: Loss of the last iteration.
        """
        first = name != self._name
        if first:
            # The first report comes after the first iterations, whose time holds compilation.
            self._name, self._first = name, number
            self._pace.restart()
        remaining = self._pace.remaining(number - self._first, total - number)
        time_left = '' if remaining is None else f', at most {format_duration(remaining)} left'
        text = f'{self._prefix}{name}: step {number}/{total}, loss {loss:+.4f}{time_left}'
        self._line.show(text, first=first, last=number >= total)
