"""A terminal and a clock for tests of progress."""

import io
import types


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        """It is."""
        return True


def still_clock(monkeypatch) -> types.SimpleNamespace:
    """Return the clock of progress lines, which stands still until a test moves its `seconds`."""
    now = types.SimpleNamespace(seconds=1000.0)
    monkeypatch.setattr('autofuse_jax.progress.time', types.SimpleNamespace(monotonic=lambda: now.seconds))
    return now
