"""The mesh of devices and how arrays are laid out on it."""

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from autofuse_jax.errors import UserError

# Mesh axis over which the pairs of a batch are spread.
DATA_AXIS = 'data'
# Mesh axis over which the first axis of each volume is spread, for volumes that one device cannot hold.
DEPTH_AXIS = 'depth'


def make_mesh(devices: int = 0, depth: int = 1) -> Mesh:
    """Make a mesh with the axes `data` and `depth`.

    Args:
        devices: Number of devices to use; 0 (default) means all, those of other processes too.
        depth: Number of devices that share a volume; default 1. The others share the batch.

    Returns:
        A mesh of devices / depth times depth devices. Those that share a volume are neighbours, of one process.

    Raises:
        UserError: More devices are asked for than there are, or depth does not divide them or those of a process.
    """
    available = jax.devices()
    if not 0 <= devices <= len(available):
        raise UserError(
            f'training.devices is {devices}',
            expected=f'0 (all) to {len(available)}, the number of {available[0].platform} devices here',
            fix='correct training.devices',
        )
    count = devices or len(available)
    if depth < 1 or count % depth:
        raise UserError(
            f'training.depth_devices is {depth} with {count} devices',
            expected=f'a divisor of {count}',
            fix='correct training.depth_devices or training.devices',
        )
    if jax.process_count() > 1:
        local = jax.local_device_count()
        if count != len(available) or local % depth:
            raise UserError(
                f'{count} devices, of which {depth} share a volume, on {jax.process_count()} processes of {local}',
                expected='all devices, and as many of a volume as divide those of a process',
                fix='set training.devices=0 and correct training.depth_devices',
            )
    grid = np.asarray(available[:count]).reshape(-1, depth)
    # Auto axes: the compiler chooses how intermediate arrays are laid out.
    return Mesh(grid, (DATA_AXIS, DEPTH_AXIS), axis_types=(AxisType.Auto, AxisType.Auto))


def replicated(mesh: Mesh) -> NamedSharding:
    """Return the layout of parameters, optimiser state and scalars: a whole copy on each device."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharded(mesh: Mesh) -> NamedSharding:
    """Return the layout of numbers that belong to pairs, (B,): spread over the axis `data`."""
    return NamedSharding(mesh, PartitionSpec(DATA_AXIS))


def volumes_sharded(mesh: Mesh) -> NamedSharding:
    """Return the layout of images and label maps, (B, D, ...): B over the axis `data`, D over the axis `depth`."""
    return NamedSharding(mesh, PartitionSpec(DATA_AXIS, DEPTH_AXIS))


def single_sharded(mesh: Mesh) -> NamedSharding:
    """Return the layout of one pair at a time, (1, D, ...): D over the axis `depth`, the same along `data`."""
    return NamedSharding(mesh, PartitionSpec(None, DEPTH_AXIS))


def put_batch(batch: dict[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """Bring this process's share of a batch to its devices.

    Args:
        batch: Arrays with a first axis B, volumes (B, D, ...) or numbers (B,). B times the number of processes must be
            divisible by the mesh's axis `data`, D by its axis `depth`.
        mesh: The mesh.

    Returns:
        Global arrays, volumes in the layout of `volumes_sharded`, numbers in that of `batch_sharded`.
    """
    of_volumes, of_numbers = volumes_sharded(mesh), batch_sharded(mesh)
    return {
        name: jax.make_array_from_process_local_data(of_volumes if array.ndim > 1 else of_numbers, array)
        for name, array in batch.items()
    }
