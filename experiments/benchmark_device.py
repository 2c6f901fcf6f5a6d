"""What a device can do at best, measured: multiplications in a large product and convolution, and copying."""

from typing import Any

import jax
import jax.numpy as jnp

from experiments.time_steps import measure

MATRIX = 2048
# (B, H, W, channels) of a convolution with 3 x 3 taps, a layer of the networks at half resolution and larger.
IMAGES = (64, 64, 64, 64)
COPIED = 2**26
FLOAT_BYTES = 4
GIGA = 1e9


def peaks(repeats: int) -> dict[str, float]:
    """Measure the device in float32.

    Args:
        repeats: Timed runs of each.

    Returns:
        'matmul_gflops', 'conv2d_gflops' (operations a second, 1e9; a multiplication and an addition are two) and
        'copy_gbytes' (read and written, 1e9 a second), each from the fastest run.
    """
    key = jax.random.key(0)
    matrix = jax.random.normal(key, (MATRIX, MATRIX))
    images, kernel = jax.random.normal(key, IMAGES), jax.random.normal(key, (3, 3, IMAGES[-1], IMAGES[-1]))
    numbers = jax.random.normal(key, (COPIED,))
    product = jax.jit(lambda a: a @ a)
    convolve = jax.jit(
        lambda x, w: jax.lax.conv_general_dilated(x, w, (1, 1), 'SAME', dimension_numbers=('NHWC', 'HWIO', 'NHWC'))
    )
    copy = jax.jit(lambda x: x + 1)

    def fastest(run: Any) -> float:
        return measure(run, repeats)['minimum']

    taps = 2 * kernel.size * images.size / images.shape[-1]
    return {
        'matmul_gflops': 2 * MATRIX**3 / fastest(lambda: product(matrix)) / GIGA,
        'conv2d_gflops': taps / fastest(lambda: convolve(images, kernel)) / GIGA,
        'copy_gbytes': 2 * FLOAT_BYTES * jnp.size(numbers) / fastest(lambda: copy(numbers)) / GIGA,
    }
