"""The device of a registration, and the runtime of its network there."""

import sys
from pathlib import Path

import jax

from autofuse_jax.choices import CPU, GPU
from autofuse_jax.deployment.runtime import RuntimeModel, has_runtime
from autofuse_jax.errors import UserError
from autofuse_jax.weights.pretrained import RegistrationModel, load_model


def use_device(name: str) -> None:
    """Choose what JAX computes on from now on, in this process.

    Args:
        name: 'cpu'; 'gpu', the first one; or 'auto', which leaves the choice to JAX: an accelerator if it sees one.

    Raises:
        UserError: There is no GPU that JAX can use.
    """
    if name == CPU:
        # Before JAX looks for devices this also keeps it from reserving the memory of a GPU.
        jax.config.update('jax_platforms', CPU)
        jax.config.update('jax_default_device', jax.devices(CPU)[0])
    elif name == GPU:
        try:
            jax.config.update('jax_default_device', jax.devices(GPU)[0])
        except RuntimeError as error:
            raise UserError(
                '--device=gpu, and JAX sees no GPU',
                fix='pip install "jax[cuda13]" on a machine with a GPU, or use --device=cpu',
            ) from error


def open_network(path: Path, device: str) -> RegistrationModel | RuntimeModel:
    """Load a network to run where a registration runs, and say what runs it.

    Args:
        path: npz in the released format.
        device: Device as in `use_device`.

    Returns:
        The network: in OpenVINO for 'cpu' where that is installed, in JAX otherwise.

    Raises:
        UserError: A file is missing or damaged.
    """
    network = load_model(path)
    model = RuntimeModel(network) if device == CPU and has_runtime() else network
    print(f'network: {model.description.method} in {model.runtime}', file=sys.stderr)
    return model
