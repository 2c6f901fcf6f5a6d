import numpy as np
import pytest

from autofuse_jax.data.background import choose_background

RANDOM = np.random.default_rng(0)


def head(air, size=(20, 22, 24), tissue=500.0):
    """An ellipsoid of uneven tissue in air."""
    places = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in size], indexing='ij'))
    inside = (places**2).sum(axis=0) < 0.7
    return np.where(inside, tissue + 100 * RANDOM.normal(size=size), air + np.zeros(size)).astype(np.float32)


@pytest.mark.parametrize('air', [0.0, -1024.0, 37.5, 3000.0])
def test_what_most_corners_show(air):
    assert choose_background(head(air)).value == air


def test_noise_in_the_corners_has_a_median():
    noise = np.abs(RANDOM.normal(size=(20, 22, 24))) * 10
    background = choose_background(head(noise))
    assert 3 < background.value < 10 and 'median' in background.source


def test_corners_that_differ_leave_the_low_end():
    # A part of a body that fills the field of view, with air only in the middle.
    image = 40 + 300 * RANDOM.random((20, 22, 24)).astype(np.float32)
    image[8:12, 8:12, 8:12] = -1024
    background = choose_background(image)
    assert background.value == -1024 and 'corners differ' in background.source
    # One strange voxel is no background.
    image[5, 5, 5] = -32768
    assert choose_background(image).value == -1024
    assert choose_background(image, 'min').value == -32768


def test_it_follows_offset_and_scale():
    for image in (head(12.0), head(np.abs(RANDOM.normal(size=(20, 22, 24)))), RANDOM.random((9, 9, 9))):
        image = image.astype(np.float64)
        expected = 3 * choose_background(image).value - 1000
        assert choose_background(3 * image - 1000).value == pytest.approx(expected, abs=1e-6)


def test_missing_data():
    assert np.isnan(choose_background(head(np.nan)).value)
    image = head(5.0)
    image[8:12] = np.nan
    image[10, 10, 10] = np.inf
    assert choose_background(image).value == 5
    assert choose_background(image, 'min').value == np.nanmin(image)
    assert np.isnan(choose_background(np.full((4, 4, 4), np.nan), 'min').value)


def test_a_number_is_taken_as_it_is():
    background = choose_background(head(5.0), -2.5)
    assert background.value == -2.5 and background.sentence == '-2.5 (as asked for)'
    assert choose_background(-np.zeros((3, 3, 3))).sentence.startswith('0 (')


def test_a_series_and_thin_images():
    series = np.stack([head(7.0), head(7.0)], axis=-1)
    assert choose_background(series).value == 7
    assert choose_background(head(7.0)[:, :, :1]).value == 7
