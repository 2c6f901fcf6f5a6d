"""The command line: what it understands, and that every mistake is answered in one line that helps."""

import runpy
import sys
from pathlib import Path

import jax.numpy as jnp
import pytest

from autofuse_jax.errors import UserError
from autofuse_jax.main import main, parse
from autofuse_jax.methods.base import Method, Objective, Prediction
from tests.data.hand_made import manifest_of, subject, write_data_set
from tests.tiny import tiny_arguments

REPOSITORY = Path(__file__).resolve().parents[1]
DEFAULT = '--config=configs/default.py'
SHAPE = (32, 32, 16)
FRAMES = 'ED+ - ES+'
MISSPELT = """
from configs import default


def get_config():
    config = default.get_config()
    config.data.source = 'prepared'
    config.seeed = 1
    return config
"""


@pytest.fixture(autouse=True)
def in_the_repository(monkeypatch):
    monkeypatch.chdir(REPOSITORY)


def test_the_module_of_notebooks_is_the_command_too(monkeypatch, capsys):
    # A name that is guessed after `autofuse-jax train` must not do nothing in silence.
    monkeypatch.setattr('sys.argv', ['train', '--help'])
    monkeypatch.delitem(sys.modules, 'autofuse_jax.train', raising=False)
    with pytest.raises(SystemExit) as ended:
        runpy.run_module('autofuse_jax.train', run_name='__main__')
    assert ended.value.code == 0 and '--workdir' in capsys.readouterr().out


@pytest.fixture(scope='module')
def data_set(tmp_path_factory):
    root = tmp_path_factory.mktemp('data_set')
    subjects = [subject(split, FRAMES, split=split) for split in ('train', 'validation', 'test')]
    return write_data_set(manifest_of(*subjects, root=root, shape=SHAPE))


@pytest.fixture
def toy_method(monkeypatch):
    """Train one number instead of a network: nothing worth mentioning to compile."""

    def loss(params, batch, key):
        value = params['number'] * batch['fixed'].mean()
        return value, {'term/mean': value, 'weighted/mean': value}

    def predict(params, fixed, moving, key):
        return Prediction(jnp.zeros((*fixed.shape[:4], 3)) + params['number'])

    objectives = (Objective('toy', loss),)
    toy = Method('toy', lambda key, shape: {'number': jnp.zeros(())}, lambda phase: objectives, predict, False)
    monkeypatch.setattr('autofuse_jax.training.experiment.make_method', lambda *options, **_: toy)


def on_data(root, workdir, **fields):
    """Arguments of a tiny run on prepared data with two classes."""
    return tiny_arguments(root, workdir, **{'data__source': 'prepared', 'model__num_classes': 2} | fields)


def assert_refused(capsys, arguments, *words):
    """Run the program and check that it ends with one line which holds all these words."""
    status = main([str(argument) for argument in arguments])
    errors = capsys.readouterr().err
    assert status == 2
    lines = [line for line in errors.splitlines() if line.startswith('error: ')]
    assert len(lines) == 1 and errors.endswith(lines[0] + '\n')
    assert 'Traceback' not in errors
    for word in words:
        assert word in lines[0], lines[0]


def test_help(capsys):
    assert main(['--help']) == 0
    output = capsys.readouterr().out
    for words in ('--config=configs/quickstart.py', '--workdir', '--mode', '--config.optimizer.learning_rate=3e-4'):
        assert words in output


def test_values_of_the_command_line_reach_the_config():
    arguments = [
        '--config.optimizer.learning_rate=3e-4',
        '--config.data.grid=(48,32,16)',
        '--config.model.large_kernel=False',
        '--config.phases.phase_1.steps=7',
        '--config.data.root=some/where',
    ]
    invocation = parse([DEFAULT, '--workdir=runs/mine', '--mode=evaluate', *arguments])
    config = invocation.config
    assert config.optimizer.learning_rate == 3e-4
    assert tuple(config.data.grid) == (48, 32, 16)
    assert config.model.large_kernel is False
    assert config.phases.phase_1.steps == 7
    assert config.data.root == 'some/where'
    assert (invocation.workdir, invocation.mode) == (Path('runs/mine'), 'evaluate')
    # What was not given keeps its default.
    assert config.optimizer.schedule == 'constant' and config.phases.phase_2.steps == 10_000


