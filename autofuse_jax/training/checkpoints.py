"""Saving and restoring training, the only file that imports Orbax.

A run has two kinds of checkpoints under its work folder: `checkpoints/latest/<step>`, from which training continues,
and `checkpoints/best/<step>`, the parameters with the highest validation score. One of each is kept, and of the best
also the one that belongs to the latest, until that has caught up; a new one is complete on disk before an old one goes.
Whoever reads a run changes nothing in its folder, and reads again where a checkpoint was replaced meanwhile.
"""

import dataclasses
import os
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from orbax.checkpoint import v1 as ocp

from autofuse_jax.errors import UserError
from autofuse_jax.training.checkpoint_folders import (
    BEST,
    LATEST,
    folder_of,
    latest_step,
    remove_checkpoint,
    remove_unfinished,
    steps_in,
)
from autofuse_jax.training.checksums import check_arrays, leaf_names, opened, sealed
from autofuse_jax.training.distributed import is_first
from autofuse_jax.training.state import TrainState
from autofuse_jax.training.storage_words import cause_of, first_line, quiet_storage

PARAMS = 'params'
OPTIMIZER = 'optimizer'
RANDOM = 'random'
AVERAGE = 'average'

SHOWN_DIFFERENCES = 8
# What Orbax and the storage below it raise for damaged files: they look into them without checking their types.
DAMAGE_ERRORS = (ValueError, RuntimeError, OSError, LookupError, TypeError, AttributeError, EOFError)


def save(workdir: str | os.PathLike, state: TrainState, record: dict[str, Any]) -> None:
    """Save everything that training needs to continue exactly.

    Args:
        workdir: The run's folder.
        state: State after some step; its step is the checkpoint's number.
        record: JSON-compatible: position in the data, best score so far, config and whatever else belongs to the step.

    Raises:
        OSError: The folder cannot be written or the disk is full; the checkpoint before is then untouched.
    """
    arrays = {PARAMS: state.params, OPTIMIZER: state.optimizer, RANDOM: {'key': state.key}} | _average(state)
    _save(workdir, LATEST, int(state.step), arrays, record)


def save_best(workdir: str | os.PathLike, state: TrainState, record: dict[str, Any]) -> None:
    """Save the parameters of the best state so far.

    Args:
        workdir: The run's folder.
        state: The state that scored best.
        record: JSON-compatible: score, config.

    Raises:
        OSError: The folder cannot be written or the disk is full; the checkpoint before is then untouched.
    """
    _save(workdir, BEST, int(state.step), {PARAMS: state.evaluated}, record)
    if is_first():
        # Until the latest checkpoint has caught up, training may have to go back to it and to the best of its time.
        latest = latest_step(workdir) or 0
        steps = sorted(steps_in(workdir, BEST))
        kept = {steps[-1], max((step for step in steps if step <= latest), default=steps[-1])}
        for step in set(steps) - kept:
            remove_checkpoint(folder_of(workdir, BEST) / str(step))


def _average(state: TrainState) -> dict[str, Any]:
    return {} if state.average is None else {AVERAGE: state.average}


def _save(workdir: str | os.PathLike, kind: str, step: int, arrays: dict[str, Any], record: dict[str, Any]) -> None:
    policies = ocp.training.preservation_policies
    policy = policies.LatestN(1) if kind == LATEST else policies.PreserveAll()
    folder = folder_of(workdir, kind)
    try:
        with quiet_storage(), ocp.training.Checkpointer(folder, preservation_policy=policy) as checkpointer:
            saved = checkpointer.save_checkpointables(
                step, arrays, custom_metadata=sealed(record, arrays), overwrite=True
            )
    except (ValueError, RuntimeError) as error:
        if is_first():
            # On a full disk they take the space that is needed next.
            remove_unfinished(folder)
        # The storage layer below Orbax reports a full disk or a read-only folder as one of these.
        raise OSError(f'the checkpoint of step {step} could not be written: {cause_of(error)}') from error
    if not saved or latest_step(workdir, kind) != step:
        # Orbax leaves a step out, without a word, that is not beyond all others.
        raise OSError(f'the checkpoint of step {step} was not written to {folder}, which holds that of a later step')


def restore(
    workdir: str | os.PathLike, structure: TrainState, layout: jax.sharding.Sharding
) -> tuple[TrainState, dict[str, Any]]:
    """Restore the latest training state.

    Args:
        workdir: The run's folder.
        structure: Shapes and types of the state, from `jax.eval_shape`.
        layout: Placement of the arrays on the devices.

    Returns:
        The state and the record that was saved with it.

    Raises:
        UserError: There is no checkpoint, it is damaged, or it belongs to another architecture or optimiser.
    """
    structures = {PARAMS: structure.params, OPTIMIZER: structure.optimizer, RANDOM: {'key': structure.key}}
    structures |= _average(structure)
    step = latest_step(workdir)
    if AVERAGE in structures and not jax.tree.leaves(_contents(workdir, LATEST, step).arrays.get(AVERAGE)):
        raise UserError(
            f'the checkpoint {folder_of(workdir, LATEST) / str(step)} holds no average of the parameters',
            expected='one, because optimizer.average_decay is not 0',
            fix='set optimizer.average_decay to 0, as when the run was started, or use another --workdir',
        )
    arrays, record = _load(workdir, LATEST, step, structures, layout)
    state = dataclasses.replace(
        structure,
        step=jax.device_put(np.int32(step), layout),
        params=arrays[PARAMS],
        optimizer=arrays[OPTIMIZER],
        key=arrays[RANDOM]['key'],
        average=arrays.get(AVERAGE),
    )
    return state, record


