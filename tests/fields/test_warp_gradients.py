"""The derivatives of a warp: both ways to compute them against what JAX derives, and what they ask for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autofuse_jax.fields import integrate_velocity, warp_linear
from autofuse_jax.fields.neighbours import corners, neighbour
from autofuse_jax.fields.warp_gradients import (
    _displacement_gradient,
    _volume_gradient,
    displacement_gradient,
    volume_gradient,
)

SHAPE, GRID = (4, 5, 6), (3, 5, 4)
BYTES = 4


def plain_warp(volume, displacement):
    """Weigh every voxel for every position, the plainest way, so that JAX derives the derivatives."""
    grid, voxels = (
        jnp.stack(jnp.meshgrid(*map(jnp.arange, array.shape[:3]), indexing='ij'), axis=-1)
        for array in (displacement, volume)
    )
    distance = jnp.abs((grid + displacement)[..., None, :] - voxels.reshape(-1, 3))
    weight = jnp.prod(jnp.maximum(0.0, 1.0 - distance), axis=-1)
    return weight @ volume.reshape(-1, volume.shape[-1])


def random_arrays(channels, seed=0):
    rng = np.random.default_rng(seed)
    volume = rng.normal(size=(*SHAPE, channels)).astype(np.float32)
    # Some beyond the border, none on a voxel, where the derivative is a matter of definition.
    displacement = rng.uniform(-2.5, 2.5, (*GRID, 3)).astype(np.float32)
    cotangent = rng.normal(size=(*GRID, channels)).astype(np.float32)
    return volume, displacement, cotangent


@pytest.fixture(scope='module')
def derived():
    """What JAX derives, by the number of channels."""
    found = {}
    for channels in (1, 3, 6):
        volume, displacement, cotangent = random_arrays(channels)
        found[channels] = jax.jit(lambda v, u, g: jax.vjp(plain_warp, v, u)[1](g))(volume, displacement, cotangent)
    return found


@pytest.mark.parametrize('in_loop', [True, False])
@pytest.mark.parametrize('channels', [1, 3, 6])
def test_both_ways_agree_with_what_jax_derives(derived, channels, in_loop):
    volume, displacement, cotangent = random_arrays(channels)
    of_volume, of_displacement = derived[channels]
    found = _volume_gradient(jnp.zeros_like(volume), displacement, cotangent, in_loop=in_loop)
    np.testing.assert_allclose(found, of_volume, rtol=1e-5, atol=1e-5)
    found = _displacement_gradient(jnp.asarray(volume), displacement, cotangent, in_loop=in_loop)
    np.testing.assert_allclose(found, of_displacement, rtol=1e-5, atol=1e-5)


def test_the_derivative_is_added_to_the_start():
    volume, displacement, cotangent = random_arrays(2)
    nothing = volume_gradient(jnp.zeros_like(volume), displacement, cotangent)
    np.testing.assert_allclose(volume_gradient(volume, displacement, cotangent), volume + nothing, rtol=1e-5, atol=1e-6)


def test_batches_are_loops():
    volume, displacement, cotangent = (
        jnp.stack(both) for both in zip(random_arrays(2), random_arrays(2, seed=1), strict=True)
    )
    for gradient in (volume_gradient, displacement_gradient):
        found = jax.vmap(gradient)(volume, displacement, cotangent)
        for each in range(2):
            np.testing.assert_allclose(
                found[each], gradient(volume[each], displacement[each], cotangent[each]), rtol=1e-5, atol=1e-6
            )


def test_a_squaring_has_the_derivative_of_its_formula():
    velocity = np.random.default_rng(0).normal(size=(5, 6, 7, 3)).astype(np.float32)
    weight = np.random.default_rng(1).normal(size=velocity.shape).astype(np.float32)

    def by_formula(displacement):
        for _ in range(2):
            displacement = displacement + warp_linear(displacement, displacement)
        return displacement

    expected = jax.grad(lambda v: jnp.sum(weight * by_formula(v / 4)))(velocity)
    found = jax.grad(lambda v: jnp.sum(weight * integrate_velocity(v, steps=2)))(velocity)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_memory_is_that_of_a_few_volumes():
    """Not that of the eight neighbours, each with its share of the cotangent."""
    channels, size = 8, (16, 16, 16)

    def loss(volume, displacement):
        return jnp.sum(warp_linear(volume, displacement) ** 2)

    arguments = (jax.ShapeDtypeStruct((*size, count), jnp.float32) for count in (channels, 3))
    compiled = jax.jit(jax.grad(loss, argnums=(0, 1))).lower(*arguments).compile()
    volume = channels * np.prod(size) * BYTES
    assert compiled.memory_analysis().temp_size_in_bytes < 6 * volume


def test_the_places_and_weights_of_neighbours_by_hand():
    position = [jnp.asarray([value]) for value in (1.25, 0.0, 2.5)]
    near = [neighbour(position, corner, (3, 4, 5)) for corner in corners((3, 4, 5))]
    found = {int(one.place[0]): float(one.weight[0]) for one in near}
    assert found == {22: 0.375, 23: 0.375, 27: 0.0, 28: 0.0, 42: 0.125, 43: 0.125, 47: 0.0, 48: 0.0}
    at_first = near[0].gradient()
    assert [float(one[0]) for one in at_first] == [-0.5, -0.375, -0.75]


def test_an_axis_of_one_voxel_has_no_second_neighbour():
    assert corners((1, 4, 1)).tolist() == [[0, 0, 0], [0, 1, 0]]
