"""The 3-D convolution of every network, and the one place that knows how to make it fast on CPU."""

import functools
import math
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from autofuse_jax.models import winograd
from autofuse_jax.models.kernel_derivative import kernel_derivative, worth_blocks
from autofuse_jax.models.remat import named_convolved
from autofuse_jax.sharding import DEPTH_AXIS

# Up to this many input channels, all depth taps are gathered on the channel axis for one 2-D convolution on CPU.
# Measured on two AVX-512 cores: 3x faster than one convolution per tap for 1 and 2 channels, slower from 10 on.
MAX_CHANNELS_TO_GATHER_TAPS = 8
# From so many multiplications on, Winograd's algorithm along depth is worth its longer program. Measured on the same
# cores: 1.5 to 2.2 times faster for 16 to 64 channels.
MIN_PRODUCTS_FOR_WINOGRAD = 2**27


def conv3d(volume: jax.Array, kernel: jax.Array, *, stride: int = 1) -> jax.Array:
    """Convolve with zero padding of k // 2 voxels on both sides of each axis, which keeps the size at stride 1.

    `y(p) = sum_a x(s p + a - k // 2) w(a)` (cross-correlation, as in every deep learning library). Accelerators run one
    3-D convolution, and so do devices that share volumes. XLA has no fast 3-D convolution for CPU; there it is written
    as 2-D convolutions with the depth axis folded into the batch, and fewer of them by Winograd's algorithm
    (`winograd`) where volumes are large and in full precision: 3 to 8 times faster and equal up to rounding. With a
    stride this is the padding of the PyTorch networks; 'SAME' would put all of it at the far end of an even size.

    Args:
        volume: (B, D, H, W, I).
        kernel: (kD, kH, kW, I, O), odd sizes.
        stride: s, the same along all axes; default 1.

    Returns:
        (B, ceil(D / s), ceil(H / s), ceil(W / s), O).

    Raises:
        ValueError: The kernel has an even size or another number of input channels than the volume.
    """
    if volume.ndim != 5 or kernel.ndim != 5 or kernel.shape[3] != volume.shape[4]:
        raise ValueError(
            f'volume {volume.shape} and kernel {kernel.shape} do not fit (B, D, H, W, I), (kD, kH, kW, I, O).'
        )
    if any(size % 2 == 0 for size in kernel.shape[:3]):
        raise ValueError(f'kernel has size {kernel.shape[:3]}, expected odd sizes.')
    if kernel.shape[:3] == (1, 1, 1):
        return volume[:, ::stride, ::stride, ::stride] @ kernel[0, 0, 0]
    devices = jax.sharding.get_abstract_mesh().shape.get(DEPTH_AXIS, 1)
    if devices > 1:
        return _conv3d_shared(volume, kernel, stride=stride, devices=devices)
    return _same_size(volume, kernel) if stride == 1 else _convolved(volume, kernel, stride=stride)


