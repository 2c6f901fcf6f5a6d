"""Precision of the products in networks, and the devices that have it."""

import contextlib

import jax
import jax.numpy as jnp

from autofuse_jax.errors import UserError

DEFAULT, FLOAT32, BFLOAT16 = 'default', 'float32', 'bfloat16'
PRECISIONS = (DEFAULT, FLOAT32, BFLOAT16)
# NVIDIA's compute capability from which on bfloat16 is not emulated (Ampere).
BFLOAT16_CAPABILITY = 8.0


def compute_dtype(precision: str) -> jnp.dtype | None:
    """Return the type in which a network keeps its activations; None: that of its images.

    Args:
        precision: One of `PRECISIONS`.

            - 'default': float32, with factors of products rounded as the device likes it: to TF32 on GPUs since Ampere
              (10 bits, as PyTorch does in convolutions), to bfloat16 on TPUs, not at all on CPUs.
            - 'float32': float32 throughout.
            - 'bfloat16': activations of the network in bfloat16. Parameters, the optimiser, statistics of norms, the
              layers that predict a field, fields, warped images, segmentations and losses stay in float32.
    """
    return jnp.dtype(jnp.bfloat16) if precision == BFLOAT16 else None


def products_in(precision: str) -> contextlib.AbstractContextManager:
    """Return a context in which products are traced in a precision, see `compute_dtype`."""
    return jax.default_matmul_precision('float32') if precision == FLOAT32 else contextlib.nullcontext()


def check_precision(precision: str, device: jax.Device) -> None:
    """Refuse a precision that a device only emulates, which would be slower and worse than float32.

    Args:
        precision: One of `PRECISIONS`.
        device: Device on which networks run.

    Raises:
        UserError: The device does not compute in bfloat16.
    """
    if precision == BFLOAT16 and not has_bfloat16(device):
        raise UserError(
            f'training.precision is {BFLOAT16!r}, and {device.device_kind} ({device.platform}) does not compute in it',
            expected='a TPU, or a GPU of the Ampere generation or later',
            fix=f'set training.precision={DEFAULT!r}',
        )


def has_bfloat16(device: jax.Device) -> bool:
    """Tell whether a device computes in bfloat16 faster than in float32."""
    if device.platform == 'gpu':
        try:
            return float(getattr(device, 'compute_capability', 'unknown')) >= BFLOAT16_CAPABILITY
        except ValueError:
            # GPUs of other makers name their generation; those that JAX supports have bfloat16.
            return True
    return device.platform == 'tpu'
