"""Whole networks in OpenVINO predict what they predict in JAX, and JAX takes over where a network cannot be held."""

import dataclasses
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autofuse_jax.deployment.prediction import check_size, images_of_size, named_prediction, of_named
from autofuse_jax.deployment.runtime import (
    RuntimeModel,
    compiled,
    has_runtime,
    network_graph,
    openvino_runtime,
    read_graph,
    runtime_name,
)
from autofuse_jax.errors import UserError
from autofuse_jax.methods.base import Prediction
from autofuse_jax.methods.registry import METHODS, make_method
from autofuse_jax.weights.pretrained import RegistrationModel
from autofuse_jax.weights.released import Description
from experiments.comparison.tiny_methods import tiny_options
from tests.quick import quick_jit, random_params

SIZE = (16, 32, 16)
LARGER = (32, 32, 32)
TOLERANCE = 1e-3
MODULE = 'autofuse_jax.deployment.openvino_package'

needs_openvino = pytest.mark.skipif(not has_runtime(), reason='openvino is not installed')


def network(name, model, size, loss=None):
    """A method and random parameters."""
    method = make_method(name, model, loss or {})
    shapes = jax.eval_shape(lambda key: method.init(key, size), jax.random.key(0))
    return method, random_params(shapes)


def images(size):
    return [np.random.default_rng(seed).random((1, *size, 1), dtype=np.float32) for seed in (0, 1)]


def check(method, params, size):
    """Compare all results of a network."""
    wanted = quick_jit(named_prediction(method, params))(*images(size))
    found = compiled(network_graph(method, params, size))(*images(size))
    assert set(found) == set(wanted)
    for name, array in wanted.items():
        assert found[name].shape == array.shape and found[name].dtype == array.dtype
        if name.endswith('labels'):
            # Ties of two classes may go either way.
            assert np.mean(found[name] == array) > 0.999
        else:
            np.testing.assert_allclose(found[name], array, atol=TOLERANCE)
    assert np.abs(wanted['displacement']).max() > 0.01


@needs_openvino
@pytest.mark.parametrize(
    ('name', 'model'),
    [
        # The long tests do what the semi-supervised network holds, too.
        pytest.param('autofuse', {}, marks=pytest.mark.slow),
        ('autofuse', {'num_classes': 3}),
        pytest.param('autofuse', {'num_classes': 3, 'refining_channels': 2}, marks=pytest.mark.slow),
        pytest.param('autofuse', {'num_classes': 3, 'plane_channels': 2}, marks=pytest.mark.slow),
        pytest.param('autofuse', {'num_classes': 3, 'descent_channels': 2}, marks=pytest.mark.slow),
        ('voxelmorph', {}),
    ],
    ids=['unsupervised', 'semi-supervised', 'refined', 'planes', 'descending', 'voxelmorph'],
)
def test_networks_agree_with_jax(name, model):
    # Of a smaller volume a sixteenth is two voxels, whose normalisation makes of rounding errors what it likes.
    check(*network(name, model | {'base_channels': 2}, LARGER), LARGER)


@needs_openvino
@pytest.mark.slow
@pytest.mark.parametrize('name', METHODS)
def test_all_methods_agree_with_jax(name):
    model, loss = tiny_options(name, LARGER[0])
    check(*network(name, model, LARGER, loss), LARGER)


@needs_openvino
@pytest.mark.parametrize('name', ['transmorph', 'xmorpher', 'gl_net'])
def test_networks_of_other_kinds_can_be_held(name):
    method, params = network(name, tiny_options(name, LARGER[0])[0], LARGER)
    found = compiled(network_graph(method, params, LARGER))(*images(LARGER))
    assert found['displacement'].shape == (1, *LARGER, 3) and np.all(np.isfinite(found['displacement']))


@pytest.fixture(scope='module')
def small_model():
    options = {'base_channels': 2}
    _, params = network('voxelmorph_diff', options, SIZE)
    flat = {'/'.join(entry.key for entry in path): np.asarray(leaf) for path, leaf in jax.tree.leaves_with_path(params)}
    return RegistrationModel(flat, Description('voxelmorph_diff', options))


