"""Which file a config's name means, and what a config file can import, wherever it lies."""

import sys
from pathlib import Path

import pytest

from autofuse_jax.configs import quickstart
from autofuse_jax.errors import UserError
from autofuse_jax.main import main, parse
from autofuse_jax.training.config_files import config_folder, config_names, find_config, importable_configs

REPOSITORY = Path(__file__).resolve().parents[2]
CHANGED = (
    'from configs import {base}\n\n\ndef get_config():\n    config = {base}.get_config()\n    config.seed = {seed}\n'
)


def write_config(path, base='quickstart', seed=7, head=''):
    """Write a config that changes another one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(head + CHANGED.format(base=base, seed=seed) + '    return config\n')
    return path


def config_of(path):
    return parse([f'--config={path}']).config


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch, tmp_path):
    """Work in an empty folder, as somebody does who has installed the package."""
    folder = tmp_path / 'work'
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, 'path', [entry for entry in sys.path if entry and Path(entry) != REPOSITORY])
    return folder


def test_names_of_the_configs():
    names = config_names()
    assert {'quickstart', 'default', 'cardiac_semi', 'comparison/cardiac', 'comparison/hippocampus'} <= set(names)
    # These are imported by configs and are none.
    assert not {'comparison/presets', 'comparison/rows', '__init__'} & set(names)
    assert all((config_folder() / f'{name}.py').is_file() for name in names)


@pytest.mark.parametrize('name', ['quickstart', 'quickstart.py', 'configs/quickstart', 'configs/quickstart.py'])
def test_a_name_means_the_config_of_the_package(name):
    file = find_config(name)
    assert (file.path, file.argument, file.remark) == (config_folder() / 'quickstart.py', None, '')
    invocation = parse([f'--config={name}', '--config.seed=4'])
    assert invocation.workdir == Path('runs/quickstart')
    assert invocation.config.phases == quickstart.get_config().phases and invocation.config.seed == 4


def test_a_name_with_a_row():
    invocation = parse(['--config=comparison/cardiac:voxelmorph_diff'])
    assert invocation.config.method == 'voxelmorph_diff'
    # Rows of one file are different runs.
    assert invocation.workdir == Path('runs/cardiac_voxelmorph_diff')


def test_a_file_comes_before_a_name(elsewhere):
    write_config(elsewhere / 'configs' / 'quickstart.py', base='quickstart_trans')
    assert config_of('configs/quickstart.py').method == 'autofuse_trans'
    assert config_of('quickstart').method == 'autofuse'


@pytest.mark.parametrize('task', ['cardiac', 'brain'])
@pytest.mark.parametrize('form', ['configs/comparison/{}_ws_voxelmorph.py', 'comparison/{}_ws_voxelmorph'])
def test_a_name_of_before_is_told_and_understood(capsys, task, form):
    invocation = parse([f'--config={form.format(task)}'])
    assert invocation.config.method == 'ws_voxelmorph'
    # A run that was begun under the old name continues where it lies.
    assert invocation.workdir == Path(f'runs/{task}_ws_voxelmorph')
    remark = capsys.readouterr().err
    assert remark == f'configs/comparison/{task}_ws_voxelmorph.py is now configs/comparison/{task}.py:ws_voxelmorph\n'


def test_an_unknown_row_is_one_line_that_lists_the_rows(capsys):
    assert main(['--config=comparison/cardiac:voxelmorf']) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: unknown row 'voxelmorf'") and error.count('\n') == 1
    assert 'voxelmorph_diff' in error and 'Traceback' not in error


def test_a_name_that_there_is_not_lists_the_names_nearest_first():
    with pytest.raises(UserError, match='there is no config file cardiac_sem') as caught:
        find_config('cardiac_sem')
    assert set(caught.value.expected.split('one of ')[1].split(', ')) == set(config_names())
    assert 'one of cardiac_semi, ' in caught.value.expected
    assert '--config=cardiac_semi' in caught.value.fix


@pytest.mark.parametrize('name', ['comparison/presets', 'comparison/hippocampus_voxelmorph', 'configs', '', '../x.py'])
def test_what_is_no_config(name):
    with pytest.raises(UserError, match='there is no config file'):
        find_config(name)


def test_the_last_of_several_configs_counts():
    invocation = parse(['--config=quickstart', '--config.seed=2', '--config', 'quickstart_trans'])
    assert (invocation.config.method, invocation.config.seed) == ('autofuse_trans', 2)
    assert invocation.workdir == Path('runs/quickstart_trans')


def test_a_file_anywhere_can_import_our_configs(tmp_path):
    config = config_of(write_config(tmp_path / 'mine.py'))
    assert config.seed == 7 and config.phases == quickstart.get_config().phases


def test_a_file_in_configs_of_its_own_sees_its_neighbours_first_and_then_ours(tmp_path):
    folder = tmp_path / 'project' / 'configs'
    write_config(folder / 'base.py', seed=1)
    config = config_of(write_config(folder / 'heart' / 'mine.py', base='base', seed=2))
    assert config.seed == 2 and config.phases == quickstart.get_config().phases


def test_our_configs_start_from_our_default_even_beside_another(tmp_path):
    folder = tmp_path / 'configs'
    (folder / 'x').mkdir(parents=True)
    (folder / 'default.py').write_text('raise AssertionError("this is not the default of the package")\n')
    assert config_of(write_config(folder / 'mine.py')).seed == 7


def test_what_the_configs_package_of_a_user_defines_is_there(tmp_path):
    path = write_config(tmp_path / 'configs' / 'mine.py', head='from configs import SEED\n', seed='SEED')
    (path.parent / '__init__.py').write_text('SEED = 11\n')
    assert config_of(path).seed == 11


def test_configs_in_the_working_directory_are_there(tmp_path, elsewhere):
    write_config(elsewhere / 'configs' / 'base.py', seed=1)
    assert config_of(write_config(tmp_path / 'mine.py', base='base', seed=3)).seed == 3


def test_modules_in_the_working_directory_are_there(tmp_path, elsewhere):
    (elsewhere / 'numbers_of_mine.py').write_text('SEED = 13\n')
    path = write_config(tmp_path / 'mine.py', head='from numbers_of_mine import SEED\n', seed='SEED')
    assert config_of(path).seed == 13


def test_nothing_is_left_behind(tmp_path, monkeypatch):
    # Other tests of the same process may have read configs in another way.
    monkeypatch.delitem(sys.modules, 'config_config', raising=False)
    package, path = sys.modules.get('configs'), list(sys.path)
    broken = tmp_path / 'configs' / 'broken.py'
    write_config(broken, head='raise RuntimeError("broken")\n')
    with pytest.raises(RuntimeError, match='in between'), importable_configs(broken):
        assert sys.modules['configs'] is not package
        raise RuntimeError('in between')
    for file in (write_config(tmp_path / 'configs' / 'mine.py'), broken):
        assert main([f'--config={file}', '--mode=neither']) == 2
    assert sys.modules.get('configs') is package and sys.path == path
    assert 'config_config' not in sys.modules


def test_one_file_does_not_complete_the_next(tmp_path, capsys):
    config_of(write_config(tmp_path / 'mine.py'))
    (tmp_path / 'empty.py').write_text('x = 1\n')
    assert main([f'--config={tmp_path / "empty.py"}']) == 2
    assert 'get_config' in capsys.readouterr().err


def test_mistakes_point_to_the_default_of_the_package(capsys):
    assert main(['--config=quickstart', '--config.optimizer.learning_rat=1']) == 2
    assert f'see {config_folder() / "default.py"} for all fields' in capsys.readouterr().err
