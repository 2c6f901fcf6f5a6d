"""What holds of every network that registers and segments: size, outputs, start near the identity, what trains what."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.models.joint_networks import CLASSES, NETWORKS, at, replaced
from tests.models.shapes import count, image_of, shapes_of
from tests.models.trained_parts import trained_parts
from tests.quick import quick_jit, quick_key


@pytest.fixture(params=NETWORKS)
def network(request):
    return NETWORKS[request.param]


@pytest.mark.parametrize(
    ('name', 'options', 'parts'),
    [(name, *row) for name, network in NETWORKS.items() for row in network.counts],
)
def test_number_of_parameters(name, options, parts):
    shapes = shapes_of(type(NETWORKS[name].small)(**options))
    assert {part: count(tree) for part, tree in shapes.items()} == parts


def test_outputs(network):
    fixed, moving = network.pair()
    output, again = network.apply(network.params, fixed, moving), network.apply(network.params, fixed, moving)
    jax.tree.map(np.testing.assert_array_equal, output, again)
    assert output.displacement.shape == (1, *network.shape, 3) and np.abs(output.displacement).max() > 0.1
    for segmentation in (output.fixed_segmentation, output.moving_segmentation):
        assert segmentation.shape == (1, *network.shape, CLASSES)
        assert 0 <= segmentation.min() and segmentation.max() <= 1


def test_segmentations_are_of_each_image_alone_and_the_map_is_of_their_order(network):
    fixed, moving = network.pair()
    output, exchanged = network.apply(network.params, fixed, moving), network.apply(network.params, moving, fixed)
    np.testing.assert_allclose(output.fixed_segmentation, exchanged.moving_segmentation, atol=1e-4)
    np.testing.assert_allclose(output.moving_segmentation, exchanged.fixed_segmentation, atol=1e-4)
    assert np.abs(output.fixed_segmentation - output.moving_segmentation).max() > 1e-3
    assert np.abs(output.displacement - exchanged.displacement).max() > 1e-2


def test_zero_heads_are_the_identity(network):
    params = network.params
    for path in network.heads:
        params = replaced(params, path, jax.tree.map(jnp.zeros_like, at(params, path)))
    fixed, moving = network.pair()
    output = network.apply(params, fixed, moving)
    np.testing.assert_array_equal(output.displacement, 0)
    np.testing.assert_allclose(output.warped, moving, atol=1e-6)


def test_the_map_starts_near_the_identity(network):
    image = image_of(network.shape)

    def start():
        params = network.small.lazy_init(quick_key(), image, image)['params']
        return [at(params, path) for path in network.heads]

    for head in quick_jit(start)():
        np.testing.assert_array_equal(head['bias'], 0)
        assert 0 < np.abs(head['kernel']).max() < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize('name', [name for name, network in NETWORKS.items() if network.trains])
def test_what_each_output_trains(name):
    network = NETWORKS[name]
    assert trained_parts(network.small, network.params, *network.pair(), tuple(network.trains)) == network.trains


def test_sizes_must_be_multiples(network):
    fitting = {16: (32, 32, 16), 8: (32, 24, 16)}[network.multiple]
    with pytest.raises(ValueError, match=re.escape(f'multiples of {network.multiple}; pad them to {fitting}')):
        shapes_of(network.small, (32, 20, 16))