def test_defaults_of_the_command_line():
    invocation = parse(['--config=configs/quickstart.py'])
    assert (invocation.workdir, invocation.mode) == (Path('runs/quickstart'), 'train')
    assert invocation.config.data.source == 'phantom'


def test_config_as_two_arguments():
    assert parse(['--config', 'configs/default.py']).workdir == Path('runs/default')


def test_one_invocation_does_not_leak_into_the_next():
    parse([DEFAULT, '--config.seed=5'])
    assert parse([DEFAULT]).config.seed == 0


def test_parse_raises_what_main_reports():
    with pytest.raises(UserError, match='no config is given'):
        parse([])


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        ([], ['no config is given', '--config=configs/quickstart.py']),
        (['--config=configs/absent.py'], ['no config file configs/absent.py', 'get_config()', 'correct --config']),
        (['--config', 'configs/absent.py'], ['no config file configs/absent.py', 'correct --config']),
        (['--config='], ['no config file', 'correct --config']),
        (['--config=configs'], ['no config file configs', 'correct --config']),
        (
            [DEFAULT, '--config.optimizer.learning_rat=1'],
            ['learning_rat', 'Did you mean', 'learning_rate', 'configs/default.py'],
        ),
        ([DEFAULT, '--config.optimiser.learning_rate=1'], ['optimiser', 'configs/default.py']),
        ([DEFAULT, '--config.training.batch_size=two'], ['batch_size', 'two', 'configs/default.py']),
        ([DEFAULT, '--config.training.batch_size=1.5'], ['batch_size', '1.5', 'configs/default.py']),
        ([DEFAULT, '--config.model.large_kernel=perhaps'], ['large_kernel', 'perhaps', 'configs/default.py']),
        ([DEFAULT, '--config.data.grid=wide'], ['data.grid', 'wide', 'multiples of 16']),
        ([DEFAULT, '--config.data.grid=(1,2,three)'], ['data.grid', 'three', 'multiples of 16']),
        ([DEFAULT, '--wrokdir=runs/x'], ['wrokdir', 'workdir']),
        ([DEFAULT, 'stray', 'words'], ['unknown arguments stray words', '--help']),
        ([DEFAULT, '--mode=test'], ['mode', 'test', 'train', 'evaluate']),
    ],
    ids=lambda value: ' '.join(value)[-60:],
)
def test_command_line_that_cannot_be_understood(capsys, tmp_path, arguments, words):
    elsewhere = [f'--workdir={tmp_path}'] if arguments else []
    assert_refused(capsys, [*elsewhere, *arguments], *words)


@pytest.mark.parametrize(
    ('text', 'word'),
    [
        ('def get_config(:\n', 'invalid syntax'),
        ('x = 1\n', 'get_config'),
        ('import no_such_module\n', 'no_such_module'),
        ('def get_config():\n    return undefined_name\n', 'undefined_name'),
        ('def get_config():\n    return 1 / 0\n', 'division by zero'),
        (MISSPELT, 'seeed'),
    ],
    ids=['syntax', 'no function', 'import', 'name', 'other', 'field'],
)
def test_config_file_that_is_broken(capsys, monkeypatch, tmp_path, text, word):
    # What an earlier config file left behind would be found instead of what this one lacks.
    monkeypatch.delitem(sys.modules, 'config_config', raising=False)
    path = tmp_path / 'broken.py'
    path.write_text(text)
    assert_refused(capsys, [f'--config={path}', f'--workdir={tmp_path / "run"}'], word, 'To fix: ')