# Traced once for each shape, however many layers have it.
@functools.partial(jax.jit, static_argnames='stride')
def _convolved(volume: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    by_slices, whole = (functools.partial(form, stride=stride) for form in (_conv3d_by_slices, _conv3d_whole))
    return jax.lax.platform_dependent(volume, kernel, cpu=by_slices, default=whole)


@jax.custom_vjp
def _same_size(volume: jax.Array, kernel: jax.Array) -> jax.Array:
    return _convolved(volume, kernel, stride=1)


def _forward(volume: jax.Array, kernel: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _same_size(volume, kernel), (volume, kernel)


def _reverse(residuals: tuple[jax.Array, jax.Array], cotangent: jax.Array) -> tuple[jax.Array, jax.Array]:
    return _derivatives(*residuals, cotangent)


_same_size.defvjp(_forward, _reverse)


@jax.jit
def _derivatives(volume: jax.Array, kernel: jax.Array, cotangent: jax.Array) -> tuple[jax.Array, jax.Array]:
    return jax.lax.platform_dependent(volume, kernel, cotangent, cpu=_derivatives_by_slices, default=_derivatives_whole)


def _derivatives_whole(volume: jax.Array, kernel: jax.Array, cotangent: jax.Array) -> tuple[jax.Array, jax.Array]:
    return jax.vjp(functools.partial(_conv3d_whole, stride=1), volume, kernel)[1](cotangent)


def _derivatives_by_slices(volume: jax.Array, kernel: jax.Array, cotangent: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Convolve the cotangent with the mirrored kernel, and derive the kernel block by block where that is worth it."""
    mirrored = kernel[::-1, ::-1, ::-1].swapaxes(3, 4)
    of_volume = _conv3d_by_slices(cotangent, mirrored, stride=1)
    if worth_blocks(volume, kernel):
        return of_volume, kernel_derivative(volume, cotangent, kernel.shape[:3])
    (of_kernel,) = jax.linear_transpose(lambda w: _conv3d_by_slices(volume, w, stride=1), kernel)(cotangent)
    return of_volume, of_kernel


def _conv3d_shared(volume: jax.Array, kernel: jax.Array, *, stride: int, devices: int) -> jax.Array:
    """Convolve volumes that several devices share along their depth.

    The convolution is left whole. The compiler then lets neighbouring devices exchange the slices at their border;
    of a convolution that is written slice by slice it would gather the volume on every device.

    Volumes whose depth the devices cannot divide equally are copied to each of them. They are small, and divided
    unequally, jax 0.10 silently loses the derivative of their kernels.
    """
    depths = volume.shape[1], -(-volume.shape[1] // stride)
    if any(depth % devices for depth in depths):
        free = PartitionSpec.UNCONSTRAINED
        copied = PartitionSpec(free, None, free, free, free)
        volume = jax.lax.with_sharding_constraint(volume, copied)
        return jax.lax.with_sharding_constraint(_conv3d_whole(volume, kernel, stride=stride), copied)
    return _conv3d_whole(volume, kernel, stride=stride)


def _conv3d_whole(volume: jax.Array, kernel: jax.Array, *, stride: int) -> jax.Array:
    padding = [(size // 2, size // 2) for size in kernel.shape[:3]]
    return jax.lax.conv_general_dilated(
        volume, kernel, (stride,) * 3, padding, dimension_numbers=('NDHWC', 'DHWIO', 'NDHWC')
    )


def _conv3d_by_slices(volume: jax.Array, kernel: jax.Array, *, stride: int) -> jax.Array:
    batch, depth, height, width, channels = volume.shape
    taps = kernel.shape[0]
    if kernel.shape[1:3] == (1, 1) and stride == 1:
        flat = _conv2d(volume.reshape(batch, depth, height * width, channels), kernel[:, 0], 1)
        return flat.reshape(batch, depth, height, width, -1)
    if taps == 1:
        return _conv2d_of_slices(volume[:, ::stride], kernel[0], stride)
    padded = jnp.pad(volume, ((0, 0), (taps // 2, taps // 2), (0, 0), (0, 0), (0, 0)))
    shifted = [padded[:, tap : tap + depth : stride] for tap in range(taps)]
    if channels <= MAX_CHANNELS_TO_GATHER_TAPS:
        return _conv2d_of_slices(jnp.concatenate(shifted, axis=-1), jnp.concatenate(list(kernel), axis=2), stride)
    algorithm = winograd.fastest(depth)
    if taps == winograd.TAPS and stride == 1 and algorithm and _is_large(volume, kernel):
        return winograd.filter_depth(volume, kernel, functools.partial(_conv2d_of_slices, stride=1), algorithm)
    return jnp.asarray(sum(_conv2d_of_slices(slab, kernel[tap], stride) for tap, slab in enumerate(shifted)))


def _is_large(volume: jax.Array, kernel: jax.Array) -> bool:
    exact = volume.dtype in (jnp.float32, jnp.float64)
    return exact and math.prod(volume.shape[:4]) * math.prod(kernel.shape) >= MIN_PRODUCTS_FOR_WINOGRAD


def _conv2d_of_slices(volume: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    batch, depth, height, width, channels = volume.shape
    flat = _conv2d(volume.reshape(batch * depth, height, width, channels), kernel, stride)
    return flat.reshape(batch, depth, *flat.shape[1:])


def _conv2d(images: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    padding = [(size // 2, size // 2) for size in kernel.shape[:2]]
    return jax.lax.conv_general_dilated(
        images, kernel, (stride, stride), padding, dimension_numbers=('NHWC', 'HWIO', 'NHWC')
    )


Initializer = Callable[..., jax.Array]


def uniform_of_bound(bound: float) -> Initializer:
    """Return an initialiser that draws from U(-bound, bound).

    Args:
        bound: b, in the parameter's unit.

    Returns:
        (key, shape, dtype) -> array.
    """

    def init(key: jax.Array, shape: tuple[int, ...], dtype: jnp.dtype = jnp.float32) -> jax.Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


def uniform_fan_in(key: jax.Array, shape: tuple[int, ...], dtype: jnp.dtype = jnp.float32) -> jax.Array:
    """Draw a kernel from U(-b, b), `b = 1 / sqrt(fan_in)`: PyTorch's default, with which the paper's networks start.

    Args:
        key: Random key.
        shape: (..., I, O); the fan-in is the product of all axes but the last.
        dtype: Type of the result.

    Returns:
        Array of that shape.
    """
    return uniform_of_bound(_bound(shape))(key, shape, dtype)


def _bound(kernel_shape: tuple[int, ...]) -> float:
    return math.prod(kernel_shape[:-1]) ** -0.5


class Conv3d(nn.Module):
    """A 3-D convolution with zero padding of k // 2 on both sides.

    Attributes:
        features: Number of output channels O.
        kernel_size: (kD, kH, kW), odd; default 3 x 3 x 3.
        kernel_init: Initialiser of the kernel; default U(+-1 / sqrt(fan_in)).
        bias_init: Initialiser of the bias; None means U(+-1 / sqrt(fan_in)) of the kernel.
        stride: Stride of all axes; default 1, which keeps the size.
        use_bias: Whether there is a bias; default True.
    """

    features: int
    kernel_size: tuple[int, int, int] = (3, 3, 3)
    kernel_init: Initializer = uniform_fan_in
    bias_init: Initializer | None = None
    stride: int = 1
    use_bias: bool = True

    @nn.compact
    def __call__(self, volume: jax.Array) -> jax.Array:
        """Convolve (B, D, H, W, I) to (B, ceil(D / stride), .., features)."""
        kernel_shape = (*self.kernel_size, volume.shape[-1], self.features)
        kernel = self.param('kernel', self.kernel_init, kernel_shape)
        convolved = conv3d(volume, kernel.astype(volume.dtype), stride=self.stride)
        if not self.use_bias:
            return named_convolved(convolved)
        bias = self.param('bias', self.bias_init or uniform_of_bound(_bound(kernel_shape)), (self.features,))
        return named_convolved(convolved + bias.astype(volume.dtype))
