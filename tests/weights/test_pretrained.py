"""A loaded model registers arrays as the network does, whatever their size and intensities."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import autofuse_jax
from autofuse_jax.errors import UserError
from autofuse_jax.methods.registry import METHODS
from autofuse_jax.metrics.warping import warp_image
from autofuse_jax.porting.convert import unflatten
from autofuse_jax.weights.released import MIN_MAX, Description, write_released
from tests.porting.small import OPTIONS, as_tree, params_of
from tests.quick import quick_jit

REPOSITORY = Path(__file__).resolve().parents[2]
SHAPE = (16, 32, 16)
OPTIONS_OF = OPTIONS['autofuse_semi']


@pytest.fixture(scope='module')
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp('weights') / 'params.npz'
    write_released(path, params_of('autofuse', OPTIONS_OF), Description('autofuse', OPTIONS_OF))
    return path


@pytest.fixture(scope='module')
def model(path):
    return autofuse_jax.load_model(path)


@pytest.fixture(scope='module')
def images():
    """Scanner-like intensities that are not in [0, 1]; the extremes are inside the smaller crop of a test below."""
    rng = np.random.default_rng(0)
    images = rng.integers(-50, 1200, size=(2, *SHAPE)).astype(np.int16)
    images[:, 3, 4, 5], images[:, 6, 7, 8] = -100, 1500
    return images


@pytest.fixture(scope='module')
def result(model, images):
    return model.register(*images)


def test_it_is_the_network_on_normalised_images(result, images):
    network = METHODS['autofuse'].network(**OPTIONS_OF)
    fixed, moving = ((image[None, ..., None] + 100) / np.float32(1600) for image in images)
    output = quick_jit(network.apply)({'params': as_tree(unflatten(params_of('autofuse', OPTIONS_OF)))}, fixed, moving)
    np.testing.assert_allclose(result.displacement, output.displacement[0], atol=1e-4)
    assert np.abs(result.displacement).max() > 0.01
    wanted = np.argmax(output.fixed_segmentation[0], axis=-1)
    assert np.mean(result.fixed_labels == wanted) > 0.999 and result.fixed_labels.dtype == np.uint8
    assert result.moving_labels.shape == SHAPE
    assert set(result.gate_means) == {f'gate_{number}' for number in range(2, 9)}


def test_weights_of_a_method_that_is_trained_with_labels(tmp_path):
    """Its objective must be told the number of classes, which no file of weights knows and no prediction needs."""
    options, path = {'base_channels': 2}, tmp_path / 'params.npz'
    write_released(path, params_of('ws_voxelmorph', options), Description('ws_voxelmorph', options))
    assert autofuse_jax.load_model(path).num_parameters > 0


def test_the_warped_image_keeps_its_intensities(result, images):
    np.testing.assert_allclose(result.warped, warp_image(images[1], result.displacement), rtol=1e-5)
    assert result.warped.dtype == np.float32 and result.warped.max() > 500


def test_registration_is_deterministic(model, result, images):
    np.testing.assert_array_equal(model.register(*images, seed=5).displacement, result.displacement)


def test_intensity_scales_do_not_matter(model, result, images):
    again = model.register(images[0] * 3.0 + 7, images[1] / 10.0)
    np.testing.assert_allclose(again.displacement, result.displacement, atol=1e-4)


def test_any_size_is_padded(model, images):
    odd = images[:, :15, :30, :11]
    result = model.register(*odd)
    assert result.displacement.shape == (15, 30, 11, 3) and result.warped.shape == (15, 30, 11)
    assert result.fixed_labels.shape == (15, 30, 11)


@pytest.mark.parametrize(
    ('fixed', 'moving', 'words'),
    [
        (np.zeros((4, 4)), np.zeros((4, 4)), 'two volumes'),
        (np.zeros((4, 4, 4)), np.zeros((4, 4, 5)), 'on the same grid'),
        (np.full((4, 4, 4), np.nan), np.zeros((4, 4, 4)), 'fixed holds NaN'),
        (np.arange(64).reshape(4, 4, 4), np.ones((4, 4, 4)), 'moving has the same value 1 everywhere'),
    ],
)
def test_images_that_cannot_be_registered(model, fixed, moving, words):
    with pytest.raises(UserError, match=words):
        model.register(fixed, moving)


def test_weights_of_another_network_are_refused(tmp_path):
    write_released(
        tmp_path / 'params.npz', params_of('autofuse', OPTIONS_OF), Description('autofuse', {'base_channels': 4})
    )
    with pytest.raises(UserError, match='do not fit the network autofuse'):
        autofuse_jax.load_model(tmp_path / 'params.npz')


def test_another_normalisation_is_refused(tmp_path):
    write_released(tmp_path / 'params.npz', {}, Description('autofuse', {}, normalisation='z-score'))
    with pytest.raises(UserError, match="normalised by 'z-score'.*" + MIN_MAX[:7]):
        autofuse_jax.load_model(tmp_path / 'params.npz')


def test_a_folder_is_refused_with_the_command_that_helps(tmp_path):
    with pytest.raises(UserError, match=r'is a folder.*port_weights --from='):
        autofuse_jax.load_model(tmp_path)


def test_neither_orbax_nor_torch_is_needed(path):
    script = (
        'import sys; sys.modules["orbax"] = sys.modules["torch"] = None\n'
        f'import autofuse_jax; print(autofuse_jax.load_model({str(path)!r}).num_parameters)'
    )
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, cwd=REPOSITORY)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == sum(array.size for array in params_of('autofuse', OPTIONS_OF).values())


def test_the_package_has_no_other_attributes():
    with pytest.raises(AttributeError, match='no_such_thing'):
        _ = autofuse_jax.no_such_thing