@pytest.mark.parametrize(
    ('fields', 'words'),
    [
        ({'training__batch_size': 0}, ['training.batch_size is 0', '1 or more', '--config.training.batch_size=VALUE']),
        ({'loss__ncc_window': 4}, ['loss.ncc_window is 4', 'an odd number']),
        ({'data__grid': (32, 32, 20)}, ['data.grid is (32, 32, 20)', 'multiples of 16', 'data.grid=(32, 32, 16)']),
        ({'optimizer__warmup_steps': 9}, ['optimizer.warmup_steps is 9', 'less than the 9 steps']),
        ({'phases__phase_1__steps': 0, 'phases__phase_2__steps': 0}, ['0 steps', 'set phases.phase_1.steps']),
        ({'training__devices': 3, 'training__batch_size': 2}, ['batch_size is 2 on 3 devices', 'batch_size=3']),
        ({'training__devices': 99}, ['training.devices is 99', '0 (all) to 4']),
        ({'model__num_classes': 4}, ['model.num_classes is 4', '0 background, 1 ventricle', 'model.num_classes=2']),
        ({'model__num_classes': 1}, ['model.num_classes is 1', '2 or more']),
    ],
    ids=lambda value: ','.join(value) if isinstance(value, dict) else '',
)
def test_impossible_settings(capsys, tmp_path, data_set, fields, words):
    assert_refused(capsys, on_data(data_set.root, tmp_path, **fields), *words)


def test_data_root_is_empty(capsys, tmp_path):
    assert_refused(capsys, on_data('', tmp_path), 'data.root is empty', '--config.data.root=FOLDER')


@pytest.mark.parametrize('make', [True, False])
def test_data_root_is_no_prepared_data(capsys, tmp_path, make):
    root = tmp_path / 'images'
    if make:
        root.mkdir()
    assert_refused(capsys, on_data(root, tmp_path), f'no manifest.json in {root}', 'autofuse_jax.prepare', 'data.root')


def test_shape_of_the_data_does_not_fit(capsys, tmp_path):
    root = tmp_path / 'data'
    write_data_set(manifest_of(subject('a', FRAMES), root=root, shape=(24, 32, 10)))
    assert_refused(capsys, on_data(root, tmp_path / 'run'), f'data in {root} is (24, 32, 10)', 'data.grid=(32, 32, 16)')


def test_workdir_below_a_file(capsys, tmp_path, data_set):
    (tmp_path / 'file').write_text('')
    workdir = tmp_path / 'file' / 'run'
    assert_refused(
        capsys, on_data(data_set.root, workdir), f'{tmp_path / "file"} is a file', 'To fix: correct --workdir'
    )


def test_evaluation_without_a_checkpoint(capsys, tmp_path, data_set, toy_method):
    arguments = [*on_data(data_set.root, tmp_path), '--mode=evaluate']
    assert_refused(capsys, arguments, 'no checkpoint in', str(tmp_path), 'train first')


def test_more_labelled_subjects_than_there_are(capsys, tmp_path, data_set):
    arguments = on_data(data_set.root, tmp_path, data__labelled_subjects=2)
    assert_refused(capsys, arguments, 'data.labelled_subjects is 2', '0 to 1')


def test_seed_below_zero(capsys, tmp_path, data_set, toy_method):
    arguments = on_data(data_set.root, tmp_path, data__labelled_subjects=1, seed=-1)
    assert_refused(capsys, arguments, 'seed is -1')


def test_policy_that_the_data_cannot_serve(capsys, tmp_path, data_set):
    arguments = on_data(data_set.root, tmp_path, phases__phase_2__pairs='inter')
    assert_refused(
        capsys, arguments, "no pairs for the policy 'inter'", 'at least two subjects', 'choose another policy'
    )


@pytest.mark.parametrize('split', ['train', 'validation'])
def test_manifest_that_names_a_missing_frame(capsys, tmp_path, toy_method, split):
    root = tmp_path / 'data'
    subjects = [subject(name, FRAMES, split=name) for name in ('train', 'validation', 'test')]
    manifest = write_data_set(manifest_of(*subjects, root=root, shape=SHAPE))
    for frame in manifest.subjects_of(split)[0].frames:
        (root / frame.file).unlink()
    arguments = on_data(root, tmp_path / 'run')
    assert_refused(capsys, arguments, 'which does not exist', str(root / split), 'prepare the data again')


def test_whole_command_ends_with_status_0(capsys, tmp_path, data_set, toy_method):
    assert main(on_data(data_set.root, tmp_path, training__tensorboard=False, evaluation__pictures=0)) == 0
    assert main([*on_data(data_set.root, tmp_path, evaluation__pictures=0), '--mode=evaluate']) == 0
    output = capsys.readouterr()
    assert 'error' not in output.err
    assert str(tmp_path / 'evaluation_test' / 'summary.md') in output.out
