"""Local correlation on the host: blind to scales, and to what is not known."""

import numpy as np
import pytest
from scipy import ndimage

from autofuse_jax.metrics import local_correlation as module
from autofuse_jax.metrics.local_correlation import Blocks, local_correlation

SHAPE = (20, 22, 24)
IMAGE = np.random.default_rng(0).normal(size=SHAPE)
OTHER = np.random.default_rng(1).normal(size=SHAPE)


def test_images_that_differ_by_a_scale_are_alike():
    assert local_correlation(IMAGE, IMAGE) == pytest.approx(1.0, abs=1e-6)
    assert local_correlation(IMAGE, 5 - 300 * IMAGE) == pytest.approx(1.0, abs=1e-6)
    assert local_correlation(IMAGE, OTHER) < 0.02


def test_what_is_not_known_has_no_say():
    valid = np.ones(SHAPE)
    valid[10:] = 0
    mixed = np.where(valid > 0, IMAGE, np.nan)
    assert local_correlation(IMAGE, mixed, valid) == pytest.approx(1.0, abs=1e-6)
    assert np.isnan(local_correlation(IMAGE, IMAGE, np.zeros(SHAPE)))
    assert np.isnan(local_correlation(np.zeros(SHAPE), IMAGE))


def test_flat_parts_of_the_moved_image_count_as_unlike():
    half = IMAGE.copy()
    half[10:] = 0
    assert 0.4 < local_correlation(IMAGE, half) < 0.7


def test_large_images_are_thinned(monkeypatch):
    smooth = np.random.default_rng(2).normal(size=(5, 5, 6)).repeat(8, 0).repeat(8, 1).repeat(8, 2)
    monkeypatch.setattr(module, 'MOST_VOXELS', 6000)
    assert local_correlation(smooth, 2 * smooth + 1) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize('sides', [(2, 3, 4), (4, 1, 2), (5, 5, 5), (1, 1, 1)])
def test_blocks_are_means_of_voxels_that_lie_at_least_half_inside(sides):
    volume = np.random.default_rng(0).uniform(size=(9, 10, 11))
    first = tuple(slice(side // 2, None, side) for side in sides)
    expected = ndimage.uniform_filter(volume, sides, mode='constant')[first]
    np.testing.assert_allclose(Blocks(volume.shape, sides).means(lambda rows: volume[rows]), expected, rtol=1e-12)


def test_what_is_not_valid_does_not_count_in_large_images(monkeypatch):
    monkeypatch.setattr(module, 'MOST_VOXELS', 1800)
    rng = np.random.default_rng(0)
    coarse = rng.uniform(size=(12, 12, 12))
    image = np.kron(coarse, np.ones((2, 2, 2)))
    assert local_correlation(image, 3 * image - 1) == pytest.approx(1.0, abs=1e-6)
    valid = np.ones(image.shape, bool)
    valid[:, :, 16:] = False
    moved = np.where(valid, image, rng.uniform(size=image.shape))
    moved[0, 0, 20] = np.nan
    assert local_correlation(image, moved, valid) == pytest.approx(1.0, abs=1e-6)