@pytest.fixture
def sampling(small_model, monkeypatch):
    """A model that draws random numbers, of which the runtime knows nothing."""
    method = small_model.method

    def predict(params, fixed, moving, key):
        noise = jax.random.normal(key, (*fixed.shape[:4], 3))
        return Prediction(noise + 0 * moving)

    model = object.__new__(RegistrationModel)
    model.__dict__ |= small_model.__dict__ | {'_method': dataclasses.replace(method, predict=predict)}
    return model


@needs_openvino
def test_a_model_registers_in_the_runtime_as_in_jax(small_model, capfd):
    fixed, moving = (1000 * image[0, 1:, :-3, :, 0] for image in images(SIZE))
    model = RuntimeModel(small_model)
    assert model.runtime == runtime_name() and model.runtime.startswith('OpenVINO')
    found, wanted = model.register(fixed, moving), small_model.register(fixed, moving)
    assert found.displacement.shape == (*fixed.shape, 3)
    for name in ('displacement', 'velocity'):
        np.testing.assert_allclose(getattr(found, name), getattr(wanted, name), atol=TOLERANCE)
    again = model.register(moving, fixed)
    # The runtime computes in the same memory every time.
    np.testing.assert_allclose(found.displacement, wanted.displacement, atol=TOLERANCE)
    assert not np.allclose(again.displacement, found.displacement, atol=TOLERANCE)
    assert capfd.readouterr().err == ''


@needs_openvino
def test_jax_takes_over_what_the_runtime_cannot_hold(sampling, small_model, capsys):
    fixed, moving = (image[0, ..., 0] for image in images(SIZE))
    model = RuntimeModel(sampling)
    found = model.register(fixed, moving)
    np.testing.assert_array_equal(found.displacement, small_model.register(fixed, moving).displacement)
    assert 'JAX runs the network' in capsys.readouterr().err and model.runtime.startswith('JAX')
    model.register(fixed, moving)
    assert capsys.readouterr().err == ''


@needs_openvino
def test_errors_of_the_images_stay_errors(small_model):
    with pytest.raises(UserError, match='moving'):
        RuntimeModel(small_model).register(np.ones(SIZE), np.ones((16, 16, 16)))


@needs_openvino
def test_the_conversion_names_the_operation_that_is_missing(sampling):
    with pytest.raises(UserError, match='the operation random_'):
        network_graph(sampling.method, sampling.params, SIZE)


@needs_openvino
def test_a_file_that_is_no_graph(tmp_path):
    (tmp_path / 'model.xml').write_text('nothing')
    with pytest.raises(UserError, match='cannot be read by OpenVINO'):
        read_graph(tmp_path / 'model.xml')


def test_without_the_runtime_the_message_says_how_to_get_it(small_model, monkeypatch):
    monkeypatch.setitem(sys.modules, MODULE, None)
    assert not has_runtime()
    with pytest.raises(UserError, match=r'autofuse_jax\[deploy\]'):
        network_graph(small_model.method, small_model.params, SIZE)
    with pytest.raises(UserError, match='needs the package openvino'):
        openvino_runtime()


def test_sizes_are_checked_before_anything_is_converted(small_model):
    shapes = check_size(small_model.method, small_model.params, SIZE)
    assert {name: shape.shape for name, shape in shapes.items()} == {
        'displacement': (1, *SIZE, 3),
        'velocity': (1, 8, 16, 8, 3),
    }
    with pytest.raises(UserError, match='--size=32,32,16'):
        check_size(small_model.method, small_model.params, (30, 32, 1))
    only = dataclasses.replace(small_model.method, size=LARGER)
    with pytest.raises(UserError, match='the only size'):
        check_size(only, small_model.params, SIZE)


def test_named_results_become_a_prediction_again():
    named = {'displacement': np.zeros(3), 'moving_labels': np.ones(2), 'gate_mean/gate_2': np.full(1, 0.5)}
    found = of_named(named)
    assert found.velocity is None and found.fixed_segmentation is None
    assert found.moving_segmentation is named['moving_labels'] and found.gate_means['gate_2'] == 0.5


def test_images_have_one_channel():
    assert images_of_size(SIZE)['moving'].shape == (1, *SIZE, 1) and images_of_size(SIZE)['fixed'].dtype == jnp.float32
