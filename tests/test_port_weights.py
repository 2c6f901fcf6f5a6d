"""The command that moves weights, as a user runs it."""

import json

import numpy as np
import pytest

from autofuse_jax.files import write_json
from autofuse_jax.port_weights import main
from autofuse_jax.porting import ARCHITECTURES
from autofuse_jax.porting.convert import unflatten
from autofuse_jax.porting.torch_files import read_state_dict, write_state_dict
from autofuse_jax.training import checkpoints
from autofuse_jax.training.state import TrainState
from autofuse_jax.weights.released import read_arrays, read_released
from tests.porting.small import (
    OPTIONS,
    as_tree,
    assert_same,
    params_of,
    remembered_structures,
    small_params,
    small_state,
)

torch = pytest.importorskip('torch')

# Transformers whose parts autofuse_trans_semi has, too.
LONG = ('autofuse_trans_unsup', 'autofuse_trans_semi_swin')


@pytest.fixture(scope='module', autouse=True)
def quick():
    with remembered_structures():
        yield


def port(source, target, *others):
    return main([f'--from={source}', f'--to={target}', *others])


def fails(capsys, *arguments):
    """Run a command that must fail, and return its one line."""
    assert port(*arguments) == 2
    error = capsys.readouterr().err
    assert error.count('\n') == 1 and 'Traceback' not in error
    return error


@pytest.mark.parametrize(
    'name', [name if name not in LONG else pytest.param(name, marks=pytest.mark.slow) for name in ARCHITECTURES]
)
def test_there_and_back_is_exact(tmp_path, capsys, name):
    state = small_state(name)
    write_state_dict(tmp_path / 'model.pt', state)
    assert port(tmp_path / 'model.pt', tmp_path / 'params.npz', f'--architecture={name}') == 0
    assert f'{len(state)} tensors' in capsys.readouterr().out
    assert port(tmp_path / 'params.npz', tmp_path / 'back.pt') == 0
    back = read_state_dict(tmp_path / 'back.pt')
    assert_same({key: back[key] for key in state}, state)
    assert all(key.endswith('relative_position_index') for key in back.keys() - state.keys())
    # Through npz with official names it is the same.
    assert port(tmp_path / 'params.npz', tmp_path / 'official.npz') == 0
    official = read_arrays(tmp_path / 'official.npz')
    assert_same({key: official[key] for key in state}, state)
    assert all(key.endswith('relative_position_index') for key in official.keys() - state.keys())
    assert port(tmp_path / 'official.npz', tmp_path / 'again.npz') == 0
    assert_same(read_arrays(tmp_path / 'again.npz'), read_arrays(tmp_path / 'params.npz'))


def test_the_description_says_which_network_it_is(tmp_path):
    write_state_dict(tmp_path / 'model.pt', small_state('autofuse_trans_semi'))
    port(tmp_path / 'model.pt', tmp_path / 'params.npz')
    _, description = read_released(tmp_path / 'params.npz')
    assert description.method == 'autofuse_trans'
    options = description.model | {'window': tuple(description.model['window'])}
    assert options == OPTIONS['autofuse_trans_semi']
    assert description.origin['ported_from'] == 'model.pt' and description.config is None


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """The folder of a run whose checkpoint holds known parameters."""
    workdir = tmp_path_factory.mktemp('run')
    params = small_params('autofuse_semi')
    config = {'method': 'autofuse', 'model': OPTIONS['autofuse_semi'], 'loss': {}, 'inference': {'symmetric': True}}
    write_json(workdir / 'config.json', config)
    tree = as_tree(unflatten(params))
    state = TrainState(np.int32(7), tree, {}, np.zeros(2, np.uint32))
    checkpoints.save_best(workdir, state, {})
    return workdir, params


def test_a_run_is_exported_under_official_names(run, tmp_path):
    workdir, params = run
    assert port(workdir, tmp_path / 'model.pt') == 0
    assert_same(read_state_dict(tmp_path / 'model.pt'), small_state('autofuse_semi'))


@pytest.mark.parametrize('inside', ['checkpoints', 'checkpoints/best', 'checkpoints/best/7'])
def test_a_checkpoint_inside_a_run_is_exported(run, tmp_path, inside):
    workdir, _ = run
    assert port(workdir / inside, tmp_path / 'official.npz') == 0
    assert_same(read_arrays(tmp_path / 'official.npz'), small_state('autofuse_semi'))


def test_a_kind_of_checkpoint_that_a_run_has_not_is_named(run, tmp_path, capsys):
    (run[0] / 'checkpoints' / 'latest').mkdir(exist_ok=True)
    assert 'no checkpoint in' in fails(capsys, run[0] / 'checkpoints' / 'latest', tmp_path / 'official.npz')


