"""Where a training goes on from, in this order: the run's own checkpoint, the weights that its config names, nothing.

A run that was started from weights and has a checkpoint does not go back to the weights.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

from autofuse_jax.files import write_json
from autofuse_jax.records.run_folder import CONFIG_NAME
from autofuse_jax.sharding import replicated
from autofuse_jax.training import checkpoint_folders, checkpoints
from autofuse_jax.training.config_differences import differing_fields
from autofuse_jax.training.distributed import first_process_first, is_first
from autofuse_jax.training.experiment import Experiment
from autofuse_jax.training.run_record import RunSoFar, check_record
from autofuse_jax.training.state import TrainState


def start_of(experiment: Experiment, say: Callable[[str], None]) -> tuple[TrainState, RunSoFar]:
    """Find or make the state that training goes on from, and bring the work folder in order for it.

    Args:
        experiment: The experiment.
        say: Function that is told what training starts from.

    Returns:
        The state, and what the run has come to besides.

    Raises:
        UserError: The checkpoint belongs to another architecture or is damaged, or the weights are.
        OSError: The folder cannot be written.
    """
    if checkpoint_folders.latest_step(experiment.workdir) is None:
        return _created(experiment, say), RunSoFar()
    return _restored(experiment, say)


def _created(experiment: Experiment, say: Callable[[str], None]) -> TrainState:
    layout = replicated(experiment.mesh)
    _begin_at(experiment, 0, say)
    _write_config(experiment)
    state = experiment.create_state(layout)
    if not experiment.config.weights:
        return state
    say(f'starting from {experiment.config.weights}')
    params = experiment.read_weights(layout)
    # Buffers of their own, because those of a state are donated.
    average = None if state.average is None else jax.tree.map(jnp.copy, params)
    return dataclasses.replace(state, params=params, average=average)


def _restored(experiment: Experiment, say: Callable[[str], None]) -> tuple[TrainState, RunSoFar]:
    # The arrays first: where they do not fit the config, the run's folder stays as it is.
    state, record = checkpoints.restore(experiment.workdir, experiment.state_structure(), replicated(experiment.mesh))
    check_record(record, experiment.workdir)
    for difference in differing_fields(record['config'], experiment.resolved):
        say(f'the config differs from the one before: {difference}')
    _write_config(experiment)
    _begin_at(experiment, int(state.step), say)
    so_far = RunSoFar.of(record)
    if checkpoint_folders.latest_step(experiment.workdir, checkpoint_folders.BEST) is None:
        # A score without its parameters would keep those that follow from being saved.
        so_far = dataclasses.replace(so_far, best=float('-inf'))
    say(f'continuing from step {int(state.step)}')
    return state, so_far


def _begin_at(experiment: Experiment, step: int, say: Callable[[str], None]) -> None:
    """Bring the checkpoints of the work folder in order for a training that goes on from a step."""
    workdir = experiment.workdir
    later = checkpoint_folders.latest_step(workdir, checkpoint_folders.BEST)
    if later is not None and later > step:
        say(f'the best parameters of step {later} are removed: training goes on from step {step}, before them')
    first_process_first(lambda: checkpoint_folders.begin(workdir, step))


def _write_config(experiment: Experiment) -> None:
    if is_first():
        write_json(experiment.workdir / CONFIG_NAME, experiment.resolved)
