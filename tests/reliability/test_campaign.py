"""The campaign in small: it finds what is planted, and real commands that are killed and crowded lose nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

from autofuse_jax.errors import UserError
from experiments.tables.reliability_table import loops_table, reliability_table
from tests.reliability.campaign.contents import bytes_of, facts_of, leftovers_of
from tests.reliability.campaign.hostile import check_reading, try_reading
from tests.reliability.campaign.outcomes import LOST, TRACEBACKS, WRONG, Trial, counts, faults_of, trial

REPOSITORY = Path(__file__).resolve().parents[2]
# A process that has no threads yet, as forks want it; the commands are those that need no jax.
PROGRAM = """
import random, sys
from pathlib import Path
from tests.reliability.campaign import disks, kills, neighbours
from tests.reliability.campaign.outcomes import faults_of
from tests.reliability.campaign.processes import import_modules, start
from tests.reliability.campaign.stage import Stage

names = ('evaluate --overwrite', 'apply', 'prepare', 'prepare --overwrite')
import_modules(('autofuse_jax.evaluate', 'autofuse_jax.commands.evaluate', 'autofuse_jax.evaluation.register_results',
                'autofuse_jax.apply_transform', 'autofuse_jax.commands.apply_transform',
                'autofuse_jax.prepare', 'autofuse_jax.commands.prepare'))
for number in range(100):
    # Before it has done anything, even become the head of its own group.
    start(('autofuse_jax.evaluate', '--help'), Path(sys.argv[1], f'{number}.log')).kill()
stage, rng = Stage(Path(sys.argv[1])), random.Random(0)
stage.make()
trials = kills.kill_commands(stage, names, 3, rng)
trials += disks.fill_disks(stage, names[:1], 1, rng)
trials += neighbours.meet(stage, names[:1], 1, rng)
print(len(trials), faults_of(trials))
"""


def test_real_commands_that_are_killed_and_crowded_lose_nothing(tmp_path):
    done = subprocess.run([sys.executable, '-c', PROGRAM, tmp_path], capture_output=True, text=True, cwd=REPOSITORY)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == '16 []', done.stdout


def read_fault(read, original=None):
    one = Trial('hostile files', 'a')
    check_reading(one, read, original)
    return [fault for fault, _ in one.faults]


def test_what_a_reader_does_wrong_is_noticed():
    original = try_reading(lambda: (1, 'a'))
    assert read_fault(lambda: (1, 'a'), original) == []
    assert read_fault(lambda: (2, 'a'), original) == [WRONG]
    assert read_fault(lambda: (2, 'a')) == []
    assert read_fault(lambda: int('x')) == [TRACEBACKS]

    def refuse():
        raise UserError('no')

    assert read_fault(refuse, original) == []


def test_leftovers_and_changes_are_noticed(tmp_path):
    (tmp_path / 'a.json').write_text('{"value": 1, "seconds": 3}')
    (tmp_path / '.writing-a-1-2-b').mkdir()
    (tmp_path / '.writing-a-1-2-b' / 'half').write_text('x')
    (tmp_path / '.out.lock').write_text('{}')
    before = bytes_of(tmp_path), facts_of(tmp_path)
    assert list(before[0]) == ['a.json']
    assert leftovers_of(tmp_path) == ['.out.lock', '.writing-a-1-2-b', '.writing-a-1-2-b/half']
    (tmp_path / 'a.json').write_text('{"value": 1, "seconds": 4}')
    assert bytes_of(tmp_path) != before[0] and facts_of(tmp_path) == before[1]
    (tmp_path / 'a.json').write_text('{"value": 2, "seconds": 4}')
    assert facts_of(tmp_path) != before[1]


@pytest.fixture
def trials(capsys):
    made = []
    for fault in (None, LOST, LOST):
        with trial(made, 'kills', 'register', 'soon') as one:
            one.expect(fault is None, fault or LOST, 'gone')
            one.read_output('Traceback (most recent call last): x' if len(made) == 2 else 'all well')
    assert capsys.readouterr().out.count('lost: kills, register, soon: gone') == 2
    return made


def test_trials_are_counted_and_faults_kept(trials):
    counted = counts(trials)
    assert (counted['trials'], counted[LOST], counted[TRACEBACKS], counted[WRONG]) == (3, 2, 1, 0)
    assert counted['of']['register'][LOST] == 2
    assert [fault['fault'] for fault in faults_of(trials)] == [LOST, LOST, TRACEBACKS]


def test_the_table_counts_each_part(trials):
    part = counts(trials) | {'skipped': ['.nrrd image: SimpleITK is not installed'], 'measured': {}, 'share': 0.5}
    loops = part | {'skipped': [], 'measured': {'sizes': [{'shape': [3, 4, 5], 'maps': 1234, 'memory_mib': 99.6}]}}
    total = {'trials': 6, LOST: 4, TRACEBACKS: 2, WRONG: 0, 'seconds': 120.0}
    record = {'seed': 7, 'parts': {'kills': part, 'long loops': loops}, 'all': total}
    rows = reliability_table(record).splitlines()
    assert rows[2] == '| kills | register | 3 | 2 | 1 | 0 |'
    assert rows[6] == '| **campaign** | all, 2 min | 6 | 4 | 2 | 0 |'
    assert rows[-1] == 'Seed 7. Skipped: .nrrd image: SimpleITK is not installed'
    assert loops_table(record).splitlines()[2] == '| 3 x 4 x 5 | 1,234 | 100 |'
