"""The README says what the records say, and its commands name files that exist."""

import ast
import importlib
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from autofuse_jax.cli import COMMANDS
from autofuse_jax.version import __version__
from experiments.tables import readme_tables

REPOSITORY = Path(__file__).resolve().parents[1]
PAGES = [readme_tables.README, *sorted((REPOSITORY / 'docs').glob('*.md'))]
# What is indented: a command of the package, perhaps over several lines.
COMMAND = re.compile(r'^    ((?:python -m autofuse_jax\.\w+|autofuse-jax) .*)$', re.MULTILINE)


def test_tables_are_those_of_the_records():
    assert readme_tables.main(['--check']) == 0


def test_outdated_table_is_noticed(tmp_path, monkeypatch):
    text = readme_tables.README.read_text(encoding='utf-8')
    changed = tmp_path / 'README.md'
    changed.write_text(text.replace('<!-- cardiac -->\n', '<!-- cardiac -->\n| a row that no record holds |\n'))
    monkeypatch.setattr(readme_tables, 'DOCUMENTS', {changed: readme_tables.DOCUMENTS[readme_tables.README]})
    assert readme_tables.main(['--check']) == 1
    assert readme_tables.main([]) == 0
    assert changed.read_text(encoding='utf-8') == text


def test_named_configs_exist():
    texts = [document.read_text(encoding='utf-8') for document in readme_tables.DOCUMENTS]
    named = set(re.findall(r'configs/((?:\w+/)?\w+\.py)', ''.join(texts)))
    assert {'quickstart.py', 'default.py', 'cardiac_semi.py', 'comparison/cardiac.py'} <= named
    assert all((REPOSITORY / 'configs' / name).is_file() for name in named)


def test_results_say_where_they_come_from():
    records = sorted(readme_tables.RESULTS.glob('*.json'))
    assert records
    for path in records:
        record = readme_tables.read_record(path.name)
        assert {'command', 'commit', 'machine', 'date', 'versions'} <= set(record), path
        assert not record['commit'].endswith('-dirty'), f'{path} was made from changed sources'


def test_records_that_the_page_on_training_names_exist():
    text = (REPOSITORY / 'docs' / 'training.md').read_text(encoding='utf-8')
    named = {name.rpartition('/')[2] for name in re.findall(r'`([\w/]+\.jsonl?)`', text)}
    assert len(named) > 30
    assert sorted(name for name in named if not (readme_tables.RESULTS / name).is_file()) == []


def test_links_inside_the_documentation_lead_somewhere():
    for document in PAGES:
        links = re.findall(r'\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)', document.read_text(encoding='utf-8'))
        for target, anchor in links:
            path = (document.parent / target).resolve() if target else document
            assert path.exists(), f'{document.name} links to {target}'
            if anchor:
                heads = re.findall(r'^#+ (.*)$', path.read_text(encoding='utf-8'), re.MULTILINE)
                slugs = {re.sub(r'[^\w\- ]', '', head.lower()).replace(' ', '-') for head in heads}
                assert anchor in slugs, f'{document.name} links to {target}#{anchor}'


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_commands_of_the_documentation_are_understood(page, monkeypatch):
    # Options are parsed, and nothing is done.
    monkeypatch.chdir(REPOSITORY)
    monkeypatch.setattr('autofuse_jax.commands.command_line.run_command', lambda *_, **__: 0)
    monkeypatch.setattr('autofuse_jax.main.run', lambda _: 0)
    for line in COMMAND.findall(page.read_text(encoding='utf-8').replace('\\\n', ' ')):
        words = [word for word in shlex.split(line, comments=True) if word != '...']
        if words[0] == 'python':
            module, program, arguments = words[2], f'python -m {words[2]}', words[3:]
        else:
            command = COMMANDS[words[1]]
            module, program, arguments = command.module, words[1], [*command.arguments, *words[2:]]
        assert importlib.import_module(module).main(arguments, program) == 0, line


def test_help_keeps_the_lines_of_long_commands():
    # A single backslash at the end of a line of a docstring joins it with the next one.
    for folder in ('autofuse_jax', 'configs', 'experiments'):
        for path in (REPOSITORY / folder).rglob('*.py'):
            text = ast.get_docstring(ast.parse(path.read_text(encoding='utf-8'))) or ''
            assert not re.search(r'\S {5,}--', text), path


def test_the_citation_has_the_version_of_the_package():
    citation = (REPOSITORY / 'CITATION.cff').read_text(encoding='utf-8')
    assert re.search(r'^version: (.*)$', citation, re.MULTILINE)[1] == __version__


def test_every_page_is_in_the_contents_of_the_site():
    docs = REPOSITORY / 'docs'
    trees = re.findall(r'```{toctree}\n(.*?)```', (docs / 'index.md').read_text(encoding='utf-8'), re.DOTALL)
    listed = [line for tree in trees for line in tree.splitlines() if line and not line.startswith(':')]
    assert sorted(listed) == sorted(path.stem for path in docs.glob('*.md') if path.stem != 'index')


def test_the_questions_are_fifteen_and_each_has_a_command_that_exists():
    questions = re.split(
        r'^## \d+\. ', (REPOSITORY / 'docs' / 'faq.md').read_text(encoding='utf-8'), flags=re.MULTILINE
    )
    commands = [re.findall(r'^    autofuse-jax (\w+)', question, re.MULTILINE) for question in questions[1:]]
    assert len(commands) == 15 and all(len(found) == 1 and found[0] in COMMANDS for found in commands)


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(tmp_path):
    pytest.importorskip('furo')
    pytest.importorskip('myst_nb')
    command = [sys.executable, '-m', 'sphinx', '--fail-on-warning', '--keep-going', '--quiet', 'docs', tmp_path]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert 'Register two images from Python' in (tmp_path / 'api.html').read_text(encoding='utf-8')
    # The notebooks with their pictures are pages, too.
    page = (tmp_path / 'notebooks' / '1_two_images_to_a_report.html').read_text(encoding='utf-8')
    assert 'the registration is wrong by' in page and page.count('.png') >= 4
