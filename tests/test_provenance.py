"""Where results come from."""

import subprocess
import sys
import types
from pathlib import Path

import pytest

from autofuse_jax import provenance
from autofuse_jax.runtime import command_line


@pytest.mark.parametrize(
    ('flags', 'widest'),
    [('fpu avx avx2', 'avx2'), ('avx512f avx avx2', 'avx512f'), ('fp asimd', 'asimd'), ('fpu', None)],
)
def test_the_widest_vector_instructions_are_named(monkeypatch, flags, widest):
    lines = {'model name': 'Some Processor', 'flags': flags}
    monkeypatch.setattr(provenance, '_processor_says', lines.get)
    machine = provenance.provenance()['machine']
    assert machine['processor'] == 'Some Processor' and machine['vectors'] == widest


def test_a_processor_that_says_nothing(monkeypatch):
    monkeypatch.setattr(provenance, '_processor_says', lambda what: None)
    machine = provenance.provenance()['machine']
    assert machine['processor'] and machine['vectors'] is None


@pytest.mark.parametrize(
    ('module', 'arguments', 'command'),
    [
        (
            'experiments.speed.scaling',
            ['/a/scaling.py', '--out', 'x.json'],
            'python -m experiments.speed.scaling --out x.json',
        ),
        ('autofuse_jax.__main__', ['/a/__main__.py', 'demo'], 'python -m autofuse_jax demo'),
        (None, ['/env/bin/autofuse-jax', 'train', '--out=my run'], "autofuse-jax train '--out=my run'"),
        (None, ['scripts/mine.py', '--fast'], 'python scripts/mine.py --fast'),
        (None, [''], 'python'),
    ],
)
def test_the_command_is_the_one_that_started_the_process(monkeypatch, module, arguments, command):
    spec = None if module is None else types.SimpleNamespace(name=module)
    monkeypatch.setitem(sys.modules, '__main__', types.SimpleNamespace(__spec__=spec))
    monkeypatch.setattr(sys, 'argv', arguments)
    assert command_line() == command
    assert provenance.provenance()['command'] == command


def git(folder, *arguments):
    who = ('-c', 'user.name=somebody', '-c', 'user.email=somebody@example.org')
    subprocess.run(['git', *who, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def package(tmp_path):
    """A package in the top folder of a checkout, committed once."""
    package = tmp_path / 'checkout' / 'package'
    package.mkdir(parents=True)
    (package / '__init__.py').write_text('')
    git(package.parent, 'init', '-q')
    git(package.parent, 'add', '.')
    git(package.parent, 'commit', '-q', '-m', 'first')
    return package


def test_the_commit_is_that_of_the_packages_own_checkout(package):
    commit = provenance.commit_of(package)
    assert len(commit) == 12 and int(commit, 16) >= 0
    (package / '__init__.py').write_text('changed = True')
    assert provenance.commit_of(package) == f'{commit}-dirty'


def test_a_checkout_around_an_installed_package_says_nothing_of_it(package):
    installed = package.parent / 'env' / 'site-packages' / 'other'
    untracked = package.parent / 'copied'
    for folder in (installed, untracked):
        folder.mkdir(parents=True)
        (folder / '__init__.py').write_text('')
    git(package.parent, 'add', 'env')
    git(package.parent, 'commit', '-q', '-m', 'an environment, by mistake')
    assert provenance.commit_of(installed) is None
    assert provenance.commit_of(untracked) is None


def test_outside_a_checkout_there_is_no_commit(tmp_path, monkeypatch):
    assert provenance.commit_of(tmp_path) is None
    monkeypatch.setenv('PATH', str(tmp_path))
    assert provenance.commit_of(Path(provenance.__file__).parent) is None


def test_a_copy_without_git_is_told_its_commit(monkeypatch):
    monkeypatch.setenv(provenance.COMMIT_VARIABLE, 'abc123')
    assert provenance.provenance()['commit'] == 'abc123'
