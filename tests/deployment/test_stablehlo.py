"""A network as StableHLO is the same program, for platforms that need not be here."""

import jax
import jax.export
import numpy as np
import pytest

from autofuse_jax.deployment.prediction import named_prediction
from autofuse_jax.deployment.stablehlo import of_stablehlo, to_stablehlo
from autofuse_jax.errors import UserError
from autofuse_jax.methods.registry import make_method
from tests.quick import random_params

SIZE = (16, 16, 32)


@pytest.fixture(scope='module')
def network():
    method = make_method('voxelmorph_diff', {'base_channels': 2}, {})
    return method, random_params(jax.eval_shape(lambda key: method.init(key, SIZE), jax.random.key(0)))


@pytest.fixture(scope='module')
def program(network):
    return to_stablehlo(*network, SIZE)


def test_it_computes_the_same(network, program):
    images = [np.random.default_rng(seed).random((1, *SIZE, 1), dtype=np.float32) for seed in (0, 1)]
    found, wanted = of_stablehlo(program, 'model')(*images), jax.jit(named_prediction(*network))(*images)
    assert set(found) == set(wanted) == {'displacement', 'velocity'}
    for name, array in wanted.items():
        assert np.abs(array).max() > 0.01
        np.testing.assert_allclose(found[name], array, atol=1e-5)


def test_it_is_for_all_platforms_and_holds_its_parameters(network, program):
    exported = jax.export.deserialize(bytearray(program))
    assert exported.platforms == ('cpu', 'cuda', 'tpu')
    assert [entry.shape for entry in exported.in_avals] == [(1, *SIZE, 1)] * 2
    parameters = sum(leaf.nbytes for leaf in jax.tree.leaves(network[1]))
    assert parameters < len(program) < 2 * parameters + 2**20


def test_a_program_for_other_platforms_says_so(network):
    elsewhere = to_stablehlo(*network, SIZE, ('cuda', 'tpu'))
    with pytest.raises(UserError, match=r'is for cuda, tpu.*--platforms=cpu'):
        of_stablehlo(elsewhere, 'model')


@pytest.mark.parametrize('platforms', [('cpu', 'phone'), ()])
def test_unknown_platforms(network, platforms):
    with pytest.raises(UserError, match='platforms'):
        to_stablehlo(*network, SIZE, platforms)


def test_a_damaged_program(program):
    with pytest.raises(UserError, match='cannot be read as StableHLO'):
        of_stablehlo(program[: len(program) // 2], 'model')
