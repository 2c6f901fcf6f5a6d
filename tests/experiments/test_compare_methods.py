"""Training and evaluating several methods under one budget."""

import json

import pytest
from autofuse_jax.configs.comparison.presets import TASKS
from autofuse_jax.configs.comparison.rows import ROWS, Row

from experiments.comparison.compare_methods import main, scaled_phases
from experiments.comparison.table import table_of
from tests.quick import hurried
from tests.tiny import tiny_config

STEPS = 3


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
    with hurried():
        assert main(arguments(prepared, tmp_path)) == 0
    record = json.loads((tmp_path / 'record.json').read_text())
    assert set(record['rows']) == {'autofuse_no_elk', 'autofuse'}
    assert record['steps'] == STEPS and record['not_done'] == []
    row = record['rows']['autofuse_no_elk']
    assert row['parameters'] < record['rows']['autofuse']['parameters']
    assert 0 < row['scores']['dsc_after']['mean'] <= 1
    assert 0 <= row['p_dsc_after'] <= 1 and 'p_dsc_after' not in record['rows']['autofuse']
    table = (tmp_path / 'record.md').read_text()
    assert table == table_of(record) + '\n'
    assert 'Without ELK' in table and '| before |' in table
    # The second time nothing is trained.
    before = (tmp_path / 'work' / 'autofuse' / 'metrics.jsonl').stat().st_mtime_ns
    assert main(arguments(prepared, tmp_path)) == 0
    assert (tmp_path / 'work' / 'autofuse' / 'metrics.jsonl').stat().st_mtime_ns == before
    # Another budget in the same folder would mix runs.
    capsys.readouterr()
    assert main(arguments(prepared, tmp_path, steps=STEPS + 1)) == 2
    assert 'holds a run with another config' in capsys.readouterr().err


def test_rows_of_an_earlier_record_are_taken_over(prepared, small_rows, tmp_path, capsys):
    first = tmp_path / 'first'
    with hurried():
        assert main([*arguments(prepared, first)[:-1]]) == 0
        assert main([*arguments(prepared, tmp_path, earlier=first / 'record.json')]) == 0
    one, both = (json.loads((folder / 'record.json').read_text()) for folder in (first, tmp_path))
    assert set(one['rows']) == {'autofuse_no_elk'} and 'p_dsc_after' not in one['rows']['autofuse_no_elk']
    taken = dict(both['rows']['autofuse_no_elk'])
    assert 0 <= taken.pop('p_dsc_after') <= 1 and 0 <= taken.pop('p_njd_percent') <= 1
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
    ('steps', 'total', 'expected'),
    [
        ({'a': 40, 'b': 10}, 100, {'a': 80, 'b': 20}),
        ({'a': 40, 'b': 10}, 2, {'a': 1, 'b': 1}),
        ({'a': 98, 'b': 1, 'c': 1}, 3, {'a': 1, 'b': 1, 'c': 1}),
        ({'a': 0, 'b': 7}, 5, {'a': 0, 'b': 5}),
        ({'a': 20_000, 'b': 20_000, 'c': 10_000}, 7, {'a': 3, 'b': 3, 'c': 1}),
    ],
)
def test_phases_keep_their_shares(steps, total, expected):
    assert scaled_phases(steps, total) == expected


def test_the_small_task_needs_as_many_steps_as_phases(prepared, tmp_path, capsys):
    few = [a for a in arguments(prepared, tmp_path, steps=1) if not a.startswith('--task')]
    assert main([f'--task={next(iter(TASKS))}', *few]) == 2
    assert '--steps=1 for 2 phases' in capsys.readouterr().err
