"""PyTorch files: what is read, what is refused, and that nothing in them is executed."""

import sys
import zipfile

import numpy as np
import pytest

from autofuse_jax.errors import UserError
from autofuse_jax.porting.architectures import with_buffers
from autofuse_jax.porting.torch_files import read_state_dict, write_state_dict
from tests.porting.small import assert_same, small_state

torch = pytest.importorskip('torch')


class Marker:
    """An object that leaves a trace when it is unpickled."""

    def __reduce__(self):
        return (open, ('executed', 'w'))


@pytest.fixture
def state():
    return small_state('autofuse_unsup')


def tensors(state):
    return {name: torch.from_numpy(array) for name, array in state.items()}


def test_round_trip_is_exact(state, tmp_path):
    write_state_dict(tmp_path / 'model.pt', state)
    assert_same(read_state_dict(tmp_path / 'model.pt'), state)


def test_buffers_are_written_as_integers(tmp_path):
    state = with_buffers(small_state('autofuse_trans_semi'))
    write_state_dict(tmp_path / 'model.pt', state)
    loaded = torch.load(tmp_path / 'model.pt', weights_only=True)
    assert list(loaded) == list(state) and len(loaded) == 386
    assert loaded['FusionPath.trans_1.blocks.0.attn.relative_position_index'].dtype == torch.int64


@pytest.mark.parametrize('key', ['state_dict', 'model_state_dict', 'model_state', 'model', 'net'])
def test_a_state_dict_inside_a_checkpoint_is_found(state, tmp_path, key):
    torch.save({'epoch': 3, 'optimizer': {'state': {0: torch.zeros(2)}}, key: tensors(state)}, tmp_path / 'model.pt')
    assert_same(read_state_dict(tmp_path / 'model.pt'), state)


@pytest.mark.parametrize(('dtype', 'numpy_dtype'), [(torch.float16, np.float16), (torch.bfloat16, np.float32)])
def test_half_precision(state, tmp_path, dtype, numpy_dtype):
    torch.save({name: tensor.to(dtype) for name, tensor in tensors(state).items()}, tmp_path / 'model.pt')
    loaded = read_state_dict(tmp_path / 'model.pt')
    name = 'FusionPath.FG_2.Conv.bias'
    assert loaded[name].dtype == numpy_dtype
    np.testing.assert_allclose(loaded[name].astype(np.float32), state[name], rtol=1e-2)


def test_a_pickled_module_is_refused(tmp_path):
    torch.save(torch.nn.Conv3d(1, 2, 3), tmp_path / 'model.pt')
    with pytest.raises(UserError, match='whole pickled module.*state_dict'):
        read_state_dict(tmp_path / 'model.pt')


def test_nothing_is_executed(state, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save(tensors(state) | {'trap': Marker()}, tmp_path / 'model.pt')
    with pytest.raises(UserError, match='never executed'):
        read_state_dict(tmp_path / 'model.pt')
    assert not (tmp_path / 'executed').exists()
    # The trap works where it is not avoided.
    torch.load(tmp_path / 'model.pt', weights_only=False)['trap'].close()
    assert (tmp_path / 'executed').exists()


@pytest.mark.parametrize('kept', [0, 10, 1000, -100])
def test_truncated_files_are_refused(state, tmp_path, kept):
    write_state_dict(tmp_path / 'whole.pt', state)
    (tmp_path / 'model.pt').write_bytes((tmp_path / 'whole.pt').read_bytes()[:kept])
    with pytest.raises(UserError, match='model.pt cannot be read as a PyTorch file'):
        read_state_dict(tmp_path / 'model.pt')


@pytest.mark.parametrize('content', [[1, 2], {'epoch': 3}, {}, {'model': {'weight': 'text'}}, 7])
def test_files_without_a_state_dict_are_refused(tmp_path, content):
    torch.save(content, tmp_path / 'model.pt')
    with pytest.raises(UserError, match='holds no state dict'):
        read_state_dict(tmp_path / 'model.pt')


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match='there is no file .*model.pt'):
        read_state_dict(tmp_path / 'model.pt')


def test_without_torch_it_says_how_to_get_it(state, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'torch', None)
    with pytest.raises(UserError, match=r'torch is not installed.*autofuse_jax\[torch\]'):
        write_state_dict(tmp_path / 'model.pt', state)


# Set items of nothing, build nothing, and call the constructor of a tensor with nothing.
@pytest.mark.parametrize('program', [b'\x80\x02(u.', b'\x80\x02(b.', b'\x80\x02ctorch._utils\n_rebuild_tensor_v2\n)R.'])
def test_a_complete_archive_with_a_damaged_pickle_is_told(tmp_path, program):
    torch.save({'weight': torch.zeros(2)}, tmp_path / 'whole.pt')
    path = tmp_path / 'model.pt'
    with zipfile.ZipFile(tmp_path / 'whole.pt') as whole, zipfile.ZipFile(path, 'w') as damaged:
        for name in whole.namelist():
            damaged.writestr(name, program if name.endswith('data.pkl') else whole.read(name))
    with pytest.raises(UserError, match='model.pt (cannot be read as a PyTorch file|holds more than tensors)'):
        read_state_dict(path)