def test_a_run_is_released(run, tmp_path):
    workdir, params = run
    assert port(workdir, tmp_path / 'params.npz', '--naming=ours') == 0
    found, description = read_released(tmp_path / 'params.npz')
    assert_same(dict(sorted(found.items())), dict(sorted(params.items())))
    assert description.config == json.loads((workdir / 'config.json').read_text())
    assert description.inference == {'symmetric': True} and description.origin['step'] == 7


def test_a_network_that_pytorch_has_not_is_released_but_not_exported(tmp_path, capsys):
    params = params_of('autofuse', OPTIONS['autofuse_semi'] | {'large_kernel': False})
    np.savez(tmp_path / 'params.npz', **params)
    assert '70 missing (fusion_branch/gate_2/large_kernel/conv_1/bias' in fails(
        capsys, tmp_path / 'params.npz', tmp_path / 'model.pt'
    )


def test_wrong_input_gives_one_line(tmp_path, capsys):
    state = small_state('autofuse_semi')
    write_state_dict(tmp_path / 'model.pt', state)
    out = tmp_path / 'params.npz'
    message = fails(capsys, tmp_path / 'model.pt', out, '--architecture=autofuse_unsup')
    assert 'those of autofuse_semi, not of autofuse_unsup' in message and 'extra' in message
    assert 'unknown architecture' in fails(capsys, tmp_path / 'model.pt', out, '--architecture=vxm')
    assert "suffix '.h5'" in fails(capsys, tmp_path / 'model.pt', tmp_path / 'params.h5')
    assert 'neither a .pt file' in fails(capsys, tmp_path / 'absent.h5', out)
    assert 'there is no file' in fails(capsys, tmp_path / 'absent.pt', out)
    assert 'no config.json' in fails(capsys, tmp_path, out)
    assert 'official names in .pt' in fails(capsys, tmp_path / 'model.pt', tmp_path / 'other.pt', '--naming=ours')
    torch.save(torch.nn.Linear(2, 2), tmp_path / 'module.pt')
    assert 'never executed' in fails(capsys, tmp_path / 'module.pt', out)
    state['FusionPath.FG_2.Conv.bias'][0] = np.nan
    write_state_dict(tmp_path / 'nan.pt', state)
    assert 'FusionPath.FG_2.Conv.bias holds 1 NaN' in fails(capsys, tmp_path / 'nan.pt', out)
    assert not out.exists()


def test_a_failed_conversion_leaves_the_file_before(tmp_path, capsys):
    write_state_dict(tmp_path / 'model.pt', small_state('autofuse_unsup'))
    out = tmp_path / 'params.npz'
    port(tmp_path / 'model.pt', out)
    before = out.read_bytes()
    (tmp_path / 'model.pt').write_bytes(b'damaged')
    assert '--overwrite' in fails(capsys, tmp_path / 'model.pt', out)
    assert 'cannot be read' in fails(capsys, tmp_path / 'model.pt', out, '--overwrite')
    assert out.read_bytes() == before
    assert read_released(out)
    write_state_dict(tmp_path / 'model.pt', small_state('autofuse_unsup'))
    assert port(tmp_path / 'model.pt', out, '--overwrite') == 0
    assert read_released(out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ['model.pt', 'params.json', 'params.npz']


def test_the_config_of_a_run_is_never_replaced(tmp_path, capsys):
    write_state_dict(tmp_path / 'model.pt', small_state('autofuse_unsup'))
    (tmp_path / 'config.json').write_text('{"method": "autofuse"}')
    for options in ((), ('--overwrite',)):
        assert 'config.json' in fails(capsys, tmp_path / 'model.pt', tmp_path / 'config.npz', *options)
    assert (tmp_path / 'config.json').read_text() == '{"method": "autofuse"}'
    assert not (tmp_path / 'config.npz').exists()


def test_a_half_precision_file_of_data_parallel(tmp_path):
    state = small_state('autofuse_trans_unsup')
    half = {f'module.{name}': torch.from_numpy(array).half() for name, array in state.items()}
    torch.save({'state_dict': half}, tmp_path / 'model.pt')
    assert port(tmp_path / 'model.pt', tmp_path / 'params.npz') == 0
    params = read_arrays(tmp_path / 'params.npz')
    name = 'fusion_branch/stage_1/block_1/attention/qkv/bias'
    np.testing.assert_array_equal(params[name], state['FusionPath.trans_1.blocks.0.attn.qkv.bias'].astype(np.float16))