def load_params(
    workdir: str | os.PathLike, structure: Any, layout: jax.sharding.Sharding, kind: str | None = None
) -> tuple[Any, dict[str, Any], int]:
    """Load the parameters of the best checkpoint, or of the latest where nothing was validated yet; averages if kept.

    Args:
        workdir: The run's folder.
        structure: Shapes and types of the parameters, from `jax.eval_shape`.
        layout: Placement of the arrays on the devices.
        kind: 'best' or 'latest'; default as above.

    Returns:
        The parameters, the record saved with them, and the step.

    Raises:
        UserError: There is no checkpoint, it is damaged, or it belongs to another architecture.
    """
    while True:
        chosen = kind or (BEST if latest_step(workdir, BEST) is not None else LATEST)
        step = latest_step(workdir, chosen)
        try:
            # Of the latest state, the average is what validation sees; the best is saved as validation saw it.
            name = AVERAGE if jax.tree.leaves(_contents(workdir, chosen, step).arrays.get(AVERAGE)) else PARAMS
            arrays, record = _load(workdir, chosen, step, {name: structure}, layout)
        except UserError:
            # The training that writes here may have replaced it by a later one, which is complete then.
            if latest_step(workdir, chosen) == step:
                raise
        else:
            return arrays[name], record, step


class _Contents(NamedTuple):
    """What a checkpoint says of itself: shapes and types of its arrays, record, checksums (None without)."""

    arrays: dict[str, Any]
    record: dict[str, Any]
    checksums: dict[str, str] | None


def _contents(workdir: str | os.PathLike, kind: str, step: int | None) -> _Contents:
    if step is None:
        raise UserError(
            f'no checkpoint in {folder_of(workdir, kind)}',
            expected='the work folder of a training run',
            fix='correct --workdir, or train first',
        )
    try:
        # By the path of the step: whatever opens the folder of all steps makes and removes things in it.
        metadata = ocp.checkpointables_metadata(folder_of(workdir, kind) / str(step))
        if not metadata.custom_metadata:
            # Orbax goes on without a record that it cannot read.
            raise ValueError('its record is missing or damaged')
        record, checksums = opened(metadata.custom_metadata)
    except DAMAGE_ERRORS as error:
        raise _damaged(workdir, kind, step, error) from error
    return _Contents(metadata.metadata, record, checksums)


def _load(
    workdir: str | os.PathLike, kind: str, step: int, structures: dict[str, Any], layout: jax.sharding.Sharding
) -> tuple[dict[str, Any], dict[str, Any]]:
    contents = _contents(workdir, kind, step)
    for name, structure in structures.items():
        if not jax.tree.leaves(contents.arrays.get(name)):
            raise _damaged(workdir, kind, step, ValueError(f'{name}: missing or unreadable'))
        _check_same(folder_of(workdir, kind) / str(step), name, contents.arrays.get(name), structure)
    abstract = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=layout), structures)
    try:
        arrays = ocp.load_checkpointables(folder_of(workdir, kind) / str(step), abstract)
        if contents.checksums is not None:
            check_arrays(arrays, contents.checksums)
    except DAMAGE_ERRORS as error:
        raise _damaged(workdir, kind, step, error) from error
    return arrays, contents.record


def _check_same(where: Path, name: str, metadata: Any, structure: Any) -> None:
    """Compare names and shapes before reading, because the reader's own message names neither."""
    shapes = [_shapes(tree) for tree in (metadata, structure)]
    if shapes[0] == shapes[1]:
        return
    names = sorted(set(shapes[0]) | set(shapes[1]))
    differing = [
        f'{leaf}: {shapes[0].get(leaf, "absent")} in the checkpoint, {shapes[1].get(leaf, "absent")} in the config'
        for leaf in names
        if shapes[0].get(leaf) != shapes[1].get(leaf)
    ]
    examples = '; '.join(differing[:SHOWN_DIFFERENCES])
    more = f'; and {len(differing) - SHOWN_DIFFERENCES} more' if len(differing) > SHOWN_DIFFERENCES else ''
    raise UserError(
        f'the checkpoint {where} holds other {name} than the config describes ({examples}{more})',
        expected='a checkpoint of the same architecture and optimiser',
        fix='use the config the run was started with (config.json in its folder), or another --workdir',
    )


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    return {name: tuple(leaf.shape) for name, leaf in leaf_names(tree).items()}


def _damaged(workdir: str | os.PathLike, kind: str, step: int, error: Exception) -> UserError:
    return UserError(
        f'the checkpoint {folder_of(workdir, kind) / str(step)} cannot be read ({first_line(error)})',
        expected='a checkpoint that this program wrote completely',
        fix='remove that folder to go back to what is left, or use another --workdir',
    )
