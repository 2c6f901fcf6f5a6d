"""The mesh of devices and how arrays are laid out on it."""

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from autofuse_jax.errors import UserError

# Mesh axis over which the pairs of a batch are spread.
DATA_AXIS = 'data'


def make_mesh(devices: int = 0) -> Mesh:
    """Make a one-axis mesh.

    Args:
        devices: How many devices to use; 0 (default) means all.

    Returns:
        A mesh with the axis `data`.

    Raises:
        UserError: More devices are asked for than there are.
    """
    available = jax.devices()
    if not 0 <= devices <= len(available):
        raise UserError(
            f'training.devices is {devices}',
            expected=f'0 (all) to {len(available)}, the number of {available[0].platform} devices here',
            fix='correct training.devices',
        )
    chosen = np.asarray(available[: devices or len(available)])
    # Auto axes: the compiler chooses how intermediate arrays are laid out.
    return Mesh(chosen, (DATA_AXIS,), axis_types=(AxisType.Auto,))


def replicated(mesh: Mesh) -> NamedSharding:
    """Return the layout of parameters, optimiser state and scalars: a whole copy on each device."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharded(mesh: Mesh) -> NamedSharding:
    """Return the layout of batches: the first axis spread over the devices."""
    return NamedSharding(mesh, PartitionSpec(DATA_AXIS))


def put_batch(batch: dict[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """Bring this process's share of a batch to its devices.

    Args:
        batch: Arrays with a first axis B; B times the number of processes must be divisible by the mesh size.
        mesh: The mesh.

    Returns:
        Global arrays, spread over the axis `data`.
    """
    layout = batch_sharded(mesh)
    return {name: jax.make_array_from_process_local_data(layout, array) for name, array in batch.items()}
