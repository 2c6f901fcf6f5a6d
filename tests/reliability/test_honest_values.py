"""Numbers that say what they mean in corners: outliers, flat regions, small weights, early stops, other machines."""

import math
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from autofuse_jax.data.intensity import window_normalise
from autofuse_jax.data.volumes import Volume
from autofuse_jax.losses.similarity import local_moments, local_ncc
from autofuse_jax.registration.minimise import Schedule, minimise
from autofuse_jax.registration.scores import correlation, score_registration
from autofuse_jax.reports.structure_table import in_one_map
from autofuse_jax.runtime import container_bytes
from autofuse_jax.training import scoring_config
from autofuse_jax.training.scoring_config import config_for_scoring
from autofuse_jax.transforms.maps import DenseTransform


def tissue(shape=(20, 20, 20)):
    """Values 0 .. 200 as an image has them: a background of 0, tissue, and a few bright voxels."""
    rng = np.random.default_rng(0)
    image = rng.normal(100, 20, shape).astype(np.float32).clip(1, 190)
    image[:6] = 0
    image[-1, -1, :3] = 200
    return image


def windowed(image):
    return window_normalise(Volume(image, None, np.eye(4), 'a')).image


def test_a_voxel_far_below_does_not_squeeze_the_tissue():
    image = tissue()
    good = windowed(image)
    image[0, 0, 0] = -3000
    squeezed = windowed(image)
    np.testing.assert_allclose(squeezed[6:], good[6:], atol=2e-3)
    assert squeezed[0, 0, 0] == 0


def test_without_voxels_far_below_the_window_begins_at_the_smallest_value():
    image = tissue()
    shares = (image - image.min()) / (image.max() - image.min())
    high = np.percentile(shares[shares > 0], 99.8)
    np.testing.assert_allclose(windowed(image), np.clip(shares / high, 0, 1), atol=1e-6)
    # A dark rim of a few voxels that is no outlier stays apart from the tissue.
    image[:6] = 60
    image[0, 0, 0] = 30
    assert windowed(image)[0, 0, 1] > windowed(image)[0, 0, 0] == 0


def test_variances_in_flat_regions_are_not_negative():
    image = jnp.full((12, 12, 12, 1), 0.7371)
    assert float(local_moments(image, window=9).variances.min()) >= 0


@pytest.mark.parametrize('scale', [1.0, 1e-3, 1e-6])
def test_the_mean_does_not_depend_on_the_scale_of_the_weights(scale):
    rng = np.random.default_rng(0)
    fixed, warped = (jnp.asarray(rng.uniform(size=(6, 6, 6, 1)), jnp.float32) for _ in range(2))
    weights = jnp.asarray(rng.uniform(size=(6, 6, 6)), jnp.float32)
    wanted = local_ncc(fixed, warped, window=3, weights=weights)
    got = local_ncc(fixed, warped, window=3, weights=scale * weights)
    np.testing.assert_allclose(got, wanted, rtol=1e-5)
    assert local_ncc(fixed, warped, window=3, weights=jnp.zeros((6, 6, 6))) == 0


def parabola(params, data, options, step=0):
    del options
    return jnp.sum((params - data) ** 2)


@pytest.mark.parametrize('rate', [0.5, 3.0])
def test_an_early_stop_reports_the_loss_of_what_it_returns(rate):
    schedule = Schedule(200, rate, tolerance=0.2)
    end = minimise(parabola, jnp.zeros(2), jnp.asarray([1.0, 2.0]), None, schedule)
    assert end.stopped == 'no further gain'
    assert end.loss == pytest.approx(float(parabola(end.params, jnp.asarray([1.0, 2.0]), None)), rel=1e-5)
    assert end.stage('a')['loss_last'] == end.loss <= end.losses[0]


def test_a_moved_image_that_is_the_same_everywhere_has_no_correlation():
    image = tissue((6, 6, 6))
    assert math.isnan(correlation(image, np.full_like(image, 3.0)))


def config(batch, devices=0, depth=1, precision='default'):
    training = {'batch_size': batch, 'devices': devices, 'depth_devices': depth, 'precision': precision}
    return ConfigDict({'training': training})


@pytest.mark.parametrize(
    ('batch', 'devices', 'depth', 'used'),
    [(1, 0, 1, (1, 1)), (4, 0, 1, (4, 1)), (6, 0, 1, (3, 1)), (1, 8, 8, (1, 1)), (1, 4, 4, (4, 4)), (2, 2, 1, (2, 1))],
)
def test_a_run_is_scored_on_as_many_devices_as_share_its_batch(monkeypatch, batch, devices, depth, used):
    monkeypatch.setattr(scoring_config.jax, 'devices', lambda: [SimpleNamespace(platform='cpu', device_kind='cpu')] * 4)
    here, remarks = config_for_scoring(config(batch, devices, depth))
    assert (here.training.devices or 4, here.training.depth_devices) == used
    changed = used != ((devices or 4), depth)
    assert bool(remarks) == changed


def test_a_run_in_bfloat16_is_scored_in_float32_where_the_device_has_none():
    here, remarks = config_for_scoring(config(1, devices=1, precision='bfloat16'))
    assert jax.devices()[0].platform == 'cpu' and here.training.precision == 'default'
    assert 'scored in float32' in remarks[0]


def test_the_memory_of_a_container_is_the_smallest_limit_around_it(tmp_path):
    groups = tmp_path / 'cgroup'
    groups.write_text('0::/user/job\n')
    (tmp_path / 'user' / 'job').mkdir(parents=True)
    assert container_bytes(groups, tmp_path) == math.inf
    (tmp_path / 'user' / 'job' / 'memory.max').write_text('max\n')
    (tmp_path / 'user' / 'memory.max').write_text('3000\n')
    assert container_bytes(groups, tmp_path) == 3000
    # The first version has a tree for each kind of limit.
    (tmp_path / 'memory' / 'box').mkdir(parents=True)
    (tmp_path / 'memory' / 'box' / 'memory.limit_in_bytes').write_text('2000\n')
    groups.write_text('4:cpu,cpuacct:/box\n3:memory:/box\n0::/\nbroken\n')
    assert container_bytes(groups, tmp_path) == 2000
    assert container_bytes(tmp_path / 'absent', tmp_path) == math.inf


def test_structures_of_one_label_map_are_named_and_the_mean_is_given_without_them():
    labels = np.zeros((6, 6, 6), np.int32)
    labels[1:4, 1:4, 1:4] = 1
    other = labels.copy()
    other[5, 5, 5] = 7
    transform = DenseTransform(np.zeros((6, 6, 6, 3), np.float32), np.eye(4))
    image = tissue((6, 6, 6))
    maps = {'labels_before': other, 'moved_labels': other}
    scored = score_registration(
        Volume(image, labels, np.eye(4), 'a'), transform, transform, moving_before=image, moved=image, **maps
    )
    assert scored['structures_in_one_map'] == [7]
    assert scored['dsc_after'] == 0.5 and scored['dsc_after_in_both'] == scored['dsc_before_in_both'] == 1
    words = in_one_map({1: 'left', 7: 'tumour'}, scored)
    assert 'DSC is 0: tumour. Mean DSC before 50.0 % with and 100.0 % without; after 50.0 %' in words
    alike = score_registration(
        Volume(image, labels, np.eye(4), 'a'),
        transform,
        transform,
        moving_before=image,
        moved=image,
        labels_before=labels,
        moved_labels=labels,
    )
    assert 'structures_in_one_map' not in alike and in_one_map({1: 'left'}, alike) == ''
