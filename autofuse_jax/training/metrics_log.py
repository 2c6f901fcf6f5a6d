"""What a run writes while it trains: a row of numbers in metrics.jsonl, TensorBoard on request, a progress line."""

import contextlib
import json
import math
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from autofuse_jax.errors import Range, UserError
from autofuse_jax.files import write_text
from autofuse_jax.progress import Pace, ProgressLine, format_duration
from autofuse_jax.records.forms import Fields, Number, OrNull, Text
from autofuse_jax.records.reading import parse_json

METRICS_NAME = 'metrics.jsonl'
ROW = Fields({'step': Number(Range(least=0, whole=True)), 'kind': Text()}, others=OrNull(Number()))
# Seconds after which a step writes a line whatever rows are logged, and after which one comes without a step.
LINE_SECONDS, SILENT_SECONDS = 30.0, 60.0
WATCH_SECONDS = 1.0


def _say(text: str) -> None:
    print(text, file=sys.stderr)


class MetricsWriter:
    """Appends rows of numbers to `metrics.jsonl` and, if asked, to TensorBoard.

    Args:
        workdir: The run's folder.
        step: Rows of later steps are dropped, because training continues from here and will write them again.
        tensorboard: Whether to write TensorBoard events too; needs the package tensorboardX.
        active: Whether to write at all; default True. Of several processes one does.

    Raises:
        UserError: TensorBoard is asked for and tensorboardX is not installed.
    """

    def __init__(self, workdir: str | os.PathLike, *, step: int = 0, tensorboard: bool = False, active: bool = True):
        self._file: TextIO | None = None
        self._events = None
        if not active:
            return
        self._events = _open_tensorboard(workdir) if tensorboard else None
        self._path = Path(workdir) / METRICS_NAME
        rows = [row for row in read_rows(self._path) if row['step'] <= step]
        write_text(self._path, ''.join(json.dumps(row) + '\n' for row in rows))
        self._file = self._path.open('a', encoding='utf-8')

    def write(self, step: int, kind: str, values: dict[str, float]) -> None:
        """Write one row.

        Args:
            step: Number of steps done.
            kind: 'train' or 'validation'.
            values: Numbers by name; NaN and infinities are written as null.
        """
        if self._file is None:
            return
        clean = {name: float(value) if math.isfinite(value) else None for name, value in values.items()}
        self._file.write(json.dumps({'step': step, 'kind': kind} | clean) + '\n')
        self._file.flush()
        if self._events is not None:
            for name, value in values.items():
                self._events.add_scalar(f'{kind}/{name}', value, step)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
        if self._events is not None:
            self._events.close()


def read_rows(path: str | os.PathLike, say: Callable[[str], Any] = _say) -> list[dict[str, Any]]:
    """Read the rows of a metrics file; a last row that was cut off by a kill, or is damaged, is left out.

    Args:
        path: The file; an absent file has no rows.
        say: Callback for the sentence about a last row that is damaged; default standard error.

    Returns:
        One dictionary a row, in the order of the file.

    Raises:
        UserError: Another row than the last is damaged.
    """
    path = Path(path)
    if not path.is_file():
        return []
    lines = path.read_bytes().split(b'\n')
    # What follows the last end of a line was cut off by a kill.
    complete = [(number, line) for number, line in enumerate(lines[:-1], start=1) if line.strip()]
    rows = []
    for number, line in complete:
        try:
            fix = f'remove line {number}, or move the file away'
            rows.append(parse_json(line, f'line {number} of {path}', ROW, fix=fix))
        except UserError as error:
            if number != complete[-1][0]:
                raise
            say(f'{error.found}; this last row is left out')
    return rows


def _open_tensorboard(workdir: str | os.PathLike) -> Any:
    try:
        from tensorboardX import SummaryWriter
    except ImportError as error:
        raise UserError(
            'training.tensorboard is on, but the package tensorboardX is not installed',
            fix='pip install "autofuse_jax[tensorboard]", or set training.tensorboard=False',
        ) from error
    return SummaryWriter(str(Path(workdir) / 'tensorboard'))


