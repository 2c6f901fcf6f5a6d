"""Training runs of equal options share their programs.

Each run makes a method, an optimiser and functions of its own, for which JAX traces and compiles anew what an earlier
run of the same options has compiled already.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

from autofuse_jax.training import compiled_steps, experiment, network_runs, run_parameters
from autofuse_jax.training.experiment import Experiment
from autofuse_jax.training.state import create_train_state

# What is made anew by each run, where it is looked up.
MADE = {
    experiment: ('make_method', 'make_schedule', 'make_optimizer', 'parameter_structure', 'make_predict'),
    network_runs: ('make_predict',),
    run_parameters: ('make_method', 'parameter_structure'),
    compiled_steps: ('compile_train_step',),
}


def remembered(function: Callable) -> Callable:
    """Return a function that gives the same object for arguments that look the same."""
    made: dict[str, Any] = {}

    @functools.wraps(function)
    def remember(*arguments, **options):
        key = repr((arguments, sorted(options.items())))
        if key not in made:
            # The arguments are kept, too: what a freed one looked like might be found again in another.
            made[key] = function(*arguments, **options), arguments, options
        return made[key][0]

    return remember


@contextlib.contextmanager
def remembered_programs() -> Iterator[None]:
    """Let runs inside the context have what an earlier one of the same options has traced and compiled."""
    functions = {name: remembered(getattr(module, name)) for module, names in MADE.items() for name in names}
    initialiser = remembered(functools.partial)

    def create_state(run: Experiment) -> Callable:
        names, average = tuple(phase.name for phase in run.phases), run.config.optimizer.average_decay > 0
        return initialiser(_initial_state, run.method, run.optimizer, names, run.grid, average)

    with contextlib.ExitStack() as patches:
        for module, names in MADE.items():
            for name in names:
                patches.enter_context(mock.patch.object(module, name, functions[name]))
        patches.enter_context(mock.patch.object(Experiment, '_create_state', property(create_state)))
        yield


def _initial_state(method, optimizer, names, grid, average, key):
    return create_train_state(method, optimizer, names, grid, key, average=average)
