"""The program and its subcommands: what they say, how fast they say it, and that they are their modules."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from autofuse_jax import cli
from autofuse_jax.cli import COMMANDS, main
from autofuse_jax.version import __version__
from tests.evaluation.made_results import write_results

REPOSITORY = Path(__file__).resolve().parents[1]
MODULES = sorted({command.module for command in COMMANDS.values()})
# What takes long to import, and help can do without.
HEAVY = ('jax', 'flax', 'optax', 'orbax', 'grain', 'matplotlib', 'scipy', 'nibabel', 'numpy')
# Runs a module as `python -m` does, and says at its end what has been imported.
REPORTING = f"""
import atexit, runpy, sys
atexit.register(lambda: print('IMPORTED', *[name for name in {HEAVY} if name in sys.modules], file=sys.stderr))
module = sys.argv.pop(1)
runpy.run_module(module, run_name='__main__', alter_sys=True)
"""
HELP_SECONDS = 0.5


@pytest.fixture
def invocations(monkeypatch):
    """Collect what `main` would run instead of running it."""
    collected = []
    monkeypatch.setattr('autofuse_jax.main.run', lambda invocation: collected.append(invocation) or 0)
    return collected


def python(*arguments, cwd=REPOSITORY):
    return subprocess.run([sys.executable, *arguments], cwd=cwd, capture_output=True, text=True)


def options_in(text):
    return set(re.findall(r'--[a-z][a-z-]+', text))


def processor_seconds(command):
    """Return the processor time of a process, which other work on the machine hardly changes."""
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_utime + usage.ru_stime


def test_without_arguments_help_is_printed(capsys):
    assert main([]) == 0
    output = capsys.readouterr().out
    for name, command in COMMANDS.items():
        assert f'  {name} ' in output and command.summary in output
    for arguments in (['--help'], ['-h'], ['help']):
        assert main(arguments) == 0 and capsys.readouterr().out == output


def test_version(capsys):
    assert main(['--version']) == 0
    assert capsys.readouterr().out == f'autofuse-jax {__version__}\n'


@pytest.mark.parametrize(
    ('given', 'meant'),
    [('registr', 'register'), ('trian', 'train'), ('evaluate_run', 'evaluate-run'), ('port', 'port-weights')],
)
def test_an_unknown_command_names_the_nearest(capsys, given, meant):
    assert main([given, '--out=x']) == 2
    error = capsys.readouterr().err
    assert error.startswith(f'error: there is no command {given}.') and error.count('\n') == 1
    assert error.endswith(f'To fix: autofuse-jax {meant}.\n')


def test_an_option_without_command(capsys):
    assert main(['--fixed=a.nii.gz']) == 2
    assert 'begin with the command' in capsys.readouterr().err


@pytest.mark.parametrize('name', COMMANDS)
def test_help_of_a_command_imports_nothing_heavy_and_has_the_options_of_its_module(name):
    command = COMMANDS[name]
    ours = python('-c', REPORTING, 'autofuse_jax.cli', name, '--help')
    assert ours.returncode == 0, ours.stderr
    assert ours.stderr == 'IMPORTED\n'
    assert f'autofuse-jax {name}' in ours.stdout and f'python -m {command.module}' not in ours.stdout
    if command.module.startswith('autofuse_jax.commands.'):
        return  # It has no other door.
    theirs = python('-c', REPORTING, command.module, '--help')
    assert theirs.returncode == 0 and theirs.stderr == 'IMPORTED\n'
    assert f'python -m {command.module}' in theirs.stdout and 'autofuse-jax' not in theirs.stdout
    assert options_in(ours.stdout) == options_in(theirs.stdout)


def test_the_search_for_imports_sees_them():
    assert python('-c', REPORTING, 'autofuse_jax.data.formats').stderr.startswith('IMPORTED scipy nibabel numpy')


@pytest.mark.parametrize('arguments', [[], ['train', '--help'], ['register', '--help']])
def test_help_is_quick(arguments):
    command = [sys.executable, '-m', 'autofuse_jax.cli', *arguments]
    assert min(processor_seconds(command) for _ in range(3)) < HELP_SECONDS


def test_training_and_evaluating_a_run_differ_in_the_mode(invocations):
    assert main(['train', '--config=quickstart', '--config.seed=3']) == 0
    assert main(['evaluate-run', '--config=quickstart', '--workdir=runs/mine']) == 0
    assert main(['train', '--config=quickstart', '--mode=evaluate']) == 0
    assert [invocation.mode for invocation in invocations] == ['train', 'evaluate', 'evaluate']
    assert invocations[0].config.seed == 3
    assert invocations[1].workdir == Path('runs/mine')


def test_the_demo_is_the_quick_start(invocations, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(['demo']) == 0
    assert main(['demo', '--workdir=elsewhere', '--config.seed=5']) == 0
    assert invocations[0].workdir == Path('runs/quickstart') and invocations[0].mode == 'train'
    assert invocations[0].config.data.source == 'phantom' and invocations[0].config.phases.phase_1.steps == 200
    assert (invocations[1].workdir, invocations[1].config.seed) == (Path('elsewhere'), 5)


def test_records_name_the_command_as_it_was_given(tmp_path):
    write_results(tmp_path / 'results', {'a': 0.0, 'b': 1.0}, tmp_path / 'data')
    out = tmp_path / 'out'
    assert main(['evaluate', str(tmp_path / 'results'), f'--out={out}']) == 0
    record = json.loads((out / 'evaluation.json').read_text())
    assert record['command'] == f'autofuse-jax evaluate {tmp_path / "results"} --out={out}'


def test_the_status_of_a_command_is_that_of_the_program(tmp_path, capsys):
    assert main(['apply', '--explain', str(tmp_path / 'absent.nii.gz')]) == 2
    assert 'absent.nii.gz' in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        main(['apply', '--format=nonsense'])
    assert ended.value.code == 2
    assert 'autofuse-jax apply: error' in capsys.readouterr().err


def test_the_package_is_a_program():
    answer = python('-m', 'autofuse_jax.cli', '--version')
    assert (answer.returncode, answer.stdout) == (0, f'autofuse-jax {__version__}\n')


def test_commands_have_one_summary_a_line():
    assert max(map(len, cli.help_text().splitlines())) <= 100
