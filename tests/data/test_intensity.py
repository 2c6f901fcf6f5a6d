import numpy as np
import pytest

from autofuse_jax.data.intensity import fill_missing, min_max_normalise, scale_weights, window_normalise
from autofuse_jax.data.volumes import Volume
from autofuse_jax.errors import UserError


def test_hand_worked_values():
    result = min_max_normalise(np.array([-10, 0, 30], np.int16), 'x')
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, np.array([0.0, 0.25, 1.0], np.float32))


def test_range_is_exact_also_where_float32_would_overflow():
    result = min_max_normalise(np.array([-3e38, 0.0, 3e38], np.float32), 'x')
    np.testing.assert_allclose(result, [0.0, 0.5, 1.0])


def test_repeating_changes_nothing():
    once = min_max_normalise(np.random.default_rng(0).normal(size=(4, 5, 6)), 'x')
    np.testing.assert_array_equal(min_max_normalise(once, 'x'), once)


@pytest.mark.parametrize('bad', [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers_name_the_volume(bad):
    with pytest.raises(UserError, match='patient007.*NaN or infinite'):
        min_max_normalise(np.array([0.0, bad]), 'patient007')


def test_constant_image_names_the_volume():
    with pytest.raises(UserError, match='patient007.*same value 3 everywhere'):
        min_max_normalise(np.full((2, 2, 2), 3), 'patient007')


def test_what_a_mask_leaves_out_has_no_say_in_the_window():
    image = np.random.default_rng(0).random((6, 6, 6)).astype(np.float32)
    mask = np.ones(image.shape, np.float32)
    mask[3:] = 0
    noisy = np.where(mask > 0, image, 3000.0).astype(np.float32)
    windowed = window_normalise(Volume(noisy, None, np.eye(4), 'noisy', mask)).image
    np.testing.assert_allclose(
        windowed[:3], window_normalise(Volume(image[:3], None, np.eye(4), 'cut')).image, atol=1e-6
    )
    assert np.all(windowed[3:] == 1)


def test_missing_values_get_no_weight():
    image = np.random.default_rng(0).random((4, 4, 4)).astype(np.float32)
    whole = Volume(image, None, np.eye(4), 'whole')
    assert fill_missing(whole) is whole
    image = image.copy()
    image[0, 0, 0], image[1, 1, 1] = np.nan, np.inf
    filled = fill_missing(Volume(image, None, np.eye(4), 'holes'))
    assert filled.image[0, 0, 0] == filled.image[1, 1, 1] == np.nanmin(image)
    assert filled.mask[0, 0, 0] == filled.mask[1, 1, 1] == 0 and filled.mask.sum() == 62
    mask = np.zeros(image.shape, np.float32)
    mask[0, 0, 0] = 1
    with pytest.raises(UserError, match='no value that is a number'):
        fill_missing(Volume(image, None, np.eye(4), 'empty', mask))


def test_the_weights_of_a_mask_count_beside_each_other():
    image = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
    bare, empty = Volume(image, None, np.eye(4), 'bare'), Volume(image, None, np.eye(4), 'empty', 0 * image)
    assert scale_weights(bare) is bare and scale_weights(empty) is empty
    soft = scale_weights(Volume(image, None, np.eye(4), 'soft', image / 20))
    np.testing.assert_allclose(soft.mask, image / 7)
    assert soft.mask.dtype == np.float32 and scale_weights(soft) is soft
