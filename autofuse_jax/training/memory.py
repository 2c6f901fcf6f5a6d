"""How much memory a training step will need, found out before anything is compiled, and exactly before it is run."""

from typing import Any

import jax
import numpy as np

from autofuse_jax.errors import UserError
from autofuse_jax.methods.base import Batch, Objective, split_params
from autofuse_jax.models.remat import ACTIVATIONS, ALL, NONE
from autofuse_jax.runtime import device_bytes
from autofuse_jax.training.state import TrainState

GIB = 2**30
# No network of this project needs so many bytes for each voxel of a batch; what is surely small is not traced twice.
MOST_BYTES_PER_VOXEL = 2**16
# TPUs keep arrays in tiles of 8 x 128 numbers and fill up those that hold fewer channels. Compiled for a TPU v5e, the
# step of AutoFuse at 128 x 128 x 32 takes so many times what its arrays hold.
TPU_FILLING = 2


def step_bytes(objectives: tuple[Objective, ...], state: TrainState, batch: Batch, devices: int = 1) -> int:
    """Estimate what a training step needs on each device, from shapes alone.

    `state + gradients + (batch + what the reverse pass needs of the forward pass) / devices`, of the objective that
    needs most. What the reverse pass needs follows from the network and from which blocks it recomputes. The compiler
    adds scratch space and computes some things again, so that its programs need somewhat more or less: on GPUs about
    this where the network recomputes what `kept_by_compiler` says. On CPU scratch space of convolutions can be nearly
    as much again, and what `remat` would compute again is kept: `check_compiled_fits` knows.

    Args:
        objectives: Objectives of a step, one after the other.
        state: Arrays or their shapes.
        batch: Arrays or their shapes; of all devices together.
        devices: Number of devices, which share batch and volumes.

    Returns:
        Bytes on one device.
    """
    largest = 0
    for objective in objectives:
        trained, frozen = split_params(state.params, objective.trains)

        def saved(trained: Any, frozen: Any, batch: Batch, objective: Objective = objective) -> Any:
            key = jax.random.key(0)
            return jax.vjp(lambda t: objective.loss({**frozen, **t}, batch, key)[0], trained)[1]

        residuals = bytes_of(jax.eval_shape(saved, trained, frozen, batch))
        largest = max(largest, bytes_of(trained) + residuals // devices)
    return bytes_of(state) + bytes_of(batch) // devices + largest


def kept_by_compiler(remat: str, platform: str) -> str:
    """Return as which option `remat` a compiler carries one out.

    That for GPUs joins what costs little with what reads it, in the reverse pass too: it keeps results of convolutions
    only, as `remat='activations'` says, whether asked to or not.

    Args:
        remat: Option of `models.remat.check_remat`.
        platform: Platform of the devices, in the words of JAX ('cpu', 'gpu', 'tpu').
    """
    names = remat.split(',')
    if platform != 'gpu' or ALL in names or ACTIVATIONS in names:
        return remat
    return ACTIVATIONS if remat == NONE else f'{remat},{ACTIVATIONS}'


def filling(platform: str) -> int:
    """Return how many times the bytes of its arrays a step takes on a platform."""
    return TPU_FILLING if platform == 'tpu' else 1


def bytes_of(tree: Any) -> int:
    """Return the bytes of all arrays of a structure."""
    return sum(int(np.prod(leaf.shape)) * np.dtype(leaf.dtype).itemsize for leaf in jax.tree.leaves(tree))


def check_step_fits(
    objectives: tuple[Objective, ...],
    state: TrainState,
    batch: Batch,
    *,
    devices: int = 1,
    platform: str = 'cpu',
    limit: int | None = None,
) -> int | None:
    """Refuse a training step that a device cannot hold, before minutes of compiling end in a crash.

    Args:
        objectives: Objectives as for `step_bytes`.
        state: State as for `step_bytes`.
        batch: Batch as for `step_bytes`.
        devices: Number as for `step_bytes`.
        platform: Platform of the devices, see `kept_by_compiler`; default 'cpu'.
        limit: Bytes of a device; default what it has.

    Returns:
        The estimate in bytes; None where the batch is so small that none was made.

    Raises:
        UserError: The estimate is larger than the limit.
    """
    limit = device_bytes() if limit is None else limit
    voxels = int(np.prod(batch['fixed'].shape[:4]))
    if voxels * MOST_BYTES_PER_VOXEL // devices < limit:
        return None
    demand = filling(platform) * step_bytes(objectives, state, batch, devices)
    if demand > limit:
        raise _too_much(demand, batch, devices, limit)
    return demand


def check_compiled_fits(
    compiled: jax.stages.Compiled, batch: Batch, *, devices: int = 1, limit: int | None = None
) -> None:
    """Refuse a compiled training step that a device cannot hold, before running it ends in a crash.

    Args:
        compiled: Step compiled for arrays that are on the devices already.
        batch: Batch as for `step_bytes`.
        devices: Number as for `step_bytes`.
        limit: Bytes of a device; default what it has.

    Raises:
        UserError: Arguments, results and scratch space, which the compiler knows exactly, are larger than the limit.
            Where a backend does not say, nothing is refused.
    """
    memory = compiled.memory_analysis()
    if memory is None:
        return
    demand = memory.argument_size_in_bytes + memory.temp_size_in_bytes
    # Results that are written over the arguments take nothing.
    demand += memory.output_size_in_bytes - memory.alias_size_in_bytes
    limit = device_bytes() if limit is None else limit
    if demand > limit:
        raise _too_much(demand, batch, devices, limit)


def _too_much(demand: int, batch: Batch, devices: int, limit: int) -> UserError:
    pairs, *size, _ = batch['fixed'].shape
    return UserError(
        f'a training step of {pairs} pairs of {" x ".join(map(str, size))} voxels needs about '
        f'{demand / GIB:.1f} GiB on each of {devices} devices, and one has {limit / GIB:.1f}',
        fix="set a smaller training.batch_size, model.remat='activations' or 'all' (recomputes instead of keeping; "
        "accelerators only), training.precision='bfloat16', a smaller model.base_channels or data.grid, or let "
        'several devices share a volume (training.depth_devices); to try all the same, set '
        'training.check_memory=False',
    )
