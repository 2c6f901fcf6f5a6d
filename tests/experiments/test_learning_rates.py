"""The search of a learning rate for each family of methods."""

import json

import pytest

from autofuse_jax.errors import DivergedError
from experiments.comparison import learning_rates
from experiments.comparison.learning_rates import main
from experiments.comparison.rates import Family, read_rates

RATES = (1e-3, 1e-2, 1e-1)


@pytest.fixture
def one_family(monkeypatch):
    family = Family(('voxelmorph', 'sen'), 'voxelmorph', RATES)
    monkeypatch.setattr(learning_rates, 'FAMILIES', {'small': family})


@pytest.fixture
def trained(monkeypatch):
    """Replace training by numbers: the higher rate is better, the highest diverges. Returns the rates asked for."""
    asked = []

    def train(config, workdir):
        rate = config.optimizer.learning_rate
        asked.append(rate)
        if rate == RATES[-1]:
            raise DivergedError('at step 1 these are not finite any more: term/negative_ncc')
        return {'dsc_before': 0.5, 'dsc_after': 0.6 + rate, 'njd_percent': 0.0, 'sdlogj': 0.1}

    monkeypatch.setattr(learning_rates, 'train_and_evaluate', train)
    return asked


def arguments(folder, **others):
    options = {'task': 'cardiac', 'data': folder, 'steps': 9, 'workdir': folder / 'work', 'out': folder / 'rates.json'}
    return [f'--{name}={value}' for name, value in (options | others).items()]


def test_the_search_is_recorded_and_read_by_the_comparison(one_family, trained, tmp_path, capsys):
    assert main(arguments(tmp_path, warmup=2, **{'clip-norm': 1, 'grid': '32,32,16'})) == 0
    assert 'small: 0.01' in capsys.readouterr().out
    record = json.loads((tmp_path / 'rates.json').read_text())
    assert {'command', 'commit', 'machine', 'date', 'versions'} <= set(record)
    assert record['recipe']['grid'] == [32, 32, 16] and record['recipe']['warmup_steps'] == 2
    trials = record['families']['small']['trials']
    assert [(t['learning_rate'], t['diverged']) for t in trials] == [(1e-3, False), (1e-2, False), (1e-1, True)]
    assert read_rates(tmp_path / 'rates.json', ['sen']) == {'voxelmorph': 1e-2, 'sen': 1e-2}
    # The second time nothing is trained.
    trained.clear()
    assert main(arguments(tmp_path, warmup=2, **{'clip-norm': 1, 'grid': '32,32,16'})) == 0
    assert trained == []


def test_the_search_goes_on_where_it_was_stopped(one_family, trained, tmp_path, monkeypatch):
    train = learning_rates.train_and_evaluate

    def stopped(config, workdir):
        return None if config.optimizer.learning_rate == RATES[1] else train(config, workdir)

    with monkeypatch.context() as patch:
        patch.setattr(learning_rates, 'train_and_evaluate', stopped)
        assert main(arguments(tmp_path)) == learning_rates.STOPPED_STATUS
    # A family whose search is not complete has no learning rate yet.
    assert json.loads((tmp_path / 'rates.json').read_text())['rates'] == {}
    assert main(arguments(tmp_path)) == 0
    assert trained == list(RATES)


def test_a_family_may_need_longer_trainings(trained, tmp_path, monkeypatch):
    steps = []

    def train(config, workdir):
        steps.append(sum(phase.steps for phase in config.phases.values()))
        return {'dsc_before': 0.5, 'dsc_after': 0.6, 'njd_percent': 0.0, 'sdlogj': 0.1}

    monkeypatch.setattr(learning_rates, 'train_and_evaluate', train)
    for longer in (1, 3):
        monkeypatch.setattr(learning_rates, 'FAMILIES', {'slow': Family(('sen',), 'sen', RATES[:1], longer)})
        assert main(arguments(tmp_path)) == 0
    assert steps == [9, 27]
    # The shorter training does not count any more.
    trials = json.loads((tmp_path / 'rates.json').read_text())['families']['slow']['trials']
    assert [trial['steps'] for trial in trials] == [27]


def test_trials_of_another_recipe_are_not_mixed(one_family, trained, tmp_path, capsys):
    assert main(arguments(tmp_path)) == 0
    assert main(arguments(tmp_path, steps=10)) == 2
    assert 'another recipe: steps 9 instead of 10' in capsys.readouterr().err
    (tmp_path / 'rates.json').write_text('{}')
    assert main(arguments(tmp_path)) == 2
    assert 'no record of a search' in capsys.readouterr().err


def test_a_family_that_always_diverges_is_named(one_family, trained, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(learning_rates, 'FAMILIES', {'wild': Family(('sen',), 'sen', RATES[-1:])})
    assert main(arguments(tmp_path)) == 2
    assert 'every training of wild diverged' in capsys.readouterr().err
