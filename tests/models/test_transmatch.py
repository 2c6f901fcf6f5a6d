"""TransMatch: its size part by part, cross-attention, one encoder for both images, the published window order."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autofuse_jax.errors import UserError
from autofuse_jax.models.legacy_grid import mixed_grid_displacement
from autofuse_jax.models.swin import SwinBlock
from autofuse_jax.models.transmatch import TransMatch, exchanged, unpartition_scrambled
from autofuse_jax.models.windows import Windows, partition
from tests.models.shapes import count, image_of, shapes_of
from tests.quick import quick_jit, quick_key, random_params

SMALL = {
    'embed_dim': 4,
    'depths': (1, 1, 1, 1),
    'num_heads': (1, 1, 2, 2),
    'cross_heads': 2,
    'window': (2, 3, 2),
    'drop_path': 0.5,
}
SHAPE = (32, 32, 16)


def volume_of(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).random(shape), jnp.float32)


# What of the official modules has a gradient.
@pytest.mark.parametrize(('window', 'parameters'), [((5, 6, 5), 70_793_235), ((4, 4, 2), 70_721_811)])
def test_number_of_parameters(window, parameters):
    assert count(shapes_of(TransMatch(window=window))) == parameters


def test_number_of_parameters_of_the_parts():
    assert {name: count(part) for name, part in shapes_of(TransMatch()).items()} == {
        'encoder': 25_549_728,
        'cross_attention_1': 230_424,
        'cross_attention_2': 896_088,
        'cross_attention_3': 3_554_520,
        'cross_attention_4': 14_179_800,
        'decoder_1': 19_906_560,
        'decoder_2': 4_976_640,
        'decoder_3': 1_244_160,
        'decoder_4': 248_832,
        'half_resolution': 2_592,
        'head': 3_891,
    }


def test_a_brain_that_is_no_multiple_of_32_is_registered_at_its_size():
    image = image_of((144, 192, 160))
    output, _ = jax.eval_shape(TransMatch().init_with_output, quick_key(), image, image)
    assert output.displacement.shape == (1, 144, 192, 160, 3) and output.warped.shape == image.shape
    assert output.velocity_mean is None


@pytest.fixture(scope='module')
def small():
    """Parameters of the small network, two pairs, and the compiled network."""
    params = random_params(shapes_of(TransMatch(**SMALL), SHAPE))
    fixed, moving = (volume_of(2, *SHAPE, 1, seed=seed) for seed in (1, 2))

    def apply(params, fixed, moving):
        return TransMatch(**SMALL).apply({'params': params}, fixed, moving)

    return params, (fixed, moving), quick_jit(apply)


def test_with_the_head_at_zero_the_map_is_the_identity(small):
    params, (fixed, moving), apply = small
    assert jnp.abs(apply(params, fixed, moving).displacement).max() > 0.1
    still = apply(params | {'head': jax.tree.map(jnp.zeros_like, params['head'])}, fixed, moving)
    assert not jnp.any(still.displacement)
    np.testing.assert_allclose(still.warped, moving, atol=1e-6)


def test_pairs_of_a_batch_do_not_see_each_other(small):
    params, (fixed, moving), apply = small
    before = apply(params, fixed, moving).displacement
    after = apply(params, fixed.at[1].set(fixed[0]), moving).displacement
    np.testing.assert_allclose(after[0], before[0], atol=1e-4)
    assert jnp.abs(after[1] - before[1]).max() > 1e-2


@pytest.mark.slow
@pytest.mark.parametrize('legacy', ['legacy_window_reverse', 'legacy_grid'])
def test_legacy_switches_change_the_field_and_no_parameter(small, legacy):
    params, (fixed, moving), apply = small
    network = TransMatch(**SMALL, **{legacy: True})
    assert shapes_of(network, SHAPE) == jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), params)
    found = quick_jit(lambda: network.apply({'params': params}, fixed, moving).displacement)()
    right = apply(params, fixed, moving).displacement
    assert jnp.abs(found - right).max() > 1e-2
    if legacy == 'legacy_grid':
        # Along the axes without padding.
        np.testing.assert_allclose(found[..., :2], mixed_grid_displacement(right)[..., :2], atol=1e-3)


@pytest.mark.slow
def test_branches_are_left_out_in_training_only(small):
    params, (fixed, moving), apply = small
    train = quick_jit(
        lambda key: TransMatch(**SMALL).apply({'params': params}, fixed, moving, rngs={'dropout': key}).displacement
    )
    one, other = train(jax.random.key(0)), train(jax.random.key(1))
    assert jnp.abs(one - other).max() > 1e-3 and jnp.abs(apply(params, fixed, moving).displacement - one).max() > 1e-3


def test_the_images_of_each_pair_are_exchanged():
    # Of two pairs: fixed, moving, fixed, moving.
    np.testing.assert_array_equal(exchanged(jnp.arange(4.0).reshape(4, 1, 1, 1, 1)).ravel(), [1, 0, 3, 2])


@pytest.fixture(scope='module')
def block():
    volume, other = volume_of(1, 2, 2, 2, 4, seed=1), volume_of(1, 2, 2, 2, 4, seed=2)
    module = SwinBlock(2, (2, 2, 2), qkv_bias=False)
    params = random_params(jax.eval_shape(module.init, quick_key(), volume)['params'])
    # Large enough for the queries to matter.
    params = jax.tree.map(lambda leaf: 5 * leaf, params)
    return params, volume, other, quick_jit(lambda *inputs: module.apply({'params': params}, *inputs))


def test_cross_attention_by_hand(block):
    params, volume, other, apply = block
    p = jax.tree.map(np.asarray, params)

    def norm(x, layer):
        centred = x - x.mean(axis=-1, keepdims=True)
        return (
            centred / np.sqrt(np.square(centred).mean(axis=-1, keepdims=True) + 1e-5) * layer['scale'] + layer['bias']
        )

    tokens, asking = (np.asarray(x).reshape(8, 4) for x in (volume, other))
    query = (norm(asking, p['norm_1']) @ p['attention']['qkv']['kernel'])[:, :4]
    _, key, value = np.split(norm(tokens, p['norm_1']) @ p['attention']['qkv']['kernel'], 3, axis=-1)
    places = np.stack(np.meshgrid(*[np.arange(2)] * 3, indexing='ij'), axis=-1).reshape(8, 3)
    rows = (places[:, None] - places[None] + 1) @ [9, 3, 1]
    mixed = np.zeros((8, 4))
    for head, part in enumerate((slice(0, 2), slice(2, 4))):
        logits = query[:, part] @ key[:, part].T / np.sqrt(2) + p['attention']['relative_bias'][rows, head]
        weights = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
        mixed[:, part] = weights @ value[:, part]
    tokens = tokens + mixed @ p['attention']['projection']['kernel'] + p['attention']['projection']['bias']
    hidden = norm(tokens, p['norm_2']) @ p['mlp']['linear_1']['kernel'] + p['mlp']['linear_1']['bias']
    hidden = np.asarray(jax.nn.gelu(hidden, approximate=False))
    wanted = tokens + hidden @ p['mlp']['linear_2']['kernel'] + p['mlp']['linear_2']['bias']
    np.testing.assert_allclose(np.asarray(apply(volume, other)).reshape(8, 4), wanted, rtol=1e-3, atol=1e-4)


def test_asking_oneself_is_self_attention(block):
    _, volume, other, apply = block
    np.testing.assert_allclose(apply(volume, volume), apply(volume), rtol=1e-5, atol=1e-6)
    assert jnp.abs(apply(volume, other) - apply(volume)).max() > 0.1


@pytest.mark.parametrize(('size', 'most'), [((40, 48, 40), 0.03), ((10, 12, 10), 0.05), ((5, 6, 5), 0.1)])
def test_the_published_order_returns_few_tokens_to_their_place(size, most):
    # Maps and window of a brain.
    tokens = jnp.arange(math.prod(size)).reshape(1, *size, 1)
    windows = Windows(size, (5, 6, 5), (0, 0, 0))
    back = unpartition_scrambled(partition(tokens, windows), windows)
    assert 0 < np.mean(np.asarray(back == tokens)) < most
    # None is lost.
    assert set(np.asarray(back).ravel().tolist()) == set(range(math.prod(size)))


def test_the_published_order_by_hand():
    # Two windows of 1 x 2 x 1 along the second axis, whose partition is the order of the volume. The published order
    # reads (B, nH, nL, wW, nW, wH, wL, C): the token's axis before the window's.
    windows = Windows((1, 4, 1), (1, 2, 1), (0, 0, 0))
    found = unpartition_scrambled(jnp.arange(4).reshape(2, 2, 1), windows)
    np.testing.assert_array_equal(found.ravel(), [0, 2, 1, 3])


def test_a_window_that_does_not_fit_is_named():
    network = TransMatch(**SMALL | {'window': (2, 9, 2)})
    params, image = shapes_of(network), image_of(SHAPE)
    with pytest.raises(UserError, match=r'\(2, 9, 2\), too large .*at most \(8, 8, 8\).*model.window=\(1, 1, 1\)'):
        jax.eval_shape(network.apply, {'params': params}, image, image)
    with pytest.raises(ValueError, match='multiples of 16'):
        shapes_of(network, (32, 24, 32))
