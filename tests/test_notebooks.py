"""The notebooks: stored outputs belong to their sources, cells run from top to bottom, and what they find is right."""

import json
import re
import sys
import types
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest

from experiments.notebooks.sources import CODE, NOTEBOOKS, cells_of, sources

PATHS = sources()
NAMES = [path.stem for path in PATHS]
LARGEST_BYTES = 1_000_000
# Of a machine, never of the package.
PRIVATE = re.compile(r'/(?:home|root|work|Users|content)/|/tmp/(?!tmp)')


def stored(path):
    return json.loads(path.with_suffix('.ipynb').read_text(encoding='utf-8'))


def run(name, folder, monkeypatch):
    """Execute the code cells of a notebook in a folder, and return the names that they leave."""
    monkeypatch.chdir(folder)
    matplotlib.use('Agg')
    figures = []
    monkeypatch.setattr(plt, 'show', lambda: figures.append(plt.gcf()))
    path = next(path for path in PATHS if path.stem.startswith(name))
    module = types.ModuleType('notebook')
    for number, cell in enumerate(cells_of(path)):
        if cell.kind == CODE:
            exec(compile(cell.text, f'{path.name}, cell {number}', 'exec'), module.__dict__)
    plt.close('all')
    assert figures
    # Nothing stays where the notebook was started.
    assert list(folder.iterdir()) == []
    return module


def test_there_are_five():
    assert [name[0] for name in NAMES] == list('12345')


@pytest.mark.parametrize('path', PATHS, ids=NAMES)
def test_stored_notebook_has_the_cells_of_its_source(path):
    cells = stored(path)['cells']
    assert [(cell['cell_type'], ''.join(cell['source'])) for cell in cells] == [tuple(cell) for cell in cells_of(path)]


@pytest.mark.parametrize('path', PATHS, ids=NAMES)
def test_stored_notebook_was_executed_without_errors(path):
    cells = [cell for cell in stored(path)['cells'] if cell['cell_type'] == CODE]
    assert [cell['execution_count'] for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell['outputs']]
    assert 'error' not in {output['output_type'] for output in outputs}
    assert sum('image/png' in output.get('data', {}) for output in outputs) >= 3
    assert path.with_suffix('.ipynb').stat().st_size < LARGEST_BYTES


@pytest.mark.parametrize('path', PATHS, ids=NAMES)
def test_stored_outputs_name_no_place_of_a_machine(path):
    for cell in stored(path)['cells']:
        for output in cell.get('outputs', []):
            texts = [output.get('text', ''), *output.get('data', {}).get('text/plain', '')]
            assert not PRIVATE.search(''.join(map(''.join, texts)))


@pytest.mark.parametrize('path', PATHS, ids=NAMES)
def test_each_begins_with_words_and_the_cell_for_colab(path):
    words, colab = cells_of(path)[:2]
    assert words.kind == 'markdown' and words.text.startswith('# ')
    assert colab == cells_of(PATHS[0])[1]


def test_first_cell_does_nothing_elsewhere(capsys):
    before = set(sys.modules)
    exec(cells_of(PATHS[0])[1].text, {})
    assert capsys.readouterr() == ('', '')
    assert {'jax', 'autofuse_jax'} & (set(sys.modules) - before) == set()


@pytest.fixture
def colab(monkeypatch):
    """Google Colab without network: the commands that its first cell would start."""
    commands = []

    def start(command, **options):
        commands.append(command)
        return types.SimpleNamespace(stdout='TPU, TPU v5 lite\n' if options.get('capture_output') else '')

    monkeypatch.setitem(sys.modules, 'google.colab', types.ModuleType('google.colab'))
    monkeypatch.setattr('subprocess.run', start)
    return commands


def test_first_cell_asks_for_an_address_on_colab(colab):
    with pytest.raises(SystemExit, match='address of your copy'):
        exec(cells_of(PATHS[0])[1].text, {})
    assert colab == []


def test_first_cell_installs_on_colab_and_says_what_it_found(colab, capsys):
    text = cells_of(PATHS[0])[1].text
    exec(re.sub(r"^    repository = ''", "    repository = 'git+https://example.org/copy'", text, flags=re.M), {})
    assert colab[0][1:] == ['-m', 'pip', 'install', '--quiet', 'git+https://example.org/copy']
    assert 'JAX computes on: TPU, TPU v5 lite' in capsys.readouterr().out


