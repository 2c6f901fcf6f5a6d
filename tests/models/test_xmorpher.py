"""XMorpher: its size, how far its attention reaches and into which image, sizes that do not divide, its options."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from autofuse_jax.models.legacy_grid import mixed_grid_displacement
from autofuse_jax.models.xmorpher import XMorpher, pad_to_even
from autofuse_jax.models.xmorpher_blocks import CrossBlock, CrossWindowAttention
from tests.models.shapes import count, image_of, shapes_of
from tests.quick import quick_jit, quick_key, random_params

# Odd maps at both scales: 3 x 2 x 5 and 2 x 1 x 3.
SIZE = (12, 8, 20)
SMALL = XMorpher(embed_dim=4, depths=(1, 1), num_heads=(1, 2), drop_path=0.5)
WINDOW = (2, 2, 2)


def pair(seed=0, batch=2):
    return jnp.asarray(np.random.default_rng(seed).random((2, batch, *SIZE, 1)), jnp.float32)


@pytest.fixture(scope='module')
def params():
    return random_params(shapes_of(SMALL))


@pytest.fixture(scope='module')
def run():
    """Output of the small network and the finest maps of both streams."""

    def apply(params, fixed, moving):
        output, others = SMALL.apply(
            {'params': params},
            fixed,
            moving,
            capture_intermediates=lambda module, _: module.name == 'up_1',
            mutable=['intermediates'],
        )
        return output, others['intermediates']['up_1']['__call__'][0]

    return quick_jit(apply)


def test_number_of_parameters_by_part():
    shapes = shapes_of(XMorpher(), (16, 16, 16))
    assert count(shapes) == 14_798_595
    groups = {
        ('patch_embedding',): 3_120,
        ('down_1', 'merging_2'): 93_696,
        ('down_2', 'merging_3'): 371_712,
        ('down_3', 'merging_4'): 3_260_160,
        ('down_4',): 3_548_928,
        ('norm',): 768,
        ('up_4', 'expanding_3'): 4_139_328,
        ('up_3', 'expanding_2'): 2_816_928,
        ('up_2', 'expanding_1'): 260_688,
        ('up_1',): 56_544,
        ('projection_3',): 73_920,
        ('projection_2',): 18_528,
        ('projection_1',): 4_656,
        ('joined_norm',): 192,
        ('reverse_embedding',): 147_480,
        ('flow',): 1_947,
    }
    assert {names: sum(count(shapes[name]) for name in names) for names in groups} == groups
    assert {name for names in groups for name in names} == set(shapes)


@pytest.mark.parametrize('size', [(144, 192, 160), (4, 12, 20)])
def test_any_multiple_of_4_works(size):
    model = XMorpher()
    output = jax.eval_shape(model.apply, {'params': shapes_of(model)}, image_of(size), image_of(size))
    assert output.displacement.shape == (1, *size, 3) and output.warped.shape == (1, *size, 1)
    assert output.velocity_mean is None


def test_the_field_is_not_half_precision():
    image = image_of(SIZE, jnp.bfloat16)
    output = jax.eval_shape(SMALL.apply, {'params': shapes_of(SMALL)}, image, image)
    assert output.displacement.dtype == jnp.float32 and output.warped.dtype == jnp.bfloat16


def test_without_a_head_the_map_is_the_identity(params, run):
    fixed, moving = pair()
    output, _ = run(params | {'flow': jax.tree.map(jnp.zeros_like, params['flow'])}, fixed, moving)
    assert not np.any(output.displacement)
    np.testing.assert_array_equal(output.warped, moving)


def test_exchanging_the_images_exchanges_the_streams_but_not_the_field(params, run):
    fixed, moving = pair()
    output, streams = run(params, fixed, moving)
    exchanged_output, exchanged_streams = run(params, moving, fixed)
    assert streams.shape == (4, 3, 2, 5, 4)
    np.testing.assert_allclose(streams[0::2], exchanged_streams[1::2], atol=1e-5)
    np.testing.assert_allclose(streams[1::2], exchanged_streams[0::2], atol=1e-5)
    assert np.abs(streams[0::2] - streams[1::2]).max() > 0.1
    assert np.abs(output.displacement - exchanged_output.displacement).max() > 0.01


def test_a_sample_does_not_see_the_rest_of_its_batch(params, run):
    fixed, moving = pair()
    one, _ = run(params, fixed, moving)
    other, _ = run(params, fixed.at[0].set(0), moving.at[0].set(0))
    np.testing.assert_array_equal(one.displacement[1], other.displacement[1])
    assert np.any(one.displacement[0] != other.displacement[0])


@pytest.mark.parametrize('legacy', [False, True])
def test_a_token_reaches_all_27_windows_around_it_in_the_other_image_only(legacy):
    block = CrossBlock(2, WINDOW, legacy=legacy)
    streams = jnp.asarray(np.random.default_rng(0).normal(size=(2, 10, 10, 10, 4)), jnp.float32)
    params = random_params(jax.eval_shape(block.init, quick_key(), streams)['params'])
    changed = streams.at[1, 4, 5, 4].add(1.0)
    run = quick_jit(block.apply)
    of_fixed, of_moving = np.asarray(run({'params': params}, changed) != run({'params': params}, streams))
    windows = of_fixed.any(axis=-1).reshape(5, 2, 5, 2, 5, 2)
    # Every token of a query window sees the same, so either all or none of them change.
    assert np.array_equal(windows.any(axis=(1, 3, 5)), windows.all(axis=(1, 3, 5)))
    wanted = np.zeros((5, 5, 5), bool)
    wanted[1:4, 1:4, 1:4] = True
    # For this window the changed one is the neighbour at (+1, -1, +1).
    wanted[1, 3, 1] = not legacy
    np.testing.assert_array_equal(windows.any(axis=(1, 3, 5)), wanted)
    # Its own image sees the token in itself only.
    assert [tuple(place) for place in np.argwhere(of_moving.any(axis=-1))] == [(4, 5, 4)]


def linear_by_hand(tokens, layer):
    return tokens @ layer['kernel'] + layer['bias']


def attention_by_hand(volume, other, params, heads):
    """Cross attention in float64, windows of 2 or of the whole axis where it has one voxel."""
    size, channels = volume.shape[1:4], volume.shape[-1] // heads
    window = [min(length, 2) for length in size]
    inside = list(itertools.product(*map(range, window)))

    def token(source, place):
        within = all(0 <= p < length for p, length in zip(place, size, strict=True))
        return source[place] if within else np.zeros(source.shape[-1])

    result = np.zeros(volume.shape)
    corners = itertools.product(*(range(0, length, w) for length, w in zip(size, window, strict=True)))
    for sample, corner in itertools.product(range(len(volume)), list(corners)):
        neighbours = [
            token(other[sample], tuple(np.add(np.add(corner, t), np.multiply(offset, window))))
            for offset in itertools.product((-1, 0, 1), repeat=3)
            for t in inside
        ]
        key, value = np.split(linear_by_hand(np.stack(neighbours), params['key_value']), 2, axis=-1)
        assert len(key) == 27 * len(inside)
        for place in (tuple(np.add(corner, t)) for t in inside):
            if any(p >= length for p, length in zip(place, size, strict=True)):
                continue
            query = linear_by_hand(volume[sample][place], params['query'])
            mixed = np.zeros_like(query)
            for part in (slice(head * channels, (head + 1) * channels) for head in range(heads)):
                mixed[part] = special.softmax(key[:, part] @ query[part] / np.sqrt(channels)) @ value[:, part]
            result[sample][place] = linear_by_hand(mixed, params['projection'])
    return result


@pytest.mark.parametrize('size', [(3, 4, 5), (1, 2, 3)])
def test_attention_is_that_of_the_loop_over_windows(size):
    attention = CrossWindowAttention(2, WINDOW)
    volume, other = jnp.asarray(np.random.default_rng(0).normal(size=(2, 2, *size, 4)), jnp.float32)
    params = random_params(jax.eval_shape(attention.init, quick_key(), volume, other)['params'])
    found = quick_jit(attention.apply)({'params': params}, volume, other)
    wanted = attention_by_hand(*(jax.tree.map(np.float64, part) for part in (volume, other, params)), 2)
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_branches_are_dropped_only_where_there_is_a_random_stream(params, run):
    fixed, moving = pair(batch=1)

    def trained(params, key):
        return SMALL.apply({'params': params}, fixed, moving, rngs={'dropout': key}).displacement

    trained = quick_jit(trained)
    # A rate of a half in two of the blocks: some keys drop something.
    fields = [np.asarray(trained(params, quick_key(seed))) for seed in range(6)]
    assert len({field.tobytes() for field in fields}) > 1
    once, again = (run(params, fixed, moving)[0].displacement for _ in range(2))
    np.testing.assert_array_equal(once, again)


def test_recomputing_blocks_changes_no_name():
    names = jax.tree.structure(shapes_of(SMALL))
    assert jax.tree.structure(shapes_of(SMALL.clone(remat='all'))) == names


def test_odd_sizes_are_padded_at_the_far_end():
    padded = pad_to_even(jnp.ones((1, 3, 2, 5, 2)))
    assert padded.shape == (1, 4, 2, 6, 2)
    assert np.all(padded[:, :3, :, :5] == 1) and not padded[:, 3].any() and not padded[..., 5, :].any()


def test_legacy_sampling_stretches_about_the_middle():
    effective = mixed_grid_displacement(jnp.zeros((1, 5, 4, 2, 3)))
    np.testing.assert_allclose(effective[0, :, 0, 0, 0], [-0.5, -0.25, 0, 0.25, 0.5], atol=1e-6)
    np.testing.assert_allclose(effective[0, 1, :, 1, 1], [-0.5, -1 / 6, 1 / 6, 0.5], atol=1e-6)
    # A displacement of one voxel counts n / (n - 1) voxels.
    shifted = mixed_grid_displacement(jnp.ones((1, 5, 4, 2, 3)))
    np.testing.assert_allclose((shifted - effective)[0, 2, 2, 1], [5 / 4, 4 / 3, 2], atol=1e-6)


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r'\(16, 16, 18\), expected multiples of 4; pad them to \(16, 16, 20\)'):
        shapes_of(SMALL, (16, 16, 18))
