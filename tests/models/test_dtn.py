"""The re-implementation of DTN: its size by part, which images its transformers relate, its velocity, its options."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autofuse_jax.fields import integrate_velocity, upsample_displacement
from autofuse_jax.models.dtn import DTN
from tests.models.shapes import count, image_of, shapes_of
from tests.quick import quick_jit, random_params

SIZE = (32, 16, 16)
# Random weights take away most of an image on its way to the tokens.
STRONG = 1000.0
SMALL = DTN(
    size=SIZE,
    widths=(2, 2, 2, 2, 4),
    token_width=4,
    depth=1,
    num_heads=2,
    decoder_widths=((4,), (4,), (2,), (2, 2)),
)


@pytest.fixture(scope='module')
def pair():
    return jnp.asarray(np.random.default_rng(0).random((2, 2, *SIZE, 1)), jnp.float32)


@pytest.fixture(scope='module')
def params():
    return random_params(shapes_of(SMALL, SIZE))


@pytest.fixture(scope='module')
def run():
    """Output of the small network and of its two transformers."""

    def apply(params, fixed, moving):
        output, others = SMALL.apply(
            {'params': params},
            fixed,
            moving,
            capture_intermediates=lambda module, _: str(module.name).endswith('_transformer'),
            mutable=['intermediates'],
        )
        return output, {name: value['__call__'][0] for name, value in others['intermediates'].items()}

    return quick_jit(apply)


@pytest.mark.parametrize(
    ('size', 'tokens', 'total'), [((144, 192, 160), 1080, 12_200_563), ((128, 128, 32), 128, 11_713_139)]
)
def test_number_of_parameters_by_part(size, tokens, total):
    shapes = shapes_of(DTN(size=size), size)
    assert count(shapes) == total
    assert {name: count(part) for name, part in shapes.items()} == {
        'separate_encoder': 1_093_120,
        'joint_encoder': 1_093_552,
        'separate_tokens': 33_024,
        'joint_tokens': 33_024,
        'separate_transformer': 3_159_552,
        'joint_transformer': 3_159_552,
        'separate_positions': tokens * 256,
        'joint_positions': tokens * 256,
        'image_types': 512,
        'fuse': 196_864,
        'decoder_1': 884_864,
        'decoder_2': 1_106_048,
        'decoder_3': 553_024,
        'decoder_4': 276_544,
        'decoder_5': 55_328,
        'flow': 2_595,
    }


def test_without_a_head_the_map_is_the_identity(params, run, pair):
    output, _ = run(params | {'flow': jax.tree.map(jnp.zeros_like, params['flow'])}, *pair)
    assert not np.any(output.displacement) and not np.any(output.velocity_mean)
    np.testing.assert_array_equal(output.warped, pair[1])


def test_the_map_is_the_integral_of_a_velocity_at_half_resolution(params, run, pair):
    output, _ = run(params, *pair)
    assert output.velocity_mean.shape == (2, 16, 8, 8, 3)
    assert np.abs(output.velocity_mean).max() > 0.01
    integral = jax.vmap(lambda v: upsample_displacement(integrate_velocity(v)))(output.velocity_mean)
    np.testing.assert_allclose(output.displacement, integral, atol=1e-5)


def test_both_images_have_the_same_weights_but_for_their_type(params, run, pair):
    pair = STRONG * pair
    _, features = run(params, *pair)
    _, exchanged = run(params, *pair[::-1])
    tokens, others = (found['separate_transformer'] for found in (features, exchanged))
    # Two tokens of the moving image, then two of the fixed one.
    assert tokens.shape == (2, 4, 4)
    assert np.abs(tokens - np.roll(others, 2, axis=1)).max() > 0.01
    # The concatenation knows which image is which by its channels.
    assert np.abs(features['joint_transformer'] - exchanged['joint_transformer']).max() > 0.01


def test_without_types_exchanging_the_images_exchanges_their_tokens(params, run, pair):
    untyped = params | {'image_types': jnp.zeros((2, 4))}
    pair = STRONG * pair
    tokens, others = (run(untyped, *images)[1]['separate_transformer'] for images in (pair, pair[::-1]))
    assert np.abs(tokens - np.roll(tokens, 2, axis=1)).max() > 0.01
    np.testing.assert_allclose(tokens, np.roll(others, 2, axis=1), atol=1e-4)


def test_tokens_of_each_image_see_those_of_the_other(params, run, pair):
    fixed, moving = STRONG * pair
    _, features = run(params, fixed, moving)
    _, changed = run(params, fixed.at[0].set(0), moving)
    difference = np.abs(features['separate_transformer'] - changed['separate_transformer']).max(axis=-1)
    assert np.all(difference[0] > 1e-5) and not np.any(difference[1])


def test_the_field_is_not_half_precision():
    image = image_of(SIZE, jnp.bfloat16)
    output = jax.eval_shape(SMALL.apply, {'params': shapes_of(SMALL, SIZE)}, image, image)
    assert output.displacement.dtype == jnp.float32 and output.velocity_mean.dtype == jnp.bfloat16


def test_images_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r'size \(16, 16, 32\), the network is made for size \(32, 16, 16\)'):
        shapes_of(SMALL, (16, 16, 32))
    with pytest.raises(ValueError, match=r'\(32, 16, 20\), expected multiples of 16'):
        shapes_of(SMALL, (32, 16, 20))
