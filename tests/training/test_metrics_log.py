import io
import json
import sys
import threading
import types

import pytest

from autofuse_jax.errors import UserError
from autofuse_jax.training.metrics_log import METRICS_NAME, MetricsWriter, Progress, read_rows
from tests.terminal import Terminal, still_clock


@pytest.fixture
def clock(monkeypatch):
    return still_clock(monkeypatch)


def write_steps(workdir, steps, **options):
    with MetricsWriter(workdir, **options) as writer:
        for step in steps:
            writer.write(step, 'train', {'loss': step / 2})


def test_rows_are_lines_of_json(tmp_path):
    with MetricsWriter(tmp_path) as writer:
        writer.write(2, 'train', {'loss': 0.5, 'rate': 1e-4})
        writer.write(4, 'validation', {'dsc_after': float('nan')})
        # Flushed row by row: a kill loses nothing that was written.
        assert len((tmp_path / METRICS_NAME).read_text().splitlines()) == 2
    lines = (tmp_path / METRICS_NAME).read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {'step': 2, 'kind': 'train', 'loss': 0.5, 'rate': 1e-4},
        {'step': 4, 'kind': 'validation', 'dsc_after': None},
    ]
    assert 'NaN' not in lines[1]
    assert read_rows(tmp_path / METRICS_NAME)[1]['dsc_after'] is None


def test_absent_file_has_no_rows(tmp_path):
    assert read_rows(tmp_path / METRICS_NAME) == []


def test_rows_after_the_resumed_step_are_dropped(tmp_path):
    write_steps(tmp_path, [2, 4, 6, 8])
    # The checkpoint is of step 4: row 4 belongs to it, 6 and 8 will come again.
    write_steps(tmp_path, [6], step=4)
    assert [row['step'] for row in read_rows(tmp_path / METRICS_NAME)] == [2, 4, 6]


def test_run_from_the_start_drops_all_rows(tmp_path):
    write_steps(tmp_path, [2, 4])
    write_steps(tmp_path, [2])
    assert [row['step'] for row in read_rows(tmp_path / METRICS_NAME)] == [2]


def test_half_written_last_line_is_dropped(tmp_path):
    write_steps(tmp_path, [2, 4])
    path = tmp_path / METRICS_NAME
    whole = path.read_text()
    path.write_text(whole + '{"step": 6, "kind": "tr')
    assert [row['step'] for row in read_rows(path)] == [2, 4]
    write_steps(tmp_path, [8], step=6)
    assert [row['step'] for row in read_rows(path)] == [2, 4, 8]
    assert path.read_text().startswith(whole)


def test_tensorboard_that_is_not_installed(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'tensorboardX', None)
    with pytest.raises(UserError, match='tensorboardX is not installed') as raised:
        MetricsWriter(tmp_path, tensorboard=True)
    assert 'pip install "autofuse_jax[tensorboard]"' in str(raised.value)
    assert 'training.tensorboard=False' in str(raised.value)
    write_steps(tmp_path, [2])  # without TensorBoard nobody asks for it


def test_tensorboard_gets_the_same_numbers(tmp_path, monkeypatch):
    calls = []

    class SummaryWriter:
        def __init__(self, folder):
            calls.append(('open', folder))

        def add_scalar(self, name, value, step):
            calls.append((name, value, step))

        def close(self):
            calls.append('close')

    monkeypatch.setitem(sys.modules, 'tensorboardX', types.SimpleNamespace(SummaryWriter=SummaryWriter))
    write_steps(tmp_path, [2], tensorboard=True)
    assert calls == [('open', str(tmp_path / 'tensorboard')), ('train/loss', 1.0, 2), 'close']


