"""What a registration computes on, and what runs its network there."""

import json
import sys

import jax
import numpy as np
import pytest

from autofuse_jax.data.volumes import write_image
from autofuse_jax.deployment.runtime import RuntimeModel, has_runtime
from autofuse_jax.register import main
from autofuse_jax.registration.device import open_network, use_device
from autofuse_jax.weights.pretrained import RegistrationModel
from autofuse_jax.weights.released import Description, write_released
from tests.porting.small import params_of

METHOD, OPTIONS = 'voxelmorph_diff', {'base_channels': 2}


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp('files')
    write_released(
        folder / 'params.npz', params_of(METHOD, OPTIONS), Description(METHOD, OPTIONS, spacing_mm=[2.0, 2.0, 2.0])
    )
    for seed, name in enumerate(('fixed', 'moving')):
        image = np.random.default_rng(seed).random((16, 16, 16), dtype=np.float32)
        write_image(folder / f'{name}.nii.gz', image, np.diag([2.0, 2.0, 2.0, 1.0]))
    return folder


@pytest.fixture(autouse=True)
def settings_of_jax():
    """Leave the settings of the process as they were."""
    before = {name: getattr(jax.config, name) for name in ('jax_platforms', 'jax_default_device')}
    yield
    for name, value in before.items():
        jax.config.update(name, value)


def register(files, out, *more):
    arguments = [f'--{name}={files}/{name}.nii.gz' for name in ('fixed', 'moving')]
    return main([*arguments, f'--out={out}', f'--weights={files}/params.npz', '--align=none', '--no-deform', *more])


@pytest.mark.skipif(not has_runtime(), reason='openvino is not installed')
def test_on_cpu_the_runtime_runs_the_network_and_the_report_says_so(files, tmp_path, capsys):
    assert register(files, tmp_path / 'out', '--device=cpu', '--no-page') == 0
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith('network:')]
    stage = json.loads((tmp_path / 'out' / 'report.json').read_text())['stages'][-1]
    assert stage['name'] == f'network {METHOD}' and stage['runtime'].startswith('OpenVINO')
    assert said == [f'network: {METHOD} in {stage["runtime"]}']


def test_without_the_runtime_it_is_jax(files, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'autofuse_jax.deployment.openvino_package', None)
    model = open_network(files / 'params.npz', 'cpu')
    assert isinstance(model, RegistrationModel) and model.runtime == f'JAX {jax.__version__} on cpu'
    assert capsys.readouterr().err == f'network: {METHOD} in {model.runtime}\n'


@pytest.mark.skipif(not has_runtime(), reason='openvino is not installed')
@pytest.mark.parametrize(
    ('device', 'backend', 'kind'),
    [
        ('cpu', 'gpu', RuntimeModel),
        ('auto', 'cpu', RegistrationModel),
        ('auto', 'gpu', RegistrationModel),
        ('gpu', 'gpu', RegistrationModel),
    ],
)
def test_the_runtime_is_for_cpu(files, monkeypatch, device, backend, kind):
    monkeypatch.setattr(jax, 'default_backend', lambda: backend)
    assert isinstance(open_network(files / 'params.npz', device), kind)


def test_cpu_is_where_jax_computes_then():
    use_device('cpu')
    assert jax.config.jax_platforms == 'cpu' and jax.numpy.zeros(1).device.platform == 'cpu'


@pytest.mark.skipif(jax.default_backend() == 'gpu', reason='there is a GPU')
def test_no_gpu_is_an_error_before_any_work(files, tmp_path, capsys):
    assert register(files, tmp_path / 'out', '--device=gpu') == 2
    assert 'JAX sees no GPU' in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()
