"""Progress of a registration as lines of text."""

import io

from autofuse_jax.registration.step_progress import StepProgress
from tests.terminal import Terminal, still_clock


def test_a_file_gets_first_and_last_line_of_each_step():
    stream = io.StringIO()
    progress = StepProgress(stream, prefix='frame 2/9, ')
    for done in (5, 10, 15, 20):
        progress('velocity at 1/2', done, 20, -0.1 * done)
    lines = stream.getvalue().splitlines()
    assert lines[0] == 'frame 2/9, velocity at 1/2: step 5/20, loss -0.5000'
    assert lines[-1] == 'frame 2/9, velocity at 1/2: step 20/20, loss -2.0000, at most 0s left'
    assert len(lines) == 2


def test_a_terminal_is_rewritten_in_place_with_the_time_left(monkeypatch):
    clock, stream = still_clock(monkeypatch), Terminal()
    progress = StepProgress(stream)
    progress('affine', 5, 20, -0.5)
    clock.seconds += 30
    progress('affine', 10, 20, -0.6)
    progress('velocity', 5, 10, -0.7)
    parts = stream.getvalue().split('\r\033[2K')
    # 5 steps took 30 s, so the other 10 take a minute.
    assert parts[2].startswith('affine: step 10/20, loss -0.6000, at most 1m00s left\n')
    assert parts[3] == 'velocity: step 5/10, loss -0.7000'