def test_progress_line(clock):
    stream = io.StringIO()
    progress = Progress(100, first_step=20, stream=stream)
    clock.seconds += 10
    values = {'loss': -0.1, 'weighted/negative_ncc': -0.5, 'weighted/kl': 0.4, 'term/kl': 40.0}
    progress.report(40, 2.5, values)
    # 20 steps in 10 s since the start of this process, so the 60 that are left take 30 s.
    line = 'step 40/100 (40 %)  2.50 pairs/s  ETA 30s  loss -0.1000  [negative_ncc -0.5000  kl +0.4000]'
    assert stream.getvalue() == line + '\n'
    progress.note_validation(0.8125, 0.0436)
    progress.report(40, 2.5, values)
    assert stream.getvalue().splitlines()[1] == line + '  val DSC 81.2 %, NJD 0.044 %'


def test_progress_line_of_several_objectives(clock):
    stream = io.StringIO()
    values = {'one/loss': -0.1, 'one/weighted/kl': 0.4, 'other/loss': 2.0, 'other/weighted/dice': 2.0, 'other/x': 9.0}
    Progress(100, stream=stream).report(1, 1.0, values)
    line = stream.getvalue()
    assert line.endswith('one loss -0.1000  [kl +0.4000]  other loss +2.0000  [dice +2.0000]\n')


def test_progress_on_a_terminal_rewrites_its_line(clock):
    stream = Terminal()
    progress = Progress(10, stream=stream)
    progress.report(1, 1.0, {'loss': 0.0})
    progress.say('validation')
    first, second = '\r\033[2Kstep 1/10', '\r\033[2Kvalidation\n'
    assert stream.getvalue().startswith(first)
    assert stream.getvalue().endswith(second)
    assert stream.getvalue().count('\n') == 1


def test_progress_at_the_first_step_of_a_continued_run(clock):
    stream = io.StringIO()
    Progress(10, first_step=5, stream=stream).report(5, 0.0, {'loss': 0.0})
    assert stream.getvalue() == 'step 5/10 (50 %)  0.00 pairs/s  loss +0.0000  []\n'


def test_compiling_does_not_count_for_the_remaining_time(clock):
    stream = io.StringIO()
    progress = Progress(100, first_step=20, stream=stream)
    clock.seconds += 300  # Compiling, and the first step.
    progress.measure_from(21)
    clock.seconds += 10
    progress.report(31, 1.0, {'loss': 0.0})
    clock.seconds += 200
    progress.leave_out(200)  # Another phase is compiled.
    clock.seconds += 10
    progress.report(41, 1.0, {'loss': 0.0})
    first, second = stream.getvalue().splitlines()
    assert 'ETA 1m09s' in first and 'ETA 59s' in second


def test_pauses_that_are_left_count_for_the_remaining_time_once_each(clock):
    stream = io.StringIO()
    progress = Progress(100, stream=stream)
    progress.measure_from(1)
    clock.seconds += 10
    progress.pause('validation', 50)  # Programs are compiled in the first.
    clock.seconds += 50 + 7
    progress.pause('validation', 7)
    progress.report(11, 1.0, {'loss': 0.0}, {'validation': 3, 'checkpoint': 2})
    assert 'ETA 1m50s' in stream.getvalue()  # 89 steps of a second and 3 validations of 7 seconds


def test_a_line_is_due_after_half_a_minute_and_comes_after_one_without_a_step(clock, monkeypatch):
    log = 'autofuse_jax.training.metrics_log'
    monkeypatch.setattr(f'{log}.WATCH_SECONDS', 0.01)
    monkeypatch.setattr(f'{log}.time', types.SimpleNamespace(monotonic=lambda: clock.seconds))
    stream = io.StringIO()
    progress = Progress(100, stream=stream)
    assert not progress.is_due()
    clock.seconds += 31
    assert progress.is_due() and stream.getvalue() == ''
    with progress.watched():
        clock.seconds += 30
        for _ in range(200):
            if stream.getvalue():
                break
            threading.Event().wait(0.02)
    assert stream.getvalue() == 'step 0/100: at work, 1m01s since the last line\n'
