"""Voxel coordinates."""

import jax.numpy as jnp
import numpy as np
import pytest

from autofuse_jax.fields.coordinates import check_field, voxel_grid


def test_each_voxel_holds_its_own_index():
    grid = np.asarray(voxel_grid((2, 3, 4)))
    np.testing.assert_array_equal(grid, np.stack(np.indices((2, 3, 4)), axis=-1))
    # The first voxel centre lies at 0, the last at N - 1.
    np.testing.assert_array_equal(grid[-1, -1, -1], [1, 2, 3])


@pytest.mark.parametrize('dtype', [jnp.float32, jnp.bfloat16, jnp.int32])
def test_type(dtype):
    assert voxel_grid((1, 2, 1), dtype).dtype == dtype


@pytest.mark.parametrize('shape', [(4, 5, 6), (4, 5, 6, 2), (1, 4, 5, 6, 3)])
def test_wrong_fields_are_refused_by_name_and_shape(shape):
    with pytest.raises(ValueError) as error:
        check_field(jnp.zeros(shape), 'velocity')
    assert 'velocity' in str(error.value) and str(shape) in str(error.value)
    assert '(D, H, W, 3)' in str(error.value)


def test_a_field_passes():
    assert check_field(jnp.zeros((4, 5, 6, 3)), 'velocity') is None
