"""Composition of displacements and the distance from the identity after going there and back."""

import jax
import jax.numpy as jnp
import numpy as np

from autofuse_jax.fields import compose, warp_linear

SHAPE = (6, 7, 8)
composed = jax.jit(compose)


def linear_field(matrix):
    """u(x) = A x."""
    return jnp.asarray(np.stack(np.indices(SHAPE), axis=-1) @ np.asarray(matrix, np.float32).T, jnp.float32)


def constant_field(vector):
    return jnp.broadcast_to(jnp.asarray(vector, jnp.float32), (*SHAPE, 3))


def random_field():
    return jnp.asarray(np.random.default_rng(0).normal(size=(*SHAPE, 3)), jnp.float32)


def test_the_identity_on_either_side():
    field, identity = random_field(), constant_field((0, 0, 0))
    np.testing.assert_array_equal(composed(field, identity), field)
    np.testing.assert_array_equal(composed(identity, field), field)


def test_constant_fields_add_inside():
    result = composed(constant_field((1, 0, 2)), constant_field((0.5, 1, -1)))
    # x + inner stays inside for the first 5 voxels along axis 0, 6 along axis 1 and from voxel 1 on along axis 2.
    np.testing.assert_allclose(result[:5, :6, 1:], np.broadcast_to((1.5, 1, 1), (5, 6, 7, 3)))
    # Outside its grid the outer field counts as zero.
    np.testing.assert_allclose(result[:, -1], np.broadcast_to((0.5, 1, -1), (6, 8, 3)))


def test_order_by_hand():
    # inner adds 1 along axis 0, outer doubles the distance along axis 0: u_outer = x_0.
    inner, outer = constant_field((1, 0, 0)), linear_field(np.diag([1, 0, 0]))
    # outer after inner at x_0 = 2: u = 1 + (2 + 1) = 4; inner after outer: u = 2 + 1 = 3.
    np.testing.assert_allclose(composed(outer, inner)[2, 0, 0], [4, 0, 0])
    np.testing.assert_allclose(composed(inner, outer)[2, 0, 0], [3, 0, 0])


def test_warping_with_the_composition_is_warping_twice():
    # Whole-voxel fields, so that interpolating once or twice is the same.
    rng = np.random.default_rng(1)
    outer, inner = (jnp.asarray(rng.integers(-1, 2, (*SHAPE, 3)), jnp.float32) for _ in range(2))
    volume = jnp.asarray(rng.normal(size=(*SHAPE, 1)), jnp.float32)
    once = warp_linear(volume, composed(outer, inner))
    twice = warp_linear(warp_linear(volume, outer), inner)
    # Where inner leads outside, the outer field counts as zero and the two ways differ.
    reached = np.stack(np.indices(SHAPE), axis=-1) + np.asarray(inner)
    inside = ((reached >= 0) & (reached < SHAPE)).all(axis=-1)
    assert inside.mean() > 0.5
    np.testing.assert_array_equal(np.asarray(once)[inside], np.asarray(twice)[inside])


def test_opposite_shifts_meet_at_the_start():
    both = composed(constant_field((1, 0, 0)), constant_field((-1, 0, 0)))
    np.testing.assert_array_equal(both[1:], 0)
    # From the first slice the inner shift leads outside, where the outer field is zero.
    np.testing.assert_array_equal(both[0], constant_field((-1, 0, 0))[0])
