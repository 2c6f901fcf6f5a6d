"""What a device can do at best, measured: multiplications in a large product and convolution, and copying."""

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from autofuse_jax.training.precision import compute_dtype, products_in

# Side of the matrices: on accelerators what takes milliseconds.
CPU_MATRIX, ACCELERATOR_MATRIX = 2048, 8192
# (B, H, W, channels) of a convolution with 3 x 3 taps, a layer of the networks at half resolution and larger.
IMAGES = (64, 64, 64, 64)
COPIED = 2**26
FLOAT_BYTES = 4
GIGA = 1e9
# Calls between two looks at the clock.
CPU_CALLS, ACCELERATOR_CALLS = 1, 10


def peaks(repeats: int, precision: str) -> dict[str, float]:
    """Measure the device.

    Args:
        repeats: Timed runs of each.
        precision: Of products, see `autofuse_jax.training.precision`.

    Returns:
        'matmul_gflops', 'conv2d_gflops' (operations a second, 1e9; a multiplication and an addition are two) and
        'copy_gbytes' (read and written, 1e9 a second), each from the fastest run.
    """
    on_cpu = jax.default_backend() == 'cpu'
    side, calls = (CPU_MATRIX, CPU_CALLS) if on_cpu else (ACCELERATOR_MATRIX, ACCELERATOR_CALLS)
    key, dtype = jax.random.key(0), compute_dtype(precision) or jnp.float32
    matrix = jax.random.normal(key, (side, side), dtype)
    images, kernel = (
        jax.random.normal(key, IMAGES, dtype),
        jax.random.normal(key, (3, 3, IMAGES[-1], IMAGES[-1]), dtype),
    )
    numbers = jax.random.normal(key, (COPIED,))
    product = jax.jit(lambda a: a @ a)
    convolve = jax.jit(
        lambda x, w: jax.lax.conv_general_dilated(x, w, (1, 1), 'SAME', dimension_numbers=('NHWC', 'HWIO', 'NHWC'))
    )
    copy = jax.jit(lambda x: x + 1)
    taps = 2 * kernel.size * images.size / images.shape[-1]
    with products_in(precision):
        return {
            'matmul_gflops': 2 * side**3 / _fastest(lambda: product(matrix), repeats, calls) / GIGA,
            'conv2d_gflops': taps / _fastest(lambda: convolve(images, kernel), repeats, calls) / GIGA,
            'copy_gbytes': 2 * FLOAT_BYTES * COPIED / _fastest(lambda: copy(numbers), repeats, calls) / GIGA,
        }


def _fastest(run: Callable[[], Any], repeats: int, calls: int) -> float:
    """Return the seconds of one call, of the fastest of several runs after one that is not counted."""
    seconds = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        jax.block_until_ready([run() for _ in range(calls)])
        seconds.append((time.perf_counter() - started) / calls)
    return min(seconds[1:])
