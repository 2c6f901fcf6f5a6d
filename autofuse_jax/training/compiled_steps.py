"""The training steps of a run, compiled once for each set of objectives and size of what they see."""

import time
from collections.abc import Callable
from typing import Any

import jax

from autofuse_jax.methods.base import Batch, Objective
from autofuse_jax.progress import format_duration
from autofuse_jax.training.experiment import Experiment
from autofuse_jax.training.memory import GIB, check_compiled_fits, check_step_fits
from autofuse_jax.training.phases import Phase
from autofuse_jax.training.state import TrainState
from autofuse_jax.training.step import StepFunction, compile_train_step


class CompiledSteps:
    """Compiled training steps; phases that share objectives and sizes share one.

    Args:
        experiment: What is trained.
        say: Function that is told when one is compiled.
    """

    def __init__(self, experiment: Experiment, say: Callable[[str], None]):
        self._experiment, self._say = experiment, say
        self._functions: dict[Any, StepFunction] = {}

    def step_of(self, phase: Phase, state: TrainState, batch: Batch) -> tuple[StepFunction, float]:
        """Return the step of a phase and the seconds for which it was compiled now, 0 where it was before.

        Args:
            phase: The phase.
            state: The state, on the devices; what still makes it is waited for before anything is compiled.
            batch: A batch, likewise.

        Raises:
            UserError: A device cannot hold the step.
        """
        objectives = self._experiment.method.objectives(phase.name)
        program = objectives, batch['fixed'].shape
        if program in self._functions:
            return self._functions[program], 0.0
        demand = self._demand(phase, state, batch)
        about = '' if demand is None else f', which needs about {demand / GIB:.1f} GiB on each device'
        self._say(f'compiling the training step{about} ...')
        # What still runs counts as training.
        jax.block_until_ready(state.step)
        started = time.monotonic()
        self._functions[program] = self._compile(objectives, state, batch)
        seconds = time.monotonic() - started
        self._say(f'compiled in {format_duration(seconds)}')
        return self._functions[program], seconds

    def _demand(self, phase: Phase, state: TrainState, batch: Batch) -> int | None:
        """About the bytes that a step takes on each device, see `memory.check_step_fits`."""
        experiment = self._experiment
        if not experiment.config.training.check_memory:
            return None
        mesh = experiment.mesh
        objectives = experiment.method_in_memory().objectives(phase.name)
        platform = mesh.devices.flat[0].platform
        return check_step_fits(objectives, state, batch, devices=mesh.size, platform=platform)

    def _compile(self, objectives: tuple[Objective, ...], state: TrainState, batch: Batch) -> StepFunction:
        experiment = self._experiment
        decay = experiment.config.optimizer.average_decay
        step = compile_train_step(objectives, experiment.optimizer, experiment.mesh, decay)
        compiled = step.lower(state, batch).compile()
        if experiment.config.training.check_memory:
            check_compiled_fits(compiled, batch, devices=experiment.mesh.size)
        return compiled
