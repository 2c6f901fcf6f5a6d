"""Parts of a run with an accelerator: budgets, failures, what is kept, and going on."""

import json
import signal
import sys

import pytest

from experiments.accelerator import parts
from experiments.accelerator.parts import Part, carry_out, granted_minutes, run_part

TIMES = dict(environment={}, about={'commit': 'abc'})


def part(name, source, *scripts, minutes=1.0, least=0.0):
    """A part whose commands run Python text."""
    commands = [[sys.executable, '-c', script] for script in scripts]
    return Part(name, minutes, least, lambda _: commands, {source: f'{name}.json'})


def writing(path):
    return f'open({str(path)!r}, "w").write("[1]")'


def statuses(out):
    record = json.loads((out / 'run.json').read_text())
    assert record['commit'] == 'abc'
    return {name: one['status'] for name, one in record['parts'].items()}


@pytest.mark.parametrize(
    ('own', 'remaining', 'later', 'granted'),
    [
        (8.0, 20.0, (1.0, 0.5), 8.0),
        (8.0, 6.0, (1.0, 0.5), 4.5),
        (8.0, 2.1, (1.0, 0.5), 0.6),
        (8.0, 1.9, (1.0, 0.5), 0.0),
        (8.0, -3.0, (), 0.0),
    ],
)
def test_a_part_leaves_time_for_those_after_it(tmp_path, own, remaining, later, granted):
    first, *others = (part('x', tmp_path, minutes=minutes, least=0.5) for minutes in (own, *later))
    others = [part('y', tmp_path, least=least) for least in later]
    assert granted_minutes(first, others, remaining) == pytest.approx(granted)


def test_a_part_that_fails_does_not_stop_the_next_and_what_is_done_is_skipped(tmp_path):
    out, good, bad = tmp_path / 'out', tmp_path / 'good', tmp_path / 'bad'
    failing = part('bad', bad, writing(bad), 'raise SystemExit(3)', 'print("never")')
    several = [failing, part('good', good, writing(good))]
    assert not carry_out(several, out, 5.0, **TIMES)
    assert statuses(out) == {'bad': 'failed', 'good': 'done'}
    assert (out / 'good.json').read_text() == '[1]'
    # What a part that failed has written is kept, and not taken for its record.
    assert (out / 'partial_bad.json').read_text() == '[1]' and not (out / 'bad.json').exists()
    assert 'never' not in (out / 'logs' / 'bad.log').read_text().split('$')[-1]

    good.unlink()
    assert carry_out([part('bad', bad, writing(bad)), several[1]], out, 5.0, **TIMES)
    assert statuses(out) == {'bad': 'done', 'good': 'done'} and not good.exists()
    assert (out / 'bad.json').exists() and not (out / 'partial_bad.json').exists()


def test_a_part_without_its_record_has_failed(tmp_path):
    assert run_part(part('silent', tmp_path / 'absent', 'pass'), 1.0, tmp_path / 'out', {}) == 'failed'


def test_a_part_for_which_no_time_is_left_is_not_started(tmp_path):
    source = tmp_path / 'file'
    several = [part('late', source, writing(source), least=2.0)]
    assert not carry_out(several, tmp_path / 'out', 1.0, **TIMES)
    assert statuses(tmp_path / 'out') == {'late': 'not started'} and not source.exists()


@pytest.mark.parametrize('stubborn', [False, True])
def test_a_part_that_takes_too_long_is_ended(tmp_path, monkeypatch, stubborn):
    monkeypatch.setattr(parts, 'GRACE_SECONDS', 0.5)
    source = tmp_path / 'file'
    handler = 'signal.SIG_IGN' if stubborn else 'lambda *_: exit(5)'
    script = f'import signal, time; signal.signal({int(signal.SIGTERM)}, {handler}); {writing(source)}; time.sleep(60)'
    assert run_part(part('long', source, script, minutes=0.05), 0.05, tmp_path, {}) == 'out of time'
    assert (tmp_path / 'partial_long.json').read_text() in ('', '[1]')
    assert ('ended by force' in (tmp_path / 'logs' / 'long.log').read_text()) == stubborn


def test_commands_see_the_environment_and_what_parts_before_wrote(tmp_path):
    source = tmp_path / 'file'
    script = f'import os; {writing(source)} if os.environ["WORD"] == "yes" else exit(1)'
    assert run_part(part('one', source, script), 1.0, tmp_path / 'out', {'WORD': 'yes'}) == 'done'
    granted = []
    later = Part('two', 1.0, 0.0, lambda minutes: granted.append(minutes) or [], {source: 'two.json'})
    assert run_part(later, 0.5, tmp_path / 'out', {}) == 'done' and granted == [0.5]
