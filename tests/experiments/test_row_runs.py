"""A row that diverges is trained again with the learning rate that its authors published."""

import pytest
from autofuse_jax.configs.comparison.rows import ROWS

from autofuse_jax.errors import DivergedError, UserError
from autofuse_jax.files import write_json, write_text
from autofuse_jax.records.run_folder import CONFIG_NAME
from experiments.comparison import row_runs
from experiments.comparison.row_runs import DIVERGENCE_NAME, is_run_of, published_config, run_of, train_row
from experiments.comparison.run_identity import fingerprint
from tests.experiments.test_run_identity import config_of

# Of what is trained first.
RATE = 3e-3


@pytest.fixture
def training(monkeypatch):
    """Replace training by its files; rates in the set 'diverging' diverge, those in 'stopped' are ended by a signal.

    Returns both sets and the list 'rates' of those that were trained.
    """
    state = {'diverging': set(), 'stopped': set(), 'rates': []}

    def train(config, folder):
        rate = config.optimizer.learning_rate
        state['rates'].append(rate)
        write_text(folder / CONFIG_NAME, config.to_json_best_effort())
        if rate in state['diverging']:
            raise DivergedError('at step 2 these are not finite any more: term/negative_ncc')
        if rate in state['stopped']:
            return None
        write_json(folder / f'evaluation_{config.evaluation.split}' / 'result.json', {})
        return {'dsc_after': 0.7}

    monkeypatch.setattr(row_runs, 'train_and_evaluate', train)
    return state


def test_a_row_is_trained_with_the_rate_of_the_comparison(training, tmp_path):
    config = config_of('transmatch', RATE)
    assert train_row('transmatch', config, tmp_path)
    run = run_of('transmatch', config, tmp_path)
    assert run.is_done and run.is_over and run.divergence is None and run.folder == tmp_path / 'transmatch'
    assert is_run_of({'config': fingerprint(config), 'diverged_before': None}, 'transmatch', config)


def test_a_row_that_diverges_gets_its_published_rate(training, tmp_path, capsys):
    training['diverging'] = {RATE}
    config = config_of('transmatch', RATE)
    assert train_row('transmatch', config, tmp_path)
    # TransMatch was published with four times the rate of the others.
    assert training['rates'] == [RATE, 4e-4]
    run = run_of('transmatch', config, tmp_path)
    assert run.is_done and run.config.optimizer.learning_rate == 4e-4 and run.folder.name == 'transmatch_published'
    assert run.divergence['learning_rate'] == RATE and 'at step 2' in run.divergence['error']
    # The config of the comparison is as it was.
    assert config.optimizer.learning_rate == RATE
    said = capsys.readouterr().err
    assert 'transmatch diverged with a learning rate of 0.003: at step 2' in said
    assert 'again, with the published learning rate of 0.0004' in said
    # Nothing is left to train.
    assert train_row('transmatch', config, tmp_path) and len(training['rates']) == 2


def test_a_second_run_that_is_stopped_goes_on(training, tmp_path):
    training.update(diverging={RATE}, stopped={4e-4})
    config = config_of('transmatch', RATE)
    assert not train_row('transmatch', config, tmp_path)
    assert not run_of('transmatch', config, tmp_path).is_over
    training['stopped'] = set()
    assert train_row('transmatch', config, tmp_path)
    assert training['rates'] == [RATE, 4e-4, 4e-4]


@pytest.mark.parametrize(('rate', 'trained'), [(RATE, [RATE, 1e-4]), (1e-4, [1e-4])])
def test_a_row_that_diverges_with_the_published_rate_is_over(training, tmp_path, rate, trained):
    training['diverging'] = {RATE, 1e-4}
    config = config_of('voxelmorph', rate)
    assert train_row('voxelmorph', config, tmp_path)
    assert training['rates'] == trained
    run = run_of('voxelmorph', config, tmp_path)
    assert run.is_over and not run.is_done and run.own_divergence['learning_rate'] == 1e-4


def test_a_note_of_another_run_does_not_count(training, tmp_path):
    training['diverging'] = {RATE}
    train_row('voxelmorph', config_of('voxelmorph', RATE), tmp_path)
    assert (tmp_path / 'voxelmorph' / DIVERGENCE_NAME).is_file()
    with pytest.raises(UserError, match='holds a run with another config: optimizer.learning_rate'):
        run_of('voxelmorph', config_of('voxelmorph', 1e-3), tmp_path)


def test_rows_of_records_are_told_by_both_rates():
    config = config_of('transmatch', RATE)
    published = fingerprint(published_config('transmatch', config))
    row = {'config': published, 'diverged_before': {'learning_rate': RATE, 'error': ''}}
    assert is_run_of(row, 'transmatch', config)
    assert not is_run_of(row, 'transmatch', config_of('transmatch', 1e-3))
    # Trained with the published rate at once is another recipe.
    assert not is_run_of({'config': published}, 'transmatch', config)


def test_published_rates_are_rates():
    assert {row.published_rate for row in ROWS.values()} == {1e-4, 4e-4}
