"""The derivative of kernels on CPU, block by block, against the one that JAX derives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autofuse_jax.models import conv3d as conv3d_module
from autofuse_jax.models import kernel_derivative as module
from autofuse_jax.models.conv3d import conv3d
from autofuse_jax.models.kernel_derivative import kernel_derivative, worth_blocks
from autofuse_jax.sharding import make_mesh, volumes_sharded

SIZES = [(3, 3, 3), (5, 1, 1), (1, 5, 1), (1, 1, 5), (1, 3, 5), (7, 3, 1)]
SHAPE = (2, 4, 7, 6)
CHANNELS, FEATURES = 3, 2
BYTES = 8


def derived_by_jax(volume, cotangent, size):
    def convolve(kernel):
        return jax.lax.conv_general_dilated(
            volume, kernel, (1, 1, 1), 'SAME', dimension_numbers=('NDHWC', 'DHWIO', 'NDHWC')
        )

    kernel = jax.ShapeDtypeStruct((*size, volume.shape[-1], cotangent.shape[-1]), volume.dtype)
    return jax.linear_transpose(convolve, kernel)(cotangent)[0]


def drawn(shape, dtype=np.float64):
    return np.random.default_rng(len(shape)).normal(size=shape).astype(dtype)


@pytest.mark.parametrize('rows', [1, 3, 7])
@pytest.mark.parametrize('size', SIZES)
def test_blocks_add_up_to_the_derivative(size, rows, monkeypatch):
    """Of one row, of three, which do not divide the seven of a slice, and of whole slices."""
    monkeypatch.setattr(module, 'BLOCK_BYTES', rows * SHAPE[3] * CHANNELS * size[1] * size[2] * BYTES)
    with jax.enable_x64(True):
        volume, cotangent = (jnp.asarray(drawn((*SHAPE, number))) for number in (CHANNELS, FEATURES))
        assert module._rows(volume[0], size) == rows
        found = kernel_derivative(volume, cotangent, size)
        assert found.shape == (*size, CHANNELS, FEATURES) and found.dtype == jnp.float64
        np.testing.assert_allclose(found, derived_by_jax(volume, cotangent, size), atol=1e-12)


def test_blocks_are_about_the_same(monkeypatch):
    """Nine rows, of which four fit: three blocks of three, not two of four and one of one."""
    monkeypatch.setattr(module, 'BLOCK_BYTES', 4 * 8 * 2 * 9 * 4)
    assert module._rows(jnp.zeros((5, 9, 8, 2)), (3, 3, 3)) == 3
    # A row is the least, however long it is.
    assert module._rows(jnp.zeros((5, 9, 800, 2)), (3, 3, 3)) == 1


@pytest.mark.parametrize(
    ('shape', 'kernel', 'worth'),
    [
        ((1, 128, 128, 32, 16), (3, 3, 3, 16, 16), True),
        ((1, 8, 8, 2, 256), (3, 3, 3, 256, 256), False),
        ((1, 32, 32, 16, 4), (3, 3, 3, 4, 256), True),
        ((8, 32, 32, 8, 4), (3, 3, 3, 4, 4), False),  # Each sample is small.
        ((8, 1, 128, 128, 16), (1, 3, 3, 16, 16), False),  # A 2-D convolution.
    ],
)
def test_small_volumes_and_those_with_many_channels_are_left_to_the_compiler(shape, kernel, worth, monkeypatch):
    volume, weights = jax.ShapeDtypeStruct(shape, jnp.float32), jax.ShapeDtypeStruct(kernel, jnp.float32)
    assert worth_blocks(volume, weights) is worth
    called = []

    def recorded(*arguments):
        called.append(arguments)
        return kernel_derivative(*arguments)

    monkeypatch.setattr(conv3d_module, 'kernel_derivative', recorded)
    jax.eval_shape(lambda x, w: jax.vjp(conv3d, x, w)[1](conv3d(x, w)), volume, weights)
    assert bool(called) is worth


def test_what_the_compiler_derives_for_small_volumes_is_right():
    shapes = (1, 2, 2, 2, 40), (3, 3, 3, 40, 3), (1, 2, 2, 2, 3)
    volume, kernel, weight = (drawn(shape, np.float32) for shape in shapes)
    assert not worth_blocks(volume, kernel)
    of_volume, of_kernel = jax.vjp(conv3d, jnp.asarray(volume), jnp.asarray(kernel))[1](jnp.asarray(weight))
    np.testing.assert_allclose(of_kernel, derived_by_jax(volume, weight, (3, 3, 3)), rtol=1e-5, atol=1e-5)
    assert of_volume.shape == volume.shape


def test_only_the_volume_is_kept():
    """Not the slices that Winograd's algorithm adds up, which are one and a half times as many."""
    volume, kernel = jnp.zeros((1, 32, 64, 64, 16)), jnp.zeros((3, 3, 3, 16, 16))
    kept = jax.tree.leaves(jax.vjp(conv3d, volume, kernel)[1])
    assert sum(array.nbytes for array in kept) == volume.nbytes + kernel.nbytes


def test_devices_that_share_a_batch_read_their_own_samples():
    mesh = make_mesh(4)
    volume, cotangent = jnp.ones((4, 3, 8, 8, 4)), jnp.ones((4, 3, 8, 8, 5))
    placed = volumes_sharded(mesh)
    compiled = (
        jax.jit(lambda x, y: kernel_derivative(x, y, (3, 3, 3)), in_shardings=(placed, placed))
        .lower(volume, cotangent)
        .compile()
    )
    text = compiled.as_text()
    assert 'all-gather' not in text and text.count(' all-reduce(') == 1
    found = compiled(jax.device_put(volume, placed), jax.device_put(cotangent, placed))
    np.testing.assert_allclose(found, derived_by_jax(volume, cotangent, (3, 3, 3)), rtol=1e-6)
