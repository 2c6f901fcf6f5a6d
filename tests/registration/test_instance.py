"""Instance optimisation of a velocity field."""

import numpy as np
import pytest

from autofuse_jax.errors import UserError
from autofuse_jax.metrics.folding import jacobian_determinant, njd_percent
from autofuse_jax.metrics.overlap import dice_per_label, mean_dice
from autofuse_jax.metrics.warping import warp_labels
from autofuse_jax.registration.instance import InstanceSettings, exponentials, optimise_instance, velocity_shape
from tests.registration.scenes import bulge, centred_grid, picture

QUICK = InstanceSettings(shrink=(2, 1), steps=(20, 10), smoothness=0.2)
GRID = centred_grid((32, 36, 28), (3.0, 3.0, 3.0))


@pytest.fixture(scope='module')
def pair():
    fixed, moving = picture(GRID, bulge, texture=True), picture(GRID, texture=True)
    return fixed, moving


@pytest.fixture(scope='module')
def found(pair):
    fixed, moving = pair
    return optimise_instance(fixed.image / 100, moving.image / 100, QUICK)


def test_structures_meet_without_folding(pair, found):
    fixed, moving = pair
    before = mean_dice(dice_per_label(fixed.labels, moving.labels, (1, 2, 3)))
    after = mean_dice(dice_per_label(fixed.labels, warp_labels(moving.labels, found.displacement), (1, 2, 3)))
    assert after > before + 0.05 and after > 0.93
    assert njd_percent(jacobian_determinant(found.displacement)) == 0
    assert found.displacement.dtype == np.float32 and found.displacement.shape == (*GRID.shape, 3)


def test_the_inverse_is_that_of_the_negative_velocity(found):
    forward, backward = exponentials(found.velocity, GRID.shape)
    np.testing.assert_array_equal(found.displacement, forward)
    np.testing.assert_array_equal(found.inverse_displacement, backward)
    there = np.moveaxis(np.indices(GRID.shape), 0, -1) + forward
    from autofuse_jax.transforms.maps import sample_field

    error = np.linalg.norm(forward + sample_field(backward, there), axis=-1)
    assert error.mean() < 0.05


def test_stages_say_what_was_done(found):
    assert [stage['name'] for stage in found.stages] == ['velocity at 1/2', 'velocity at full size']
    assert all(stage['loss_last'] < stage['loss_first'] for stage in found.stages)


def test_a_good_start_is_kept(pair, found):
    fixed, moving = pair
    settings = InstanceSettings(shrink=(1,), steps=(10,), smoothness=0.2)
    again = optimise_instance(fixed.image / 100, moving.image / 100, settings, velocity=found.velocity)
    assert again.stages[0]['loss_first'] == pytest.approx(found.stages[-1]['loss_last'], abs=2e-3)


def test_weights_of_zero_leave_the_image_where_it_is(pair):
    fixed, moving = pair
    nothing = np.zeros(GRID.shape, np.float32)
    result = optimise_instance(fixed.image / 100, moving.image / 100, QUICK, weights=nothing)
    assert np.abs(result.displacement).max() == 0


def test_wrong_settings_and_shapes_are_refused():
    with pytest.raises(UserError, match='3 levels and 2 numbers of steps'):
        InstanceSettings(steps=(10, 5))
    with pytest.raises(UserError, match='at least 1'):
        InstanceSettings(shrink=(2, 1, 0))
    with pytest.raises(ValueError, match=r'\(4, 4, 4\)'):
        optimise_instance(np.zeros((4, 4, 4)), np.zeros((4, 4, 5)))


def test_velocity_has_half_the_voxels_but_keeps_short_axes():
    assert velocity_shape((33, 128, 8), 2) == (17, 64, 8)
