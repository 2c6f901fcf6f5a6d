"""Where the time of a registration goes: importing, compiling, computing."""

import time
from typing import NamedTuple

from jax import monitoring

# What JAX calls the ways from a function to a program: tracing it, writing it down, compiling it or finding it on disk.
COMPILING = (
    '/jax/core/compile/jaxpr_trace_duration',
    '/jax/core/compile/jaxpr_to_mlir_module_duration',
)
PROGRAM = '/jax/core/compile/backend_compile_duration'


class _Span(NamedTuple):
    """A time between two readings of `time.perf_counter`, and whether a program came out of it."""

    start: float
    end: float
    program: bool


# JAX has one list of listeners for the whole process, and no public way to leave it.
_spans: list[_Span] = []
_listening = False


class Clock:
    """Measures from when it is made; what JAX compiles meanwhile is told apart."""

    def __init__(self):
        global _listening
        if not _listening:
            monitoring.register_event_duration_secs_listener(_listen)
            _listening = True
        self._first = len(_spans)
        self._started = time.perf_counter()

    def times(self, import_seconds: float | None = None) -> dict[str, float | int | None]:
        """Return the seconds until now.

        Args:
            import_seconds: Seconds that importing took before; None: unknown.

        Returns:
            'import_seconds', 'compile_seconds' (tracing and lowering included), 'compute_seconds' (all the rest), and
            'programs', the number of programs that had to be compiled or fetched from disk: 0 where everything had the
            sizes of an earlier call in this process.
        """
        spans = _spans[self._first :]
        compiling = _covered(spans)
        return {
            'import_seconds': None if import_seconds is None else round(import_seconds, 3),
            'compile_seconds': round(compiling, 3),
            'compute_seconds': round(time.perf_counter() - self._started - compiling, 3),
            'programs': sum(span.program for span in spans),
        }


def _listen(event: str, seconds: float, **_: str | int) -> None:
    if event in COMPILING or event == PROGRAM:
        now = time.perf_counter()
        _spans.append(_Span(now - seconds, now, event == PROGRAM))


def _covered(spans: list[_Span]) -> float:
    """Seconds that spans cover; a function traced inside another one counts once."""
    total, end = 0.0, -float('inf')
    for span in sorted(spans):
        total += max(0.0, span.end - max(span.start, end))
        end = max(end, span.end)
    return total
