"""The spread of a deformation: starts, distances, and that it is large where the images say nothing."""

import dataclasses
import json
import types

import numpy as np
import pytest
from scipy import ndimage

from autofuse_jax.data.volumes import Volume, read_image
from autofuse_jax.errors import UserError
from autofuse_jax.register import main
from autofuse_jax.registration.alignment import AlignmentSettings
from autofuse_jax.registration.instance import InstanceSettings
from autofuse_jax.registration.pipeline import register_volumes
from autofuse_jax.registration.pipeline_settings import PipelineSettings
from autofuse_jax.registration.results import write_results
from autofuse_jax.registration.spread import on_image_grid, random_starts, spread_mm
from autofuse_jax.weights.pretrained import Registration, RegistrationModel
from autofuse_jax.weights.released import Description
from tests.porting.small import OPTIONS, params_of
from tests.registration.scenes import centred_grid

STILL = AlignmentSettings(kind='none', start='header')


def test_starts_are_smooth_of_known_size_and_the_same_every_time():
    first, second = random_starts((64, 48, 8), 2)
    assert first.shape == (8, 6, 2, 3) and np.abs(first - second).max() > 0
    np.testing.assert_array_equal(first, next(iter(random_starts((64, 48, 8), 1))))
    # Two voxels of the working grid, in voxels that are 8, 8 and 4 times as large.
    np.testing.assert_allclose(first.std(axis=(0, 1, 2)), [0.25, 0.25, 0.5], rtol=1e-5)
    np.testing.assert_allclose(first.mean(axis=(0, 1, 2)), 0, atol=1e-6)


def test_spread_is_the_distance_in_millimetres():
    still = np.zeros((2, 2, 2, 3))
    others = [still + [1, 0, 0], still + [0, 0, 2]]
    # One voxel of 3 mm, and two of 2 mm: the root of the mean of 9 and 16.
    np.testing.assert_allclose(spread_mm(still, others, np.diag([3.0, 1, 2, 1])), np.sqrt(12.5), rtol=1e-6)


def test_a_spread_reaches_the_border_of_the_image():
    grid, finer = centred_grid((4, 4, 4), (4, 4, 4)), centred_grid((16, 16, 16), (1, 1, 1))
    np.testing.assert_allclose(on_image_grid(np.full((4, 4, 4), 1.5), grid.affine, finer), 1.5)


@pytest.fixture(scope='module')
def half_empty():
    """A pair with waves in one half and nothing in the other, and its registration with two restarts."""
    grid = centred_grid((32, 16, 16), (2.0, 2.0, 2.0))
    waves = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=grid.shape), 2, mode='wrap')
    waves = (waves - waves.min()) / np.ptp(waves)
    waves[16:] = 0
    images = (100 * image.astype(np.float32) for image in (waves, np.roll(waves, 1, 1)))
    fixed, moving = (Volume(image, None, grid.affine, 'noise') for image in images)
    settings = PipelineSettings(STILL, InstanceSettings(shrink=(2, 1), steps=(60, 30), smoothness=0.05), samples=2)
    return register_volumes(fixed, moving, settings), settings


def test_the_spread_is_larger_where_the_images_show_nothing(half_empty):
    spread = half_empty[0].spread
    assert spread.shape == (32, 16, 16) and spread.min() >= 0
    inner = slice(4, 12)
    assert spread[22:28, inner, inner].mean() > 2 * spread[4:12, inner, inner].mean() > 0


def test_the_map_and_a_line_of_the_report(half_empty, tmp_path):
    result, settings = half_empty
    report = write_results(tmp_path / 'out', result, about={'settings': dataclasses.asdict(settings)}, page=False)
    np.testing.assert_allclose(read_image(tmp_path / 'out' / 'spread_mm.nii.gz').image, result.spread, rtol=1e-5)
    assert report['spread']['samples'] == 2 and report['spread']['mean_mm'] == pytest.approx(result.spread.mean())
    line = next(check for check in report['checks'] if check.startswith('Spread of the deformation over 2 perturbed'))
    assert f'{result.spread.mean():.2f} mm on average' in line
    assert 'spread_mm.nii.gz' in json.loads((tmp_path / 'out' / 'report.json').read_text())['files']


class Drawn:
    """Stands in for a network: a displacement of one voxel, and with `sampling` of as many more as it draws."""

    runtime = 'a function of NumPy'
    method = types.SimpleNamespace(multiple=(16, 16, 16))
    description = types.SimpleNamespace(spacing_mm=(2.0, 2.0, 2.0), method='drawn')

    def __init__(self, deviation=0.0):
        self._deviation = deviation

    def sampling(self):
        return Drawn(2.0)

    def register(self, fixed, moving, *, seed=0):
        step = 1 + self._deviation * np.random.default_rng(seed).choice([-1, 1])
        displacement = np.broadcast_to([step, 0, 0], (*fixed.shape, 3)).astype(np.float32)
        velocity = np.broadcast_to([0.5, 0, 0], (8, 8, 8, 3)).astype(np.float32)
        return Registration(displacement, velocity, moving, None, None, {})


def test_a_network_alone_is_drawn_from_its_variance():
    grid = centred_grid((16, 16, 16), (2.0, 2.0, 2.0))
    image = np.random.default_rng(1).uniform(size=grid.shape).astype(np.float32)
    pair = Volume(image, None, grid.affine, 'a'), Volume(image[::-1], None, grid.affine, 'b')
    result = register_volumes(*pair, PipelineSettings(STILL, None, samples=3), model=Drawn())
    # Two voxels of 2 mm to either side of the mean.
    np.testing.assert_allclose(result.spread, 4.0, rtol=1e-5)
    network = Drawn()
    network.sampling = lambda: None
    with pytest.raises(UserError, match='drawn predicts no variance to draw from'):
        register_volumes(*pair, PipelineSettings(STILL, None, samples=3), model=network)


def test_networks_with_a_variance_can_be_drawn_from():
    model = RegistrationModel(
        params_of('autofuse', OPTIONS['autofuse_semi']), Description('autofuse', OPTIONS['autofuse_semi'])
    )
    assert model.sampling().description.inference == {'sample_velocity': True}
    options = {**OPTIONS['autofuse_semi'], 'output': 'displacement'}
    assert RegistrationModel(params_of('autofuse', options), Description('autofuse', options)).sampling() is None


def test_what_has_no_spread_is_refused(tmp_path, capsys):
    grid = centred_grid((16, 16, 16), (2.0, 2.0, 2.0))
    volume = Volume(np.random.default_rng(1).uniform(size=grid.shape).astype(np.float32), None, grid.affine, 'noise')
    with pytest.raises(UserError, match='nothing is deformed'):
        register_volumes(volume, volume, PipelineSettings(STILL, None, samples=3))
    with pytest.raises(UserError, match='the number of samples is -1'):
        PipelineSettings(samples=-1)
    arguments = [f'--moving={tmp_path}/a.nii.gz', f'--out={tmp_path}/out', '--reference-frame=0', '--samples=2']
    assert main(arguments) == 2
    assert '--samples does not go with --reference-frame' in capsys.readouterr().err
