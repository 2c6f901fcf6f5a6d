"""Weights in, a network without JAX out: the command, its files, and reading them back."""

import importlib.util
import json
import sys

import numpy as np
import pytest

from autofuse_jax.commands import export
from autofuse_jax.deployment.artefacts import ExportedModel, load_exported, record_of
from autofuse_jax.errors import UserError
from autofuse_jax.export import main
from autofuse_jax.weights.pretrained import load_model
from autofuse_jax.weights.released import Description, write_released
from tests.porting.small import params_of

METHOD, OPTIONS = 'voxelmorph_diff', {'base_channels': 2}
SIZE = (16, 32, 16)
SPACING = [1.5, 1.5, 3.0]
NEEDED = {'.stablehlo': 'jax', '.xml': 'openvino'}


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp('weights') / 'params.npz'
    write_released(path, params_of(METHOD, OPTIONS), Description(METHOD, OPTIONS, spacing_mm=SPACING))
    return path


@pytest.fixture(scope='module', params=NEEDED)
def exported(request, weights, tmp_path_factory):
    if not importlib.util.find_spec(NEEDED[request.param]):
        pytest.skip(f'{NEEDED[request.param]} is not installed')
    path = tmp_path_factory.mktemp('exported') / 'new' / f'params{request.param}'
    assert main([f'--weights={weights}', '--size=16,32,16', f'--to={path}', '--check']) == 0
    return path


@pytest.fixture(scope='module')
def images():
    """Intensities of a scanner, a size that is padded."""
    return np.random.default_rng(0).integers(-50, 900, size=(2, 13, 32, 16)).astype(np.int16)


def test_the_files_are_there_and_nothing_else(exported):
    numbers = {'params.bin'} if exported.suffix == '.xml' else set()
    assert {path.name for path in exported.parent.iterdir()} == {exported.name, f'{exported.name}.json'} | numbers


def test_the_record_says_what_goes_in_and_comes_out(exported):
    record = json.loads(record_of(exported).read_text())
    assert record['size'] == list(SIZE) and record['method'] == METHOD and record['spacing_mm'] == SPACING
    assert [entry['shape'] for entry in record['inputs']] == [[1, *SIZE, 1]] * 2
    shapes = {entry['name']: entry['shape'] for entry in record['outputs']}
    assert shapes == {'displacement': [1, *SIZE, 3], 'velocity': [1, 8, 16, 8, 3]}
    assert 'moving(x + displacement(x))' in record['conventions']['fields']
    assert record['versions']['jax'] and set(record['sha256']) <= {path.name for path in exported.parent.iterdir()}


def test_it_registers_as_in_jax(exported, weights, images):
    found, wanted = load_exported(exported).register(*images), load_model(weights).register(*images)
    assert np.abs(wanted.displacement).max() > 0.01
    np.testing.assert_allclose(found.displacement, wanted.displacement, atol=1e-3)
    np.testing.assert_allclose(found.velocity, wanted.velocity, atol=1e-3)
    np.testing.assert_allclose(found.warped, wanted.warped, atol=1.0)


def test_another_size_is_refused(exported):
    with pytest.raises(UserError, match=r'\(16, 48, 16\).*\(16, 32, 16\)'):
        load_exported(exported).register(*np.random.default_rng(0).random((2, 16, 40, 16)))


def test_images_are_padded_to_the_steps_of_the_network(exported):
    assert json.loads(record_of(exported).read_text())['multiple'] == [16, 16, 16]
    shapes = []

    def run(fixed, moving):
        shapes.append(fixed.shape)
        return {'displacement': np.zeros((*fixed.shape[:4], 3), np.float32)}

    # What pools in the slices takes sizes of larger steps there.
    model = ExportedModel(run, {'size': [64, 64, 16], 'multiple': [32, 32, 16]})
    assert model.register(*np.random.default_rng(0).random((2, 40, 45, 10))).displacement.shape == (40, 45, 10, 3)
    assert shapes == [(1, 64, 64, 16, 1)]


def test_files_of_different_exports_do_not_go_together(exported, tmp_path):
    for path in exported.parent.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    other = tmp_path / exported.name
    other.write_bytes(other.read_bytes() + b'\n')
    with pytest.raises(UserError, match='is not the file that'):
        load_exported(other)
    record_of(other).unlink()
    with pytest.raises(UserError, match='cannot be read.*copy it as well'):
        load_exported(other)
    record_of(other).write_text('{"format": "something else"}')
    with pytest.raises(UserError, match='does not describe'):
        load_exported(other)


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        (['--to={out}/model.onnx'], "'.onnx'. Expected: .stablehlo for StableHLO, .xml for OpenVINO"),
        (['--to={out}/model.xml', '--size=16,30,16'], 'To fix: --size=16,32,16'),
        (['--to={out}/model.stablehlo', '--platforms=cpu,phone'], 'cpu, phone'),
        (
            ['--to={out}/model.xml', '--platforms=cpu'],
            '--platforms=cpu for model.xml. Expected: platforms for .stablehlo',
        ),
        (['--to={out}/model.xml', '--weights={out}/nothing.npz'], 'there is no file'),
        (['--to={out}/model.xml', '--weights={out}'], 'config.json'),
    ],
)
def test_bad_input_ends_with_one_line(weights, tmp_path, capsys, options, words):
    options = [option.format(out=tmp_path) for option in options]
    assert main([f'--weights={weights}', '--size=16,32,16', *options]) == 2
    error = capsys.readouterr().err.splitlines()
    assert len(error) == 1 and error[0].startswith('error:') and words in error[0]
    assert not list(tmp_path.iterdir())


def test_a_size_that_is_no_size(weights, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main([f'--weights={weights}', '--size=16,32', f'--to={tmp_path}/model.xml'])
    assert 'three whole numbers D,H,W' in capsys.readouterr().err


def test_without_the_packages_nothing_is_written(weights, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, 'autofuse_jax.deployment.openvino_package', None)
    assert main([f'--weights={weights}', '--size=16,32,16', f'--to={tmp_path}/model.xml']) == 2
    assert "pip install 'autofuse_jax[deploy]'" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_check_fails_where_results_differ(weights, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(export, 'largest_difference', lambda model, path, size: float('nan'))
    assert main([f'--weights={weights}', '--size=16,32,16', f'--to={tmp_path}/a.stablehlo', '--check']) == 2
    assert 'differs from JAX' in capsys.readouterr().err
