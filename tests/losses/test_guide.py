"""Terms that bring classes and points of two images together."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autofuse_jax.losses.guide import CLASSES_AT_ONCE, class_guide_loss, point_guide_loss
from tests.quick import quick_jit

SHAPE = (6, 5, 4)
STILL = jnp.zeros((*SHAPE, 3))
loss = quick_jit(class_guide_loss)


def block(start, stop):
    """One class that fills the planes from start to stop."""
    maps = np.zeros((*SHAPE, 1), np.float32)
    maps[start:stop] = 1
    return jnp.asarray(maps)


def test_value_worked_by_hand():
    # Two planes each, one in common: 1 - 2 * 20 / (40 + 40).
    assert float(loss(block(1, 3), block(2, 4), STILL)) == pytest.approx(0.5)


def test_equal_soft_maps_cost_nothing():
    soft = jnp.asarray(np.random.default_rng(0).uniform(0.1, 0.9, (*SHAPE, 2)), jnp.float32)
    assert float(loss(soft, soft, STILL)) == pytest.approx(0.0, abs=1e-6)


def test_a_displacement_brings_them_together():
    back = STILL.at[..., 0].set(1.0)
    assert float(loss(block(1, 3), block(2, 4), back)) == pytest.approx(0.0, abs=1e-6)
    gradient = jax.grad(class_guide_loss, argnums=2)(block(1, 3), block(2, 4), STILL)
    # More displacement along the first axis means more overlap.
    assert float(gradient[..., 0].sum()) < 0


def test_classes_of_one_image_only_do_not_count():
    both = jnp.concatenate([block(1, 3), block(0, 1)], axis=-1)
    one = jnp.concatenate([block(2, 4), block(0, 0)], axis=-1)
    assert float(loss(both, one, STILL)) == pytest.approx(0.5)
    assert float(loss(both[..., 1:], one[..., 1:], STILL)) == 0.0


def test_voxels_without_weight_do_not_count():
    weights = jnp.ones(SHAPE).at[3].set(0.0)
    # The plane that only the moving map fills is gone: 1 - 2 * 20 / (40 + 20).
    assert float(loss(block(1, 3), block(2, 4), STILL, weights=weights)) == pytest.approx(1 / 3)


def test_many_classes_in_groups_are_as_one_by_one():
    rng = np.random.default_rng(1)
    fixed, moving = (jnp.asarray(rng.uniform(size=(*SHAPE, CLASSES_AT_ONCE + 3)), jnp.float32) for _ in range(2))
    field = jnp.asarray(rng.normal(size=(*SHAPE, 3)), jnp.float32)
    single = [float(loss(fixed[..., k : k + 1], moving[..., k : k + 1], field)) for k in range(fixed.shape[-1])]
    assert float(loss(fixed, moving, field)) == pytest.approx(np.mean(single), rel=1e-5)


def test_distance_of_points_worked_by_hand():
    points = jnp.asarray([[1.0, 1.0, 1.0], [2.0, 2.0, 2.0]])
    spacing = jnp.asarray([3.0, 1.0, 1.0])
    # One voxel of 3 mm apart along the first axis, and 4 voxels of 1 mm along the second: hyp(3, 4) = 5.
    there = points + jnp.asarray([[1.0, 4.0, 0.0], [0.0, 0.0, 0.0]])
    value = point_guide_loss(points, there, STILL, spacing=spacing)
    assert float(value) == pytest.approx((np.sqrt(26) - 1) / 2)
    moved = STILL.at[..., 0].set(1.0).at[..., 1].set(4.0)
    assert float(point_guide_loss(points[:1], there[:1], moved, spacing=spacing)) == pytest.approx(0.0, abs=1e-6)


def test_the_field_is_read_between_voxels_and_continued_outside():
    field = STILL.at[..., 0].set(jnp.arange(SHAPE[0], dtype=jnp.float32)[:, None, None])
    points = jnp.asarray([[1.25, 0.0, 0.0], [9.0, 9.0, 9.0]])
    there = points + jnp.asarray([[1.25, 0.0, 0.0], [5.0, 0.0, 0.0]])
    assert float(point_guide_loss(points, there, field, spacing=jnp.ones(3))) == pytest.approx(0.0, abs=1e-6)
