"""Networks as StableHLO, the portable form of what JAX compiles: for accelerators, compilers and later versions."""

from collections.abc import Callable, Sequence

import jax
import jax.export
import numpy as np

from autofuse_jax.choices import PLATFORMS
from autofuse_jax.deployment.prediction import images_of_size, named_prediction
from autofuse_jax.errors import UserError
from autofuse_jax.methods.base import Method, Params

# JAX's name of a backend: the platform that it runs programs for.
PLATFORM_OF = {'gpu': 'cuda'}


def to_stablehlo(method: Method, params: Params, size: tuple[int, ...], platforms: Sequence[str] = PLATFORMS) -> bytes:
    """Lower the prediction of a method for platforms of which none needs to be here.

    Args:
        method: The method.
        params: Its parameters, which become constants of the program.
        size: (D, H, W) of the images.
        platforms: Some of 'cpu', 'cuda', 'tpu'.

    Returns:
        The program, from images (1, D, H, W, 1) to the results of `prediction.named_prediction`.

    Raises:
        UserError: A platform is unknown.
    """
    unknown = [name for name in platforms if name not in PLATFORMS]
    if unknown or not platforms:
        raise UserError(
            f'the platforms are {", ".join(platforms) or "none"}',
            expected=f'some of {", ".join(PLATFORMS)}',
            fix='correct --platforms',
        )
    function = jax.jit(named_prediction(method, params))
    exported = jax.export.export(function, platforms=list(platforms))(*images_of_size(size).values())
    return bytes(exported.serialize())


def of_stablehlo(program: bytes, name: str) -> Callable[[np.ndarray, np.ndarray], dict[str, np.ndarray]]:
    """Make a program ready to run on what JAX computes on.

    Args:
        program: Program from `to_stablehlo`.
        name: Name in messages.

    Returns:
        Function from images (1, D, H, W, 1) to results by name.

    Raises:
        UserError: It cannot be read, or was lowered for other platforms.
    """
    try:
        exported = jax.export.deserialize(bytearray(program))
    # What a damaged buffer leads to depends on where the damage is.
    except Exception as error:
        raise UserError(f'{name} cannot be read as StableHLO ({error})', fix='export it again') from error
    backend = jax.default_backend()
    if PLATFORM_OF.get(backend, backend) not in exported.platforms:
        raise UserError(
            f'{name} is for {", ".join(exported.platforms)}, and JAX computes on {backend}',
            fix=f'export it with --platforms={PLATFORM_OF.get(backend, backend)}',
        )
    call = jax.jit(exported.call)
    return lambda fixed, moving: jax.device_get(call(np.asarray(fixed, np.float32), np.asarray(moving, np.float32)))