def test_links_between_notebooks_and_pages_lead_somewhere():
    for path in PATHS:
        for target in re.findall(r'\]\((?!https?:)([^)#]+)\)', path.read_text(encoding='utf-8')):
            assert (NOTEBOOKS / target).exists(), f'{path.name} links to {target}'


def test_two_images_to_a_report(tmp_path, monkeypatch):
    notebook = run('1', tmp_path, monkeypatch)
    assert notebook.true_motion > 5 and notebook.true_error < 1.6
    assert all(notebook.after[label] > 0.88 > 0.7 > notebook.before[label] for label in (1, 2, 3))
    assert notebook.measures.verdict.level == 'good' and notebook.status == 0
    # What the command writes is what the call returned.
    report = json.loads(Path(notebook.folder.name, 'result', 'report.json').read_text())
    assert report['scores']['dsc_after'] == pytest.approx(np.mean(list(notebook.after.values())), abs=1e-3)


def test_transforms(tmp_path, monkeypatch, capsys):
    notebook = run('2', tmp_path, monkeypatch)
    assert min(notebook.overlap.values()) > 0.93 > 0.7 > max(notebook.overlap_before.values())
    assert notebook.distance_before.mean() > 4 and notebook.distance.max() < 0.01
    assert notebook.inverse_error.max() < 0.3 and notebook.composition_error.mean() < 0.1
    assert notebook.sharp_twice < notebook.sharp_once
    assert 'displacement field in FSL convention' in capsys.readouterr().out
    if notebook.sitk is not None:
        assert notebook.itk_difference < 1e-3
    # The cell about SimpleITK once more, where there is none.
    monkeypatch.setitem(sys.modules, 'SimpleITK', None)
    exec(next(cell.text for cell in cells_of(PATHS[1]) if 'import SimpleITK' in cell.text), notebook.__dict__)
    assert notebook.itk_difference is None and 'SimpleITK is not installed' in capsys.readouterr().out


@pytest.mark.slow
def test_cine(tmp_path, monkeypatch):
    notebook = run('3', tmp_path, monkeypatch)
    assert abs(notebook.ejection_measured - notebook.ejection_true) < 10
    assert notebook.volume_error < 0.1 * notebook.true[3].max()
    assert notebook.scores['njd_percent'] < 0.1


@pytest.mark.slow
def test_train_autofuse_in_minutes(tmp_path, monkeypatch):
    notebook = run('4', tmp_path, monkeypatch)
    assert notebook.status == 0
    validation = [row['dsc_after'] for row in notebook.rows() if row['kind'] == 'validation']
    assert len(validation) == 4 and validation[-1] > 0.8 > validation[0]
    errors = notebook.errors
    assert errors['tiny network'] < errors['nothing'] and errors['phantom network'] < 0.6 * errors['nothing']
    assert errors['optimisation'] < 0.4 * errors['nothing']
    assert all(0 <= weights.min() and weights.max() <= 1 for weights in notebook.gates['tiny'].values())


@pytest.mark.slow
def test_your_data_the_papers_data(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv('AUTOFUSE_JAX_DATA', str(tmp_path / 'nothing'))
    monkeypatch.delenv('AUTOFUSE_NETWORKS', raising=False)
    notebook = run('5', tmp_path, monkeypatch)
    said = capsys.readouterr().out
    assert 'There is no ACDC here' in said and "names no file of the authors' networks" in said
    assert notebook.dsc['default'] > notebook.dsc['stiff'] > 0.7
    assert len(notebook.scores['default']) == len(notebook.scores['stiff']) == 8
    assert notebook.weights_came_back in (True, None)


@pytest.mark.slow
def test_your_data_with_acdc(tmp_path, monkeypatch, real_data):
    monkeypatch.setenv('AUTOFUSE_JAX_DATA', str(real_data))
    monkeypatch.setitem(sys.modules, 'torch', None)
    notebook = run('5', tmp_path, monkeypatch)
    assert notebook.acdc_scores['dsc_after'] > notebook.acdc_scores['dsc_before']
