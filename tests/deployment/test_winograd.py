"""Winograd's algorithm in a graph: the same convolution, and only where it is made for."""

import jax.numpy as jnp
import numpy as np
import pytest

from autofuse_jax.models.conv3d import conv3d

pytest.importorskip('openvino')
from autofuse_jax.deployment import winograd  # noqa: E402
from autofuse_jax.deployment.graph import to_graph  # noqa: E402
from autofuse_jax.deployment.runtime import compiled  # noqa: E402


def graph_of(kernel, shape, stride=1):
    volume = jnp.zeros(shape, jnp.float32)
    return to_graph(lambda volume: {'result': conv3d(volume, kernel, stride=stride)}, {'volume': volume})


def kernels_in(graph):
    """The spatial sizes of all kernels that a graph convolves with."""
    operations = (one for one in graph.get_ops() if one.get_type_name() == 'Convolution')
    return [tuple(one.input(1).get_shape()[2:]) for one in operations]


def random_kernel(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize('depth', [2, 4, 7, 8, 10])
@pytest.mark.parametrize('batch', [1, 2])
def test_the_result_is_that_of_jax(monkeypatch, depth, batch):
    monkeypatch.setattr(winograd, 'MIN_CHANNEL_PAIRS', 1)
    monkeypatch.setattr(winograd, 'MIN_VOXELS', 1)
    kernel, shape = random_kernel(3, 3, 3, 3, 5), (batch, depth, 6, 5, 3)
    graph = graph_of(kernel, shape)
    assert len(kernels_in(graph)) > 1 and set(kernels_in(graph)) == {(1, 3, 3)}
    volume = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    expected = np.asarray(conv3d(volume, kernel))
    np.testing.assert_allclose(compiled(graph)(volume)['result'], expected, atol=1e-5 * np.abs(expected).max())


def test_large_volumes_with_many_channels_are_convolved_by_slices():
    kernel = random_kernel(3, 3, 3, 32, 32)
    assert set(kernels_in(graph_of(kernel, (1, 16, 32, 32, 32)))) == {(1, 3, 3)}


@pytest.mark.parametrize(
    ('kernel', 'size', 'stride'),
    [
        ((3, 3, 3, 32, 32), (4, 32, 32), 1),
        ((3, 3, 3, 8, 32), (16, 32, 32), 1),
        ((5, 1, 1, 32, 32), (16, 32, 32), 1),
        ((3, 3, 3, 32, 32), (32, 64, 64), 2),
        ((3, 3, 3, 32, 32), (1, 128, 128), 1),
    ],
)
def test_others_are_convolved_directly(kernel, size, stride):
    """Small ones, few channels, other kernels, strides, and a depth that has no tiles."""
    assert kernels_in(graph_of(random_kernel(*kernel), (1, *size, kernel[3]), stride)) == [kernel[:3]]
