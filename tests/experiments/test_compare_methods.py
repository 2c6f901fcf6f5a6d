"""Training and evaluating several methods under one budget."""

import json
import os
import signal

import pytest
from autofuse_jax.configs.comparison.rows import ROWS, Row

from autofuse_jax.errors import DivergedError
from autofuse_jax.files import write_text
from autofuse_jax.records.run_folder import CONFIG_NAME
from autofuse_jax.training import loop
from experiments.comparison import row_runs
from experiments.comparison.compare_methods import main
from experiments.comparison.row_runs import STOPPED_STATUS
from experiments.comparison.table import comparison_page
from tests.programs import remembered_programs
from tests.tiny import tiny_config

STEPS = 3


@pytest.fixture(scope='module', autouse=True)
def programs():
    """The same two small networks are trained again and again."""
    with remembered_programs():
        yield


@pytest.fixture(scope='module')
def prepared(tmp_path_factory):
    """Return a folder of phantoms, which look like prepared hearts."""
    from autofuse_jax.data.open_dataset import open_dataset

    root = tmp_path_factory.mktemp('phantoms')
    open_dataset('phantom', root, tiny_config(root).data.phantom.to_dict())
    return root


@pytest.fixture
def small_rows(monkeypatch):
    # The smallest networks there are, under the names of the rows.
    monkeypatch.setitem(ROWS, 'autofuse', Row('AutoFuse', 'voxelmorph', {'base_channels': 4}))
    monkeypatch.setitem(ROWS, 'autofuse_no_elk', Row('Without ELK', 'voxelmorph', {'base_channels': 2}))


def arguments(prepared, folder, **others):
    options = {
        'task': 'cardiac',
        'data': prepared,
        'steps': STEPS,
        'learning-rate': 1e-3,
        'workdir': folder / 'work',
        'out': folder / 'record.json',
    } | others
    return [*(f'--{name}={value}' for name, value in options.items()), '--rows', 'autofuse_no_elk', 'autofuse']


def test_rows_are_trained_once_and_compared(prepared, small_rows, tmp_path, capsys):
    assert main(arguments(prepared, tmp_path)) == 0
    record = json.loads((tmp_path / 'record.json').read_text())
    assert set(record['rows']) == {'autofuse_no_elk', 'autofuse'}
    assert record['steps'] == STEPS and record['not_done'] == [] and record['diverged'] == {}
    row = record['rows']['autofuse_no_elk']
    (point,) = row['validation']
    assert point['step'] == STEPS and 0 < point['dsc_after'] <= 1 and point['njd_percent'] >= 0
    assert row['diverged_before'] is None and row['learning_rate'] == 1e-3
    assert row['parameters'] < record['rows']['autofuse']['parameters']
    assert 0 < row['scores']['dsc_after']['mean'] <= 1
    assert 0 <= row['p_dsc_after'] <= 1 and 'p_dsc_after' not in record['rows']['autofuse']
    assert 0 <= row['p_sdlogj'] <= 1
    page = (tmp_path / 'record.md').read_text()
    assert page == comparison_page(record, 'record.png') and (tmp_path / 'record.png').is_file()
    table = capsys.readouterr().out
    assert 'Without ELK' in table and '| before |' in table
    # The second time nothing is trained.
    before = (tmp_path / 'work' / 'autofuse' / 'metrics.jsonl').stat().st_mtime_ns
    assert main(arguments(prepared, tmp_path)) == 0
    assert (tmp_path / 'work' / 'autofuse' / 'metrics.jsonl').stat().st_mtime_ns == before
    # Another budget in the same folder would mix runs.
    capsys.readouterr()
    assert main(arguments(prepared, tmp_path, steps=STEPS + 1)) == 2
    assert 'holds a run with another config' in capsys.readouterr().err


@pytest.mark.slow
def test_rows_of_an_earlier_record_are_taken_over(prepared, small_rows, tmp_path, capsys):
    first = tmp_path / 'first'
    assert main([*arguments(prepared, first)[:-1]]) == 0
    assert main([*arguments(prepared, tmp_path, earlier=first / 'record.json')]) == 0
    one, both = (json.loads((folder / 'record.json').read_text()) for folder in (first, tmp_path))
    assert set(one['rows']) == {'autofuse_no_elk'} and 'p_dsc_after' not in one['rows']['autofuse_no_elk']
    taken = dict(both['rows']['autofuse_no_elk'])
    assert 0 <= taken.pop('p_dsc_after') <= 1 and 0 <= taken.pop('p_njd_percent') <= 1
    assert 0 <= taken.pop('p_sdlogj') <= 1
    assert taken == one['rows']['autofuse_no_elk'] and both['not_done'] == []
    assert not (tmp_path / 'work' / 'autofuse_no_elk').exists()
    capsys.readouterr()
    for changed, words in (
        ({'steps': STEPS + 1}, f'another budget: steps {STEPS} instead of {STEPS + 1}'),
        ({'learning-rate': 2e-3}, 'autofuse_no_elk with other settings'),
        ({'earlier': prepared / 'manifest.json'}, 'no record of a comparison'),
    ):
        again = arguments(prepared, tmp_path / 'again', **({'earlier': first / 'record.json'} | changed))
        assert main(again) == 2
        assert words in capsys.readouterr().err


def test_a_spent_budget_begins_no_row(prepared, small_rows, tmp_path, capsys):
    assert main(arguments(prepared, tmp_path, minutes=1e-9)) == 2
    assert 'no row is complete' in capsys.readouterr().err
    assert not (tmp_path / 'record.json').exists()


