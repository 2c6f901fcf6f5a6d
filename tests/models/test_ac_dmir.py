"""AC-DMiR: its names, attention between tasks, two passes; what it shares is in test_joint_networks.py."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autofuse_jax.fields import warp_linear
from autofuse_jax.models import ac_dmir_blocks
from autofuse_jax.models.ac_dmir import ACDMiR
from autofuse_jax.models.ac_dmir_blocks import CrossNonLocal, Decoder, attend_in_chunks
from tests.models.joint_networks import AC_DMIR, at, replaced
from tests.models.shapes import shapes_of
from tests.quick import quick_jit, quick_key, random_params


def normal(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


@pytest.fixture(scope='module')
def register():
    return quick_jit(lambda params, *pair: AC_DMIR.small.apply({'params': params}, *pair, method='register'))


def test_names_are_kept():
    """Saved parameters are found again by these names."""
    shapes = shapes_of(ACDMiR())
    decoder = {'up_0', 'up_1', 'up_2', 'norm_0', 'norm_1', 'norm_2', 'unit_1', 'unit_2', 'output'}
    encoder = {f'{kind}_{level}' for kind in ('encoder', 'skip') for level in range(3)}
    assert set(shapes['final_decoder']) == set(shapes['registration']['decoder']) == decoder
    assert set(shapes['registration']) == encoder | {'attention', 'join', 'bottleneck', 'decoder'}
    blocks = {'block_0', 'block_1', 'block_2'}
    assert set(shapes['segmentation']) == blocks | {'first', 'widen_1', 'bottleneck', 'decoder'}
    assert set(shapes['cross_task_attention']) == {'query', 'key', 'value', 'output', 'norm'}


@pytest.mark.parametrize('chunk', [1, 4, 7, 50])
def test_attention_in_chunks_is_attention(monkeypatch, chunk):
    monkeypatch.setattr(ac_dmir_blocks, 'QUERY_CHUNK', chunk)
    query, key, value = normal(7, 3), normal(5, 3, seed=1), normal(5, 4, seed=2)

    def plain(query, key, value):
        return jax.nn.softmax(query @ key.T, axis=-1) @ value

    def weighted(function):
        return jax.value_and_grad(lambda *inputs: jnp.sum(normal(7, 4, seed=3) * function(*inputs)), (0, 1, 2))

    expected, found = (weighted(function)(query, key, value) for function in (plain, attend_in_chunks))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), found, expected)


def test_cross_attention_starts_as_its_first_input():
    a, b = normal(1, 2, 3, 4, 6), normal(1, 2, 3, 4, 6, seed=1)
    start = CrossNonLocal().init(quick_key(), a, b)
    np.testing.assert_array_equal(CrossNonLocal().apply(start, a, b), a)


def test_cross_attention_reads_where_the_first_input_resembles_the_second():
    a, b = normal(1, 2, 3, 4, 6), normal(1, 2, 3, 4, 6, seed=1)
    params = random_params(jax.eval_shape(CrossNonLocal().init, quick_key(), a, b)['params'])
    tokens = {
        name: (volume.reshape(24, 6) @ params[name]['kernel'][0, 0, 0] + params[name]['bias'])
        for name, volume in (('query', b), ('key', a), ('value', a))
    }
    y = jax.nn.softmax(tokens['query'] @ tokens['key'].T, axis=-1) @ tokens['value']
    gained = y @ params['output']['kernel'][0, 0, 0] + params['output']['bias']
    normed = (gained - gained.mean(axis=0)) / jnp.sqrt(gained.var(axis=0) + 1e-5)
    expected = a.reshape(24, 6) + params['norm']['scale'] * normed + params['norm']['bias']
    found = CrossNonLocal().apply({'params': params}, a, b).reshape(24, 6)
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.slow
def test_at_the_start_the_tasks_are_joined_by_their_product(register):
    """The final decoder then gets R_B * S_B, whatever the attention's other parameters are."""
    (fixed, moving), params = AC_DMIR.pair(), AC_DMIR.params
    norm = jax.tree.map(jnp.zeros_like, params['cross_task_attention']['norm'])
    start = params | {'cross_task_attention': params['cross_task_attention'] | {'norm': norm}}

    @quick_jit
    def by_hand(params):
        network = AC_DMIR.small.bind({'params': params})
        initial, r, skips = network.registration(fixed, moving)
        s = network.segmentation(jax.vmap(warp_linear)(moving, initial))[1]
        decoder = Decoder((2, 4, 4), 3)
        return decoder.apply({'params': params['final_decoder']}, r * s, skips)

    found = register(start, fixed, moving).displacement
    assert np.abs(found).max() > 0.1
    np.testing.assert_allclose(found, by_hand(start), atol=1e-4)
    # With another scale they are not.
    assert np.abs(found - register(params, fixed, moving).displacement).max() > 1e-3


@pytest.mark.slow
def test_the_second_pass_sees_the_segmentation_of_the_first(register):
    (fixed, moving), params = AC_DMIR.pair(), AC_DMIR.params
    passes = register(params, fixed, moving)
    np.testing.assert_allclose(
        passes.initial_warped[0], warp_linear(moving[0], passes.initial_displacement[0]), atol=1e-5
    )
    output = AC_DMIR.apply(params, fixed, moving)
    np.testing.assert_allclose(output.displacement, passes.displacement, atol=1e-3)
    np.testing.assert_allclose(output.warped[0], warp_linear(moving[0], output.displacement[0]), atol=1e-5)
    segment = quick_jit(lambda image: AC_DMIR.small.apply({'params': params}, image, method='segment'))
    for image, found in (
        (passes.initial_warped, passes.initial_segmentation),
        (fixed, output.fixed_segmentation),
        (moving, output.moving_segmentation),
    ):
        np.testing.assert_allclose(found, segment(image), atol=1e-4)
        np.testing.assert_allclose(found.sum(axis=-1), 1, rtol=1e-5)


def test_the_first_map_is_the_identity_without_its_head(register):
    (fixed, moving), path = AC_DMIR.pair(), AC_DMIR.heads[1]
    still = replaced(AC_DMIR.params, path, jax.tree.map(jnp.zeros_like, at(AC_DMIR.params, path)))
    passes = register(still, fixed, moving)
    np.testing.assert_array_equal(passes.initial_displacement, 0)
    np.testing.assert_allclose(passes.initial_warped, moving, atol=1e-6)
