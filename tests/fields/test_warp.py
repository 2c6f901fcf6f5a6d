"""Warping on the device: zeros outside, exact shifts, gradients, and two independent implementations to agree with."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy import ndimage

from autofuse_jax.fields import warp_labels, warp_linear, warp_nearest
from autofuse_jax.losses import dice_loss
from autofuse_jax.metrics import warping

SHAPE = (4, 5, 6)
linear = jax.jit(warp_linear)
nearest = jax.jit(warp_nearest)


def constant_field(vector, shape=SHAPE):
    return jnp.broadcast_to(jnp.asarray(vector, jnp.float32), (*shape, 3))


def random_volume(seed=0, shape=SHAPE, channels=2):
    return np.random.default_rng(seed).normal(size=(*shape, channels)).astype(np.float32)


def random_field(scale, seed=1, shape=SHAPE):
    """Displacements of about `scale` voxels; with 3 many of them lead outside."""
    return (scale * np.random.default_rng(seed).normal(size=(*shape, 3))).astype(np.float32)


def test_zero_displacement_changes_nothing():
    volume = random_volume()
    np.testing.assert_array_equal(linear(volume, constant_field((0, 0, 0))), volume)
    np.testing.assert_array_equal(nearest(volume, constant_field((0, 0, 0))), volume)


@pytest.mark.parametrize('warp', [linear, nearest])
@pytest.mark.parametrize('axis', [0, 1, 2])
@pytest.mark.parametrize('step', [1, -2])
def test_integer_shift_is_exact(warp, axis, step):
    volume = random_volume()
    # warped(x) = moving(x + step); zeros enter where x + step lies outside.
    expected = np.roll(volume, -step, axis)
    entering = [slice(None)] * 4
    entering[axis] = slice(-step, None) if step > 0 else slice(0, -step)
    expected[tuple(entering)] = 0
    np.testing.assert_array_equal(warp(volume, constant_field(step * np.eye(3)[axis])), expected)


def test_linear_sampling_by_hand():
    volume = np.zeros((*SHAPE, 2), np.float32)
    volume[0, 0, 0], volume[1, 0, 0], volume[0, 1, 0], volume[0, 0, 1] = (8, 80), (4, 40), (2, 20), (1, 10)
    warped = linear(volume, constant_field((0.25, 0.5, 0.0)))
    # At voxel (0, 0, 0): 0.75 * 0.5 * 8 + 0.25 * 0.5 * 4 + 0.75 * 0.5 * 2 = 3 + 0.5 + 0.75.
    np.testing.assert_allclose(warped[0, 0, 0], [4.25, 42.5], rtol=1e-6)
    # At voxel (1, 0, 0), position (1.25, 0.5, 0): only the corner (1, 0, 0) is not 0: 0.75 * 0.5 * 4.
    np.testing.assert_allclose(warped[1, 0, 0], [1.5, 15], rtol=1e-6)


def test_each_corner_outside_counts_as_zero():
    # The corner voxel of the grid, displaced by a quarter along 0, 1, 2 and 3 axes: 3/4 of the weight stays each time.
    volume = jnp.full((*SHAPE, 2), 64.0)
    for number, kept in enumerate((64, 48, 36, 27)):
        outwards = np.where(np.arange(3) < number, 0.25, 0)
        np.testing.assert_allclose(linear(volume, constant_field(-outwards))[0, 0, 0], kept, rtol=1e-6)
        np.testing.assert_allclose(linear(volume, constant_field(outwards))[-1, -1, -1], kept, rtol=1e-6)


@pytest.mark.parametrize('distance', [1.0, 7.0, 1e6, 1e12])
@pytest.mark.parametrize('warp', [linear, nearest])
def test_far_outside_is_zero(warp, distance):
    # One voxel beyond the border nothing is left, whatever the distance.
    for sign in (-1, 1):
        field = constant_field([sign * (size - 1 + distance) for size in SHAPE])
        np.testing.assert_array_equal(warp(jnp.ones((*SHAPE, 2)), field), 0)


@pytest.mark.parametrize('scale', [0.4, 3.0])
def test_linear_agrees_with_scipy_and_with_the_host(scale):
    volume, field = random_volume(), random_field(scale)
    warped = linear(volume, field)
    positions = np.moveaxis(np.indices(SHAPE).transpose(1, 2, 3, 0) + field.astype(float), -1, 0)
    for channel in range(2):
        wanted = ndimage.map_coordinates(volume[..., channel], positions, order=1, mode='grid-constant', cval=0)
        np.testing.assert_allclose(warped[..., channel], wanted, atol=1e-5)
        np.testing.assert_allclose(warped[..., channel], warping.warp_image(volume[..., channel], field), atol=1e-5)


@pytest.mark.parametrize('scale', [0.4, 3.0])
def test_nearest_agrees_with_the_host(scale):
    labels, field = np.random.default_rng(2).integers(0, 9, SHAPE).astype(np.uint8), random_field(scale)
    warped = nearest(labels[..., None], field)
    assert warped.dtype == jnp.uint8
    np.testing.assert_array_equal(warped[..., 0], warping.warp_labels(labels, field))


def test_nearest_rounds_half_to_even():
    labels = jnp.arange(1, 6).reshape(5, 1, 1, 1)
    # Positions 0.5, 1.5, 2.5, 3.5, 4.5 round to 0, 2, 2, 4, 4; positions -0.5, 0.5, ... to 0, 0, 2, 2, 4.
    field = functools.partial(constant_field, shape=(5, 1, 1))
    np.testing.assert_array_equal(nearest(labels, field((0.5, 0, 0))).ravel(), [1, 3, 3, 5, 5])
    np.testing.assert_array_equal(nearest(labels, field((-0.5, 0, 0))).ravel(), [1, 1, 3, 3, 5])


def test_fixed_grid_may_have_another_size():
    volume = random_volume()
    np.testing.assert_array_equal(linear(volume, jnp.zeros((2, 3, 2, 3))), volume[:2, :3, :2])
    np.testing.assert_array_equal(nearest(volume, jnp.zeros((2, 3, 2, 3))), volume[:2, :3, :2])


def test_a_volume_keeps_its_type():
    assert jax.eval_shape(warp_linear, random_volume().astype(jnp.bfloat16), random_field(1)).dtype == jnp.bfloat16
    with jax.enable_x64(True):
        wide = jax.eval_shape(warp_linear, np.zeros((*SHAPE, 2)), np.zeros((*SHAPE, 3)))
    assert wide.dtype == jnp.float64


def test_vmap_equals_a_loop():
    volumes = np.stack([random_volume(seed) for seed in (3, 4)])
    fields = np.stack([random_field(1.5, seed) for seed in (5, 6)])
    batch = jax.jit(jax.vmap(warp_linear))(volumes, fields)
    for sample, volume, field in zip(batch, volumes, fields, strict=True):
        np.testing.assert_allclose(sample, linear(volume, field), rtol=1e-6, atol=1e-6)


def test_gradient_by_hand():
    # volume(i) = 5 i along axis 0: the derivative of a linear interpolation is the slope, inside the grid.
    volume = jnp.broadcast_to(5.0 * jnp.arange(4)[:, None, None, None], (*SHAPE, 1))
    field = constant_field((0.3, 0.2, 0.4))
    gradient = jax.jit(jax.grad(lambda u: jnp.sum(warp_linear(volume, u)[:3, :4, :5])))(field)
    np.testing.assert_allclose(gradient[:3, :4, :5, 0], 5, rtol=1e-5)
    np.testing.assert_allclose(gradient[:3, :4, :5, 1:], 0, atol=1e-5)
    np.testing.assert_array_equal(gradient[3], 0)


@pytest.mark.parametrize(('at', 'slope'), [(-1.0, 3.0), (-0.5, 3.0), (0.0, 4.0), (1.0, -2.0), (2.0, -5.0), (3.0, 0.0)])
def test_derivative_at_a_voxel_is_that_towards_larger_positions(at, slope):
    volume = jnp.asarray([3.0, 7.0, 5.0]).reshape(3, 1, 1, 1)

    def sampled(position):
        return warp_linear(volume, constant_field((position, 0, 0), (1, 1, 1)))[0, 0, 0, 0]

    assert jax.grad(sampled)(at) == pytest.approx(slope)


@pytest.mark.parametrize('shape', [(1, 5, 6), (4, 1, 6), (4, 5, 1), (1, 1, 1)])
def test_an_axis_of_one_voxel(shape):
    volume, field = random_volume(shape=shape), random_field(0.5, shape=shape)
    for channel in range(2):
        wanted = warping.warp_image(volume[..., channel], field)
        np.testing.assert_allclose(warp_linear(volume, field)[..., channel], wanted, atol=1e-6)
    assert np.isfinite(jax.grad(lambda u: jnp.sum(warp_linear(volume, u)))(field)).all()


def test_positions_that_are_no_numbers_harm_no_others():
    volume, field = random_volume(), random_field(1.0)
    broken = field.copy()
    broken[0, 0, 0], broken[1, 1, 1] = np.nan, np.inf
    warped, expected = np.asarray(linear(volume, broken)), linear(volume, field)
    assert np.isnan(warped[0, 0, 0]).all() and (np.isnan(warped[1, 1, 1]) | (warped[1, 1, 1] == 0)).all()
    others = np.ones(SHAPE, bool)
    others[0, 0, 0] = others[1, 1, 1] = False
    np.testing.assert_array_equal(warped[others], expected[others])
    gradient = np.asarray(jax.jit(jax.grad(lambda u: jnp.sum(warp_linear(volume, u))))(broken))
    assert np.isfinite(gradient[others]).all()


@pytest.mark.parametrize(('channels', 'grid'), [(1, SHAPE), (3, SHAPE), (5, SHAPE), (2, (3, 2, 4))])
def test_derivatives_agree_with_differences(channels, grid):
    """Of both arguments, first and second; some positions lie outside."""
    with jax.enable_x64(True):
        volume = jnp.asarray(random_volume(channels=channels), jnp.float64)
        field = jnp.asarray(random_field(2.0, shape=grid), jnp.float64)
        check_grads(jax.jit(warp_linear), (volume, field), order=2, modes=['rev'], eps=1e-6)


def test_numpy_arrays_of_a_compiled_function():
    volumes, fields = random_volume()[None], random_field(1.0)[None]
    inside = jax.jit(lambda scale: jax.vmap(warp_linear)(np.asarray(volumes), scale * np.asarray(fields)))(1.0)
    np.testing.assert_allclose(inside[0], linear(volumes[0], fields[0]), rtol=1e-6, atol=1e-6)


def test_derivatives_keep_the_types():
    volume, field = random_volume().astype(jnp.bfloat16), random_field(1.0)
    gradients = jax.eval_shape(jax.grad(lambda v, u: jnp.sum(warp_linear(v, u)), (0, 1)), volume, field)
    assert [gradient.dtype for gradient in gradients] == [jnp.bfloat16, jnp.float32]


def test_labels_by_hand():
    labels = jnp.asarray([0, 2, 1, 1]).reshape(4, 1, 1)
    warped = warp_labels(labels, constant_field((0.25, 0, 0), (4, 1, 1)), num_classes=3)
    # Positions 0.25, 1.25, 2.25, 3.25, the last with a quarter of its weight outside.
    expected = [[0.75, 0, 0.25], [0, 0.25, 0.75], [0, 1, 0], [0, 0.75, 0]]
    np.testing.assert_allclose(warped[:, 0, 0], expected, rtol=1e-6)


def test_labels_are_probabilities():
    labels = np.random.default_rng(2).integers(0, 4, SHAPE)
    warped = jax.jit(functools.partial(warp_labels, num_classes=4))(labels, random_field(0.4))
    total = np.asarray(warped).sum(axis=-1)
    assert warped.min() >= 0 and total.max() <= 1 + 1e-6
    # What is missing is what leaves the grid: the warped indicator of the grid itself.
    np.testing.assert_allclose(total, linear(jnp.ones((*SHAPE, 2)), random_field(0.4))[..., 0], atol=1e-6)


def test_gradient_of_the_dice_of_warped_labels_agrees_with_differences():
    rng = np.random.default_rng(7)
    labels, target_labels = rng.integers(0, 4, (2, *SHAPE))
    with jax.enable_x64(True):
        target = jax.nn.one_hot(target_labels, 4, dtype=jnp.float64)
        field = jnp.asarray(random_field(0.6), jnp.float64)
        direction = jnp.asarray(rng.normal(size=(*SHAPE, 3)))
        # Interpolation has kinks at whole positions; no displacement may cross one within the step below.
        assert jnp.abs(field - jnp.round(field)).min() > 1e-5 * jnp.abs(direction).max()

        @jax.jit
        def dice(u):
            return dice_loss(target, warp_labels(jnp.asarray(labels), u, num_classes=4))

        gradient = jax.jit(jax.grad(dice))(field)
        step = 1e-6
        difference = (dice(field + step * direction) - dice(field - step * direction)) / (2 * step)
        difference, analytic = float(difference), float(jnp.vdot(gradient, direction))
    assert abs(analytic) > 1e-3
    np.testing.assert_allclose(analytic, difference, rtol=1e-4)


@pytest.mark.parametrize('warp', [warp_linear, warp_nearest])
def test_wrong_shapes_are_named(warp):
    with pytest.raises(ValueError, match=r'displacement has shape \(4, 5, 6, 2\), expected \(D, H, W, 3\)'):
        warp(jnp.zeros((4, 5, 6, 1)), jnp.zeros((4, 5, 6, 2)))
    with pytest.raises(ValueError, match=r'volume has shape \(4, 5, 6\), expected \(D, H, W, C\).*vmap'):
        warp(jnp.zeros((4, 5, 6)), jnp.zeros((4, 5, 6, 3)))
