"""The Swin block against loops over windows, heads and tokens; how far a voxel reaches; options and names."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from autofuse_jax.models.swin import SwinBlock, SwinStage, WindowAttention
from autofuse_jax.models.windows import Windows
from tests.quick import quick_jit, quick_key, random_params

CHANNELS = 4
HEADS = 2


def shapes_of(module, volume, *others):
    return jax.eval_shape(lambda key, volume: module.init(key, volume, *others), quick_key(), volume)['params']


def random_volume(size, dtype=jnp.float32, batch=2):
    return jnp.asarray(np.random.default_rng(0).normal(size=(batch, *size, CHANNELS)), dtype)


def linear_by_hand(tokens, layer):
    return tokens @ layer['kernel'] + layer.get('bias', 0)


def norm_by_hand(volume, layer):
    centred = volume - volume.mean(axis=-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5) * layer['scale'] + layer['bias']


def places(size):
    return list(itertools.product(*(range(length) for length in size)))


def attention_by_hand(volume, params, table_window, window, shift, truncated=False):
    """Attention in float64; the window's size and shift are those that fit the volume."""
    size, channels = volume.shape[1:4], volume.shape[-1] // HEADS
    rows = {offset: row for row, offset in enumerate(places([2 * length - 1 for length in table_window]))}
    # Where the table takes the tokens to be.
    nominal = places(table_window)[: np.prod(window)] if truncated else places(window)
    inside = places(window)
    count = [-(-length // w) for length, w in zip(size, window, strict=True)]
    result = np.full(volume.shape, np.nan)
    for sample, corner in itertools.product(range(len(volume)), places(count)):
        # The place of each token before the roll, and its input, which is zero beyond the end of the volume.
        tokens = [tuple((np.multiply(corner, window) + t + shift) % np.multiply(count, window)) for t in inside]
        beyond = [any(p >= length for p, length in zip(token, size, strict=True)) for token in tokens]
        inputs = [
            np.zeros(volume.shape[-1]) if out else volume[sample][t] for t, out in zip(tokens, beyond, strict=True)
        ]
        query, key, value = np.split(linear_by_hand(np.stack(inputs), params['qkv']), 3, axis=-1)
        mixed = np.zeros_like(value)
        for head in range(HEADS):
            part = slice(head * channels, (head + 1) * channels)
            for p in range(len(tokens)):
                logits = []
                for q in range(len(tokens)):
                    row = rows[tuple(np.subtract(nominal[p], nominal[q]) + table_window - np.ones(3, int))]
                    # Tokens brought together by the roll are not as far from each other as before.
                    together = np.array_equal(np.subtract(tokens[p], tokens[q]), np.subtract(inside[p], inside[q]))
                    logit = query[p, part] @ key[q, part] / np.sqrt(channels) + params['relative_bias'][row, head]
                    logits.append(logit if together else logit - 100)
                mixed[p, part] = special.softmax(logits) @ value[:, part]
        for token, out, features in zip(tokens, beyond, linear_by_hand(mixed, params['projection']), strict=True):
            if not out:
                result[sample][token] = features
    return result


def gelu_by_hand(x):
    return x * (1 + special.erf(x / np.sqrt(2))) / 2


@pytest.mark.parametrize(
    ('size', 'window', 'shift', 'options'),
    [
        ((4, 2, 2), (2, 2, 1), (0, 0, 0), {}),
        ((4, 2, 2), (2, 2, 1), (0, 0, 0), {'qkv_bias': False}),
        # Padded to 4 x 6 x 2.
        ((3, 5, 2), (2, 3, 2), (1, 1, 0), {}),
    ],
)
def test_attention_by_hand(size, window, shift, options):
    module = WindowAttention(HEADS, window, **options)
    windows = Windows(size, window, shift)
    with jax.enable_x64(True):
        volume = random_volume(size, jnp.float64)
        params = random_params(shapes_of(module, volume, windows), dtype=jnp.float64)
        result = np.asarray(quick_jit(lambda volume: module.apply({'params': params}, volume, windows))(volume))
    params = jax.tree.map(np.asarray, params)
    wanted = attention_by_hand(np.asarray(volume), params, window, window, shift)
    np.testing.assert_allclose(result, wanted, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ('size', 'window', 'shift', 'options', 'fitting'),
    [
        # Padded to 4 x 6 x 2, and to one window along the last axis, where it is not shifted.
        ((3, 5, 2), (2, 2, 2), (1, 1, 1), {}, {'window': (2, 2, 2), 'shift': (1, 1, 0)}),
        # Cut to the volume along the last two axes; what is read of the table depends on the option.
        ((4, 2, 1), (3, 3, 3), (1, 1, 1), {}, {'window': (3, 2, 1), 'shift': (1, 0, 0)}),
        (
            (4, 2, 1),
            (3, 3, 3),
            (1, 1, 1),
            {'relative_bias': 'truncated'},
            {'window': (3, 2, 1), 'shift': (1, 0, 0), 'truncated': True},
        ),
        # Or padded to it, and shifted.
        ((4, 2, 1), (3, 3, 3), (1, 1, 1), {'shrink_window': False}, {'window': (3, 3, 3), 'shift': (1, 1, 1)}),
        ((4, 2, 2), (2, 2, 2), (0, 0, 0), {'mlp_ratio': 2}, {'window': (2, 2, 2), 'shift': (0, 0, 0)}),
    ],
    ids=['padded', 'cut', 'cut, truncated bias', 'not cut', 'narrow mlp'],
)
def test_block_by_hand(size, window, shift, options, fitting):
    block = SwinBlock(HEADS, window, shift, **options)
    with jax.enable_x64(True):
        volume = random_volume(size, jnp.float64)
        params = random_params(shapes_of(block, volume), dtype=jnp.float64)
        result = np.asarray(quick_jit(block.apply)({'params': params}, volume))
    params, volume = jax.tree.map(np.asarray, (params, volume))
    # Padding comes after the norm: padded tokens are zeros, not the norm's bias.
    wanted = volume + attention_by_hand(norm_by_hand(volume, params['norm_1']), params['attention'], window, **fitting)
    mlp = params['mlp']
    hidden = gelu_by_hand(linear_by_hand(norm_by_hand(wanted, params['norm_2']), mlp['linear_1']))
    wanted = wanted + linear_by_hand(hidden, mlp['linear_2'])
    np.testing.assert_allclose(result, wanted, rtol=1e-10, atol=1e-10)


def zeroed(layer):
    return jax.tree.map(jnp.zeros_like, layer)


def test_block_whose_branches_end_in_zeros_is_the_identity():
    block = SwinBlock(HEADS, (2, 2, 2), (1, 1, 1))
    volume = random_volume((3, 4, 2))
    params = random_params(shapes_of(block, volume))
    apply = quick_jit(lambda params: block.apply({'params': params}, volume))
    attention = params['attention'] | {'projection': zeroed(params['attention']['projection'])}
    mlp = params['mlp'] | {'linear_2': zeroed(params['mlp']['linear_2'])}
    np.testing.assert_array_equal(apply(params | {'attention': attention, 'mlp': mlp}), volume)
    # Either branch alone does something.
    assert jnp.abs(apply(params | {'attention': attention}) - volume).max() > 0.1
    assert jnp.abs(apply(params | {'mlp': mlp}) - volume).max() > 0.1


@pytest.fixture(scope='module')
def reached():
    """Depth of a stage and changed voxel -> the voxels that change, of 6 x 6 x 6 cut into windows of 2 x 2 x 2."""
    volume = random_volume((6, 6, 6), batch=1)

    def stage_of(depth):
        stage = SwinStage(depth, HEADS, (2, 2, 2))
        params = random_params(shapes_of(stage, volume))
        return quick_jit(lambda volume: stage.apply({'params': params}, volume))

    stages = {depth: stage_of(depth) for depth in (1, 2)}

    def changes(depth, voxel):
        # Not the same in all channels, which the norm would remove.
        changed = stages[depth](volume.at[0, *voxel, 0].add(1.0))
        return np.any(np.asarray(changed != stages[depth](volume))[0], axis=-1)

    return changes


def box(*ranges):
    inside = np.zeros((6, 6, 6), bool)
    inside[tuple(slice(*limits) for limits in ranges)] = True
    return inside


def test_without_shift_a_voxel_reaches_its_own_window(reached):
    np.testing.assert_array_equal(reached(1, (2, 5, 1)), box((2, 4), (4, 6), (0, 2)))


def test_shifted_windows_reach_further(reached):
    # Its window 2 .. 3 overlaps the shifted windows 1 .. 2 and 3 .. 4.
    np.testing.assert_array_equal(reached(2, (2, 2, 2)), box((1, 5), (1, 5), (1, 5)))


def test_shifted_windows_do_not_join_the_ends_of_the_volume(reached):
    # Windows 0 .. 1 and 4 .. 5; the roll puts voxels 0 and 5 into the same window, where they do not see each other.
    np.testing.assert_array_equal(reached(2, (0, 5, 0)), box((0, 3), (3, 6), (0, 3)))


@pytest.mark.parametrize('size', [(1, 1, 1), (7, 5, 3), (2, 9, 4), (4, 4, 4)])
@pytest.mark.parametrize('batch', [1, 3])
def test_any_size_and_batch(size, batch):
    volume = jax.ShapeDtypeStruct((batch, *size, CHANNELS), jnp.float32)
    for module in (SwinStage(2, HEADS, (4, 3, 4)), SwinBlock(HEADS, (4, 3, 4), (2, 1, 2), shrink_window=False)):
        params = shapes_of(module, volume)
        assert jax.eval_shape(module.apply, {'params': params}, volume).shape == volume.shape
        # The parameters do not depend on the size.
        assert params == shapes_of(module, jax.ShapeDtypeStruct((1, 8, 6, 8, CHANNELS), jnp.float32))


@pytest.mark.parametrize('dtype', [jnp.bfloat16, jnp.float32])
def test_type_is_kept(dtype):
    stage, volume = SwinStage(2, HEADS, (2, 2, 2)), jax.ShapeDtypeStruct((1, 3, 4, 5, CHANNELS), dtype)
    params = shapes_of(stage, volume)
    assert jax.eval_shape(stage.apply, {'params': params}, volume).dtype == dtype
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype(jnp.float32)}


def test_names_and_shapes_are_kept():
    """Saved parameters are found again by these names."""
    volume = jax.ShapeDtypeStruct((1, 3, 3, 3, 4), jnp.float32)
    norm = {'scale': (4,), 'bias': (4,)}
    block = {
        'norm_1': norm,
        'attention': {
            # 9 * 11 * 9 offsets within 5 x 6 x 5 tokens, although the volume is smaller.
            'relative_bias': (891, 2),
            'qkv': {'kernel': (4, 12), 'bias': (12,)},
            'projection': {'kernel': (4, 4), 'bias': (4,)},
        },
        'norm_2': norm,
        'mlp': {
            'linear_1': {'kernel': (4, 16), 'bias': (16,)},
            'linear_2': {'kernel': (16, 4), 'bias': (4,)},
        },
    }
    assert jax.tree.map(jnp.shape, shapes_of(SwinStage(2, 2, (5, 6, 5)), volume)) == {
        'block_1': block,
        'block_2': block,
    }
    cubic = shapes_of(SwinBlock(2, (5, 5, 5), qkv_bias=False), volume)['attention']
    assert cubic['relative_bias'].shape == (9**3, 2)
    assert set(cubic['qkv']) == {'kernel'} and set(cubic['projection']) == {'kernel', 'bias'}


def test_initial_values():
    # Linear layers start in U(+-1 / sqrt(inputs)), as in PyTorch.
    volume = jax.ShapeDtypeStruct((1, 2, 2, 2, 16), jnp.float32)
    params = quick_jit(lambda key: SwinBlock(4, (3, 3, 3)).init(key, jnp.zeros(volume.shape)))(quick_key())['params']
    attention, mlp = params['attention'], params['mlp']
    for layer, inputs in (
        (attention['qkv'], 16),
        (attention['projection'], 16),
        (mlp['linear_1'], 16),
        (mlp['linear_2'], 64),
    ):
        bound = inputs**-0.5
        for leaf in (layer['kernel'], layer['bias']):
            assert 0.7 * bound < jnp.abs(leaf).max() <= bound
        np.testing.assert_allclose(layer['kernel'].std(), bound / np.sqrt(3), rtol=0.1)
    # 125 * 4 draws; cutting off the ends of a normal distribution makes its deviation smaller.
    np.testing.assert_allclose(attention['relative_bias'].std(), 0.02, rtol=0.2)


@pytest.mark.parametrize(('channels', 'heads'), [(10, 4), (2, 3)])
def test_channels_that_heads_cannot_share(channels, heads):
    volume = jax.ShapeDtypeStruct((1, 2, 2, 2, channels), jnp.float32)
    with pytest.raises(ValueError, match=f'{channels} channels cannot be shared by {heads} heads'):
        shapes_of(SwinBlock(heads, (2, 2, 2)), volume)


def test_recomputing_blocks_changes_neither_value_nor_gradient():
    volume = random_volume((3, 2, 2))
    params = random_params(shapes_of(SwinStage(2, HEADS, (2, 2, 2)), volume))

    def loss(params, remat):
        stage = SwinStage(2, HEADS, (2, 2, 2), remat=remat)
        return jnp.sum(jnp.sin(stage.apply({'params': params}, volume)))

    jaxprs = [str(jax.make_jaxpr(loss, static_argnums=1)(params, remat)) for remat in (False, True)]
    assert 'remat' not in jaxprs[0] and 'remat' in jaxprs[1]
    compute = quick_jit(jax.value_and_grad(loss), static_argnums=1)
    wanted = compute(params, False)
    # Every parameter has an effect in the first place.
    assert all(np.any(leaf) for leaf in jax.tree.leaves(wanted[1]))
    jax.tree.map(
        lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5), compute(params, True), wanted
    )