def test_unknown_rows_are_refused(prepared, tmp_path, capsys):
    assert main([*arguments(prepared, tmp_path)[:-2], 'voxelmorf']) == 2
    assert 'unknown rows voxelmorf' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('changed', 'words'),
    [
        ({'grid': '64,64,20'}, r'data.grid is (64, 64, 20)'),
        ({'warmup': STEPS}, f'optimizer.warmup_steps is {STEPS}'),
        ({'clip-norm': -1}, 'optimizer.clip_norm is -1.0'),
        ({'steps': 1}, '--steps=1 for 2 phases'),
    ],
)
def test_an_impossible_recipe_ends_before_any_training(prepared, small_rows, tmp_path, capsys, changed, words):
    assert main(arguments(prepared, tmp_path, **changed)) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / 'work').exists()


def test_each_row_gets_its_searched_learning_rate(prepared, small_rows, tmp_path, monkeypatch):
    (tmp_path / 'rates.json').write_text(json.dumps({'rates': {'autofuse': 3e-3}}))
    rates = {}

    def note(config, folder):
        rates[folder.name] = config.optimizer.learning_rate

    monkeypatch.setattr(row_runs, 'train_and_evaluate', note)
    for row in ('autofuse', 'autofuse_no_elk'):
        one_row = [*arguments(prepared, tmp_path, rates=tmp_path / 'rates.json')[:-2], row]
        # A training that returns nothing was stopped.
        assert main(one_row) == STOPPED_STATUS
    assert rates == {'autofuse': 3e-3, 'autofuse_no_elk': 1e-3}


def test_rows_of_another_recipe_are_not_taken_over(prepared, small_rows, tmp_path, capsys):
    path = tmp_path / 'earlier.json'
    path.write_text(json.dumps({'task': 'cardiac', 'split': 'test', 'steps': STEPS, 'rows': {}, 'pairs': []}))
    assert main(arguments(prepared, tmp_path, earlier=path, warmup=1, grid='32,32,16')) == 2
    words = 'another budget: grid None instead of [32, 32, 16], warmup_steps None instead of 1'
    assert words in capsys.readouterr().err


@pytest.mark.slow
def test_a_row_that_diverges_does_not_end_the_comparison(prepared, small_rows, tmp_path, monkeypatch, capsys):
    """One diverges with both learning rates, the other with that of the comparison only."""
    really_train, trained = row_runs.train_and_evaluate, []

    def diverging(config, folder):
        trained.append(folder.name)
        if folder.name.startswith('autofuse_no_elk'):
            write_text(folder / CONFIG_NAME, config.to_json_best_effort())
            raise DivergedError('at step 2 these are not finite any more: term/negative_ncc')
        return really_train(config, folder)

    monkeypatch.setattr(row_runs, 'train_and_evaluate', diverging)
    too_high = {'learning-rate': 1e12}
    assert main(arguments(prepared, tmp_path, **too_high)) == 0
    assert trained == ['autofuse_no_elk', 'autofuse_no_elk_published', 'autofuse', 'autofuse_published']
    record = json.loads((tmp_path / 'record.json').read_text())
    assert list(record['rows']) == ['autofuse'] and record['not_done'] == ['autofuse_no_elk']
    assert record['diverged']['autofuse_no_elk']['learning_rate'] == 1e-4
    row = record['rows']['autofuse']
    assert row['learning_rate'] == 1e-4 and row['diverged_before']['learning_rate'] == 1e12
    assert 'not finite any more' in row['diverged_before']['error']
    table = capsys.readouterr().out
    assert '| AutoFuse ‡ |' in table and '| AutoFuse without ELK (diverged) |' not in table
    assert '| Without ELK (diverged) |' in table
    # The second time nothing is trained, and another machine takes the row over.
    assert main(arguments(prepared, tmp_path, **too_high)) == 0
    elsewhere = arguments(prepared, tmp_path / 'elsewhere', earlier=tmp_path / 'record.json', **too_high)
    assert main([*elsewhere[:-2], 'autofuse']) == 0
    assert len(trained) == 4


@pytest.mark.slow
def test_the_record_exists_while_later_rows_are_trained(prepared, small_rows, tmp_path, monkeypatch):
    really_train = row_runs.train_and_evaluate
    monkeypatch.setattr(
        row_runs,
        'train_and_evaluate',
        lambda config, folder: None if folder.name == 'autofuse' else really_train(config, folder),
    )
    assert main(arguments(prepared, tmp_path)) == STOPPED_STATUS
    record = json.loads((tmp_path / 'record.json').read_text())
    assert list(record['rows']) == ['autofuse_no_elk'] and record['not_done'] == ['autofuse']


@pytest.mark.slow
def test_a_signal_in_the_middle_of_a_row_loses_no_step(prepared, small_rows, tmp_path, monkeypatch, capsys):
    step_function = loop.Trainer._step_function

    def interrupted(trainer, *others):
        if trainer._step == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return step_function(trainer, *others)

    one_row = arguments(prepared, tmp_path)[:-1]
    with monkeypatch.context() as patch:
        patch.setattr(loop.Trainer, '_step_function', interrupted)
        assert main(one_row) == STOPPED_STATUS
    assert 'ending at step 2: received SIGTERM' in capsys.readouterr().err
    assert not (tmp_path / 'record.json').exists()
    assert main(one_row) == 0
    assert 'continuing from step 2' in capsys.readouterr().err
    assert list(json.loads((tmp_path / 'record.json').read_text())['rows']) == ['autofuse_no_elk']
