import numpy as np
import pytest

from autofuse_jax.data.intensity import min_max_normalise
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
