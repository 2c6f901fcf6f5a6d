"""Every method learns one pair, two spheres of different radius: a little by default, to the end in the slow run."""

import math

import jax
import pytest

from autofuse_jax.methods.registry import METHODS, make_method
from experiments.comparison.overfit import GOAL, LARGEST_STEPS, overfit, run, sphere_batch
from experiments.comparison.tiny_methods import TINY, tiny_options
from tests.quick import quick_jit

SLOW = pytest.mark.slow
# Small enough for a compiler that is in a hurry.
SIZE, STEPS = 16, 30
GAIN = 0.1
# Its registration sees nothing but what its segmentation has learned before.
LONGER = {'pc_reg': 100}
# Compiles in little time; the others belong to the slow run.
QUICK = {'voxelmorph_diff'}


@pytest.mark.parametrize('name', [name if name in QUICK else pytest.param(name, marks=SLOW) for name in METHODS])
def test_thirty_steps_improve_the_overlap(name):
    method = make_method(name, *tiny_options(name, SIZE))
    steps = LONGER.get(name, STEPS)
    # Random numbers that compile several times faster than those of the default kind.
    with jax.default_prng_impl('unsafe_rbg'):
        key = jax.random.key(0)
        looks = list(overfit(method, steps, key, size=SIZE, look_every=steps, jit=quick_jit))
    assert looks[-1].steps == steps and math.isfinite(looks[-1].loss)
    assert looks[-1].dsc > looks[0].dsc + GAIN


@pytest.mark.slow
@pytest.mark.parametrize('name', METHODS)
def test_the_pair_is_learned(name):
    found = run(name)
    assert found['dsc'] > GOAL and found['steps'] <= LARGEST_STEPS


def test_every_method_has_a_small_version():
    assert set(TINY) == set(METHODS)


def test_the_pair_needs_registration():
    batch = sphere_batch(SIZE)
    sizes = [int((batch[f'{role}_labels'] > 0).sum()) for role in ('fixed', 'moving')]
    # (10 / 7)^3, and half a voxel of rounding.
    assert sizes[0] / sizes[1] == pytest.approx((10 / 7) ** 3, rel=0.2)
    assert all(0 <= float(batch[role].min()) and float(batch[role].max()) <= 1 for role in ('fixed', 'moving'))
