"""The branch that segments plane by plane: which planes it sees, and how its segmentation joins the single branch's."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autofuse_jax.errors import UserError
from autofuse_jax.models.autofuse import AutoFuse
from autofuse_jax.models.plane_branch import PlaneBranch, planes_of, segment_planes, volume_of
from tests.quick import quick_jit, quick_key, random_params

CLASSES = 3
MODEL = AutoFuse(base_channels=2, num_classes=CLASSES, large_kernel=False, fusion_channels=2, plane_channels=2)
BRANCH = PlaneBranch(2, CLASSES)


@pytest.fixture(scope='module')
def pair():
    return [jax.random.uniform(quick_key(seed), (1, 32, 32, 16, 1)) for seed in (1, 2)]


@pytest.fixture(scope='module')
def params(pair):
    return random_params(jax.eval_shape(MODEL.init, quick_key(), *pair)['params'])


def test_each_plane_comes_with_those_around_it():
    # Values that say where they lie: the volume in hundreds, the slice in ones.
    image = jnp.broadcast_to(100.0 * jnp.arange(2)[:, None, None, None] + jnp.arange(4.0), (2, 3, 5, 4))[..., None]
    planes = planes_of(image, offsets=(-2, 0, 1))
    assert planes.shape == (8, 3, 5, 3)
    of_first = np.array([[0, 0, 1], [0, 1, 2], [0, 2, 3], [1, 3, 3]])
    np.testing.assert_array_equal(planes[:, 0, 0], np.concatenate([of_first, 100 + of_first]))
    np.testing.assert_array_equal(volume_of(planes[..., 1:2], 2), image)


def test_a_plane_is_segmented_the_same_whatever_else_the_volume_holds(params):
    of_planes = quick_jit(lambda planes: BRANCH.apply({'params': params['plane_branch']}, planes))
    planes = jax.random.uniform(quick_key(3), (4, 32, 32, 5))
    together = of_planes(planes)
    assert together.shape == (4, 32, 32, CLASSES)
    np.testing.assert_allclose(together.sum(axis=-1), 1.0, atol=1e-6)
    assert np.ptp(together) > 0.1
    np.testing.assert_allclose(of_planes(planes[::-1])[::-1], together, atol=1e-5)


def test_planes_that_show_nothing_are_background():
    image = jnp.ones((1, 2, 2, 3, 1)).at[..., 1, :].set(0.0)
    even = segment_planes(lambda planes: jnp.full((*planes.shape[:3], CLASSES), 1 / CLASSES), image)
    np.testing.assert_allclose(even[..., 0, :], 1 / CLASSES)
    np.testing.assert_array_equal(even[..., 1, :], np.broadcast_to([1.0, 0.0, 0.0], (1, 2, 2, CLASSES)))


def test_the_segmentation_is_the_mean_of_both_branches_and_goes_on_into_the_fusion_branch(pair, params):
    def segmented(model, params):
        output = quick_jit(lambda params: model.apply({'params': params}, *pair))(params)
        return output.fixed_segmentation, output.velocity_mean

    both, velocity = segmented(MODEL, params)
    without = {name: params[name] for name in ('single_branch', 'fusion_branch')}
    single, other_velocity = segmented(dataclasses.replace(MODEL, plane_channels=0), without)
    apply = quick_jit(
        lambda image: segment_planes(lambda p: BRANCH.apply({'params': params['plane_branch']}, p), image)
    )
    planes = apply(pair[0])
    np.testing.assert_allclose(both, 0.5 * (single + planes), atol=1e-5)
    assert np.max(np.abs(single - planes)) > 0.05
    assert np.max(np.abs(velocity - other_velocity)) > 1e-3 * np.ptp(velocity)


def test_planes_are_not_segmented_without_classes():
    with pytest.raises(UserError, match='plane_channels is 4 and model.num_classes 0'):
        AutoFuse(plane_channels=4)
