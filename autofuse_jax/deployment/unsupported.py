"""The error of an operation that the runtime cannot hold."""

from autofuse_jax.errors import UserError


def unsupported(operation: str, detail: str = '') -> UserError:
    """Return the error for an operation without a counterpart in OpenVINO.

    Args:
        operation: Name of the primitive of JAX.
        detail: Form of it that is not supported, where others of its kind are.
    """
    return UserError(
        f'the network uses the operation {operation}{" " + detail if detail else ""}, which the conversion to OpenVINO '
        f'does not know',
        expected='a network of convolutions, matrix products, gathers, reductions and arithmetic',
        fix='export with --to=NAME.stablehlo, which holds every operation, or run the network in JAX',
    )


def first_line(error: Exception) -> str:
    """Return what an error of OpenVINO says, without where in its sources it arose."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if not line.startswith(('Exception from', 'Check '))]
    return (telling or lines or [type(error).__name__])[0]
