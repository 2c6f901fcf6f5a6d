"""Lines that say how far something is."""

import io

import pytest

from autofuse_jax.progress import REWRITE, CountProgress, Pace, ProgressLine, format_duration
from tests.terminal import Terminal, still_clock


@pytest.fixture
def clock(monkeypatch):
    return still_clock(monkeypatch)


@pytest.mark.parametrize(
    ('seconds', 'text'),
    [
        (0, '0s'),
        (8.4, '8s'),
        (59.4, '59s'),
        (59.6, '1m00s'),
        (200, '3m20s'),
        (3599.7, '1h00m'),
        (3900, '1h05m'),
        (90_000, '25h00m'),
    ],
)
def test_durations(seconds, text):
    assert format_duration(seconds) == text


def test_a_file_gets_a_line_every_now_and_then_and_the_first_and_last(clock):
    stream = io.StringIO()
    line = ProgressLine(stream, interval=10.0)
    for second in range(25):
        clock.seconds = 1000.0 + second
        line.show(str(second), last=second == 24)
    assert stream.getvalue().split() == ['10', '20', '24']
    line.show('another', first=True)
    line.say('something else')
    assert stream.getvalue().splitlines()[-2:] == ['another', 'something else']


def test_without_an_interval_a_file_gets_every_line(clock):
    stream = io.StringIO()
    line = ProgressLine(stream)
    for text in 'abc':
        line.show(text)
    assert stream.getvalue() == 'a\nb\nc\n'


def test_a_terminal_is_rewritten_until_something_ends_or_begins():
    stream = Terminal()
    line = ProgressLine(stream, interval=10.0)
    line.show('1/2')
    line.show('2/2', last=True)
    line.show('next 1/3', first=True)
    line.show('last 1/3', first=True)
    line.say('done')
    parts = stream.getvalue().split(REWRITE)[1:]
    assert parts == ['1/2', '2/2\n', 'next 1/3\n', 'last 1/3', 'done\n']


def test_the_pace_is_that_of_what_is_measured(clock):
    pace = Pace()
    assert pace.remaining(0, 10) is None
    clock.seconds += 100
    pace.restart()
    clock.seconds += 30
    pace.leave_out(10)
    assert pace.remaining(4, 6) == pytest.approx(30)
    assert pace.remaining(4, 0) == 0


def test_counting_says_how_long_the_rest_takes(clock):
    stream = Terminal()
    progress = CountProgress('prepared', 4, 'subjects', stream=stream)
    for _ in range(4):
        clock.seconds += 50
        progress.step('1 problems')
    lines = stream.getvalue().split(REWRITE)[1:]
    assert lines[0] == 'prepared 1/4 subjects, 1 problems, about 2m30s left'
    assert lines[3] == 'prepared 4/4 subjects, 1 problems, about 0s left\n'


def test_what_was_there_already_does_not_count_for_the_pace(clock):
    stream = Terminal()
    progress = CountProgress('scored', 4, 'pairs', stream=stream)
    for seconds, restored in ((1, True), (1, True), (60, False)):
        clock.seconds += seconds
        progress.step(restored=restored)
    lines = stream.getvalue().split(REWRITE)[1:]
    assert lines[:2] == ['scored 1/4 pairs', 'scored 2/4 pairs']
    assert lines[2] == 'scored 3/4 pairs, about 1m00s left'
