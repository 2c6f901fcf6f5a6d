"""Instance optimisation of a velocity field."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from autofuse_jax.errors import UserError
from autofuse_jax.fields import warp_linear
from autofuse_jax.losses.similarity import local_ncc
from autofuse_jax.metrics.folding import jacobian_determinant, njd_percent
from autofuse_jax.metrics.overlap import dice_per_label
from autofuse_jax.metrics.structures import mean_over_structures
from autofuse_jax.metrics.warping import warp_labels
from autofuse_jax.registration import instance, instance_levels
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
    before = mean_over_structures(dice_per_label(fixed.labels, moving.labels, (1, 2, 3)))
    after = mean_over_structures(
        dice_per_label(fixed.labels, warp_labels(moving.labels, found.displacement), (1, 2, 3))
    )
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


def similarity(fixed, moving, displacement):
    images = [jnp.asarray(volume.image[..., None] / 100) for volume in (fixed, moving)]
    return float(local_ncc(images[0], warp_linear(images[1], jnp.asarray(displacement))))


def test_stages_say_what_was_done(found):
    assert [stage['name'] for stage in found.stages] == ['velocity at 1/2', 'velocity at full size']
    assert all(stage['loss_last'] < stage['loss_first'] for stage in found.stages)


def test_a_given_velocity_is_where_the_search_starts_and_costs_no_smoothness(pair, found):
    fixed, moving = pair
    settings = InstanceSettings(shrink=(1,), steps=(10,), smoothness=0.2, trust=1.0)
    again = optimise_instance(fixed.image / 100, moving.image / 100, settings, velocity=found.velocity)
    bare = -again.stages[0]['loss_first']
    assert bare == pytest.approx(similarity(fixed, moving, found.displacement), abs=2e-3)
    assert again.stages[0]['loss_last'] <= again.stages[0]['loss_first']


@pytest.mark.parametrize(
    ('inverse', 'least', 'most'),
    [('turns', 0.0, 0.3), (0.0, 0.4, 2.0), pytest.param(1.0, 0.0, 1e-3, marks=pytest.mark.slow)],
)
def test_how_much_depends_on_which_image_is_called_fixed(pair, inverse, least, most):
    """With directions in turn little, with both in each step nothing, with one direction alone much."""
    images = [volume.image / 100 for volume in pair]
    settings = InstanceSettings(shrink=(2,), steps=(30,), smoothness=0.2, inverse=inverse)
    result, exchanged = optimise_instance(*images, settings), optimise_instance(*images[::-1], settings)
    structures = pair[0].labels > 0
    apart, length = (
        np.linalg.norm(field[structures], axis=-1).mean()
        for field in (result.displacement - exchanged.inverse_displacement, result.displacement)
    )
    assert least <= apart / length < most


def test_only_the_trusted_share_of_a_given_velocity_is_kept(pair, found):
    fixed, moving = pair
    nothing = np.zeros(GRID.shape, np.float32)
    settings = InstanceSettings(shrink=(1,), steps=(5,), trust=0.25, jacobian=0.0)
    images = fixed.image / 100, moving.image / 100
    kept = optimise_instance(*images, settings, velocity=found.velocity, weights=nothing)
    np.testing.assert_allclose(kept.velocity, 0.25 * found.velocity, atol=1e-6)


@pytest.mark.slow
def test_what_only_a_given_velocity_knows_survives_heavy_smoothing(pair, found):
    fixed, moving = pair
    stiff = InstanceSettings(shrink=(2, 1), steps=(20, 10), smoothness=10.0, learning_rate=0.01, trust=1.0)
    kept = optimise_instance(fixed.image / 100, moving.image / 100, stiff, velocity=found.velocity)
    alone = optimise_instance(fixed.image / 100, moving.image / 100, stiff)
    spread = np.std(found.velocity, axis=(0, 1, 2))
    assert np.abs(np.std(kept.velocity, axis=(0, 1, 2)) / spread - 1).max() < 0.1
    assert (np.std(alone.velocity, axis=(0, 1, 2)) / spread).max() < 0.3


def test_smoothness_counts_strain_in_space(pair):
    fixed, moving = pair
    settings = InstanceSettings(shrink=(1,), steps=(10,), smoothness=0.2)
    images = fixed.image / 100, moving.image / 100
    same = [optimise_instance(*images, settings, spacing=(s, s, s)).velocity for s in (1.0, 3.0)]
    np.testing.assert_allclose(*same, atol=2e-3)
    thick = optimise_instance(*images, settings, spacing=(1.0, 1.0, 3.0)).velocity
    assert np.abs(thick - same[0]).max() > 0.05


def test_a_large_level_has_fewer_steps(pair, monkeypatch):
    fixed, moving = pair
    monkeypatch.setattr(instance_levels, 'LARGE_LEVEL', fixed.image.size - 1)
    few = dataclasses.replace(QUICK, steps_of_large=5, tolerance=0.0)
    stages = optimise_instance(fixed.image / 100, moving.image / 100, few).stages
    assert [stage['steps'] for stage in stages] == [20, 5]


def test_weights_of_zero_leave_the_image_where_it_is(pair):
    fixed, moving = pair
    nothing = np.zeros(GRID.shape, np.float32)
    result = optimise_instance(fixed.image / 100, moving.image / 100, QUICK, weights=nothing)
    assert np.abs(result.displacement).max() == 0


@pytest.mark.parametrize('in_plane', [False, True])
@pytest.mark.parametrize('given', [(), ('velocity',), ('start',), ('velocity', 'start')], ids=' and '.join)
def test_contrasts_are_matched_where_the_images_are_compared(pair, monkeypatch, given, in_plane):
    matched_through = []

    def match(images, displacement=None):
        matched_through.append(np.zeros((*GRID.shape, 3)) if displacement is None else displacement)
        return images, images

    monkeypatch.setattr(instance, 'match_contrast', match)
    # With steps that are next to nothing the velocity stays what was given.
    settings = InstanceSettings(
        similarity='matched', shrink=(4,), steps=(5,), smoothness=0.0, learning_rate=1e-9, trust=0.5
    )
    fields = {name: np.full((*GRID.shape, 3), size, np.float32) for name, size in (('velocity', 2.0), ('start', -0.5))}
    images = (volume.image / 100 for volume in pair)
    found = optimise_instance(*images, settings, in_plane=in_plane, **{name: fields[name] for name in given})
    assert len(matched_through) == 2
    for displacement in matched_through:
        np.testing.assert_allclose(displacement, found.displacement, atol=1e-5)
    moved = np.abs(found.displacement).max((0, 1, 2)) > 0.4
    assert moved.tolist() == [bool(given), bool(given), bool(given) and not in_plane]


@pytest.mark.parametrize(
    ('name', 'value', 'allowed'),
    [
        ('shrink', (2, 1, 0), 'a whole number of 1 or more'),
        ('steps', (10, 0, 5), 'a whole number of 1 or more'),
        ('steps', (), 'one or more numbers'),
        ('velocity_shrink', 0, 'a whole number of 1 or more'),
        ('guided_velocity_shrink', 0, 'a whole number of 1 or more'),
        ('learning_rate', 0.0, 'a number above 0'),
        ('learning_rate', float('inf'), 'a number above 0'),
        ('smoothness', -1.0, 'a number of 0 or more'),
        ('jacobian', float('nan'), 'a number of 0 or more'),
        ('inverse', -0.5, 'a number of 0 or more'),
        ('ncc_window', 8, 'an odd number'),
        ('tolerance', -0.1, 'at most 1'),
        ('trust', 1.5, 'at most 1'),
    ],
)
def test_a_setting_out_of_its_range_is_named(name, value, allowed):
    with pytest.raises(UserError) as error:
        InstanceSettings(**{name: value})
    assert str(error.value).startswith(f'{name} is {value!r}. Expected: ') and allowed in str(error.value)


def test_wrong_settings_and_shapes_are_refused():
    with pytest.raises(UserError, match='3 levels and 2 numbers of steps'):
        InstanceSettings(steps=(10, 5))
    with pytest.raises(ValueError, match=r'\(4, 4, 4\)'):
        optimise_instance(np.zeros((4, 4, 4)), np.zeros((4, 4, 5)))


def test_velocity_has_half_the_voxels_but_keeps_short_axes():
    assert velocity_shape((33, 128, 8), 2) == (17, 64, 8)