class Progress:
    """One line that says how far training is, how fast, how long it will take, and how well it does.

    Args:
        total_steps: Length of training.
        first_step: Steps that were done before this process started.
        stream: Stream to write to; default standard error.
    """

    def __init__(self, total_steps: int, *, first_step: int = 0, stream: TextIO | None = None):
        self._total = total_steps
        self._line = ProgressLine(stream)
        self._pace = Pace()
        self._measured_from = self._step = first_step
        self._validation = ''
        self._pauses: dict[str, list[float]] = {}
        self._written = time.monotonic()
        self._lock = threading.Lock()

    def measure_from(self, step: int) -> None:
        """Estimate the remaining time from the steps after this one: before the first, programs are compiled.

        Args:
            step: Number of steps done.
        """
        self._measured_from = step
        self._pace.restart()

    def leave_out(self, seconds: float) -> None:
        """Leave seconds that were spent on compiling out of the estimate of the remaining time."""
        self._pace.leave_out(seconds)

    def pause(self, kind: str, seconds: float) -> None:
        """Count a pause of the steps, such as a validation, of which more will come.

        Args:
            kind: Kind of the pause.
            seconds: Length of it.
        """
        self._pace.leave_out(seconds)
        self._pauses.setdefault(kind, []).append(seconds)

    def is_due(self) -> bool:
        """Tell whether the last line is so old that another should follow, however few steps have passed."""
        return time.monotonic() - self._written >= LINE_SECONDS

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Write inside the block, where a step, a validation or compiling takes long, that work goes on."""
        end = threading.Event()

        def watch() -> None:
            while not end.wait(WATCH_SECONDS):
                silent = time.monotonic() - self._written
                if silent >= SILENT_SECONDS:
                    self.say(f'step {self._step}/{self._total}: at work, {format_duration(silent)} since the last line')

        thread = threading.Thread(target=watch, name='progress', daemon=True)
        thread.start()
        try:
            yield
        finally:
            end.set()
            thread.join()

    def note_validation(self, dsc: float, njd_percent: float) -> None:
        """Show these numbers of the last validation from now on."""
        self._validation = f'  val DSC {100 * dsc:.1f} %, NJD {njd_percent:.3f} %'

    def report(
        self,
        step: int,
        pairs_per_second: float,
        values: dict[str, float],
        pauses_ahead: Mapping[str, int] | None = None,
    ) -> None:
        """Write the line.

        Args:
            step: Number of steps done.
            pairs_per_second: Speed of the last steps.
            values: Metrics; the loss and its weighted terms are shown, of several objectives (`<objective>/loss`) those
                of each.
            pauses_ahead: Number of pauses that are left, by kind.
        """
        self._step = step
        remaining = self._pace.remaining(step - self._measured_from, self._total - step)
        if remaining is not None:
            remaining += sum(number * self._length_of(kind) for kind, number in (pauses_ahead or {}).items())
        prefixes = [name.removesuffix('loss') for name in values if name == 'loss' or name.endswith('/loss')]
        losses = '  '.join(
            f'{prefix.replace("/", " ")}loss {values[f"{prefix}loss"]:+.4f}  [{_weighted_terms(values, prefix)}]'
            for prefix in prefixes
        )
        eta = '' if remaining is None else f'ETA {format_duration(remaining)}  '
        with self._lock:
            self._written = time.monotonic()
            self._line.show(
                f'step {step}/{self._total} ({100 * step / self._total:.0f} %)  {pairs_per_second:.2f} pairs/s  '
                f'{eta}{losses}{self._validation}'
            )

    def _length_of(self, kind: str) -> float:
        """Seconds that a pause takes; in the first of its kind programs may have been compiled."""
        lengths = self._pauses.get(kind, [0.0])
        lengths = lengths[1:] or lengths
        return sum(lengths) / len(lengths)

    def say(self, text: str) -> None:
        """Write a message of its own."""
        with self._lock:
            self._written = time.monotonic()
            self._line.say(text)


def _weighted_terms(values: dict[str, float], prefix: str) -> str:
    start = f'{prefix}weighted/'
    return '  '.join(f'{name.removeprefix(start)} {v:+.4f}' for name, v in values.items() if name.startswith(start))
