"""Training of one branch of a network: from the start or the latest checkpoint to the last step, or until a signal.

The trainer of the package trains a config on prepared pairs. Here a branch learns from examples of another kind, which
follow from a seed and the step.
"""

import argparse
import functools
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from autofuse_jax.data.augment import Augmentation
from autofuse_jax.errors import DivergedError, UserError
from autofuse_jax.files import write_json
from autofuse_jax.methods.base import Objective, Params
from autofuse_jax.provenance import provenance
from autofuse_jax.sharding import make_mesh, replicated
from autofuse_jax.storage.locks import Lock, locked
from autofuse_jax.training import checkpoint_folders, checkpoints
from autofuse_jax.training.metrics_log import MetricsWriter
from autofuse_jax.training.optimizers import Multiples, make_optimizer, make_schedule
from autofuse_jax.training.state import TrainState
from autofuse_jax.training.step import StepFunction, make_train_step
from autofuse_jax.training.stopping import StopRequest

WARMUP_STEPS, CLIP_NORM, AVERAGE_DECAY = 50, 1.0, 0.995
LOG_EVERY, SAVE_EVERY = 50, 200
RECORD_NAME = 'training.json'
# Limits of `Augmentation` that a command line may give.
CHANGES = {
    'rotation': 'random change, degrees',
    'scale': 'and of the size, a fraction',
    'gamma': 'and of the contrast',
    'elastic': 'and of the shape of each image',
}
# (step) -> what that step learns from.
Examples = Callable[[int], Any]


def branch_parser(description: str | None, *, steps: int, learning_rate: float) -> argparse.ArgumentParser:
    """Return a parser with the options that every training of a branch has.

    Args:
        description: Text of the help.
        steps: Default of `--steps`.
        learning_rate: Default of `--learning-rate`.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--weights', required=True, help='npz or name of the weights to begin with')
    parser.add_argument('--data', type=Path, required=True, help='folder that `autofuse-jax prepare` wrote')
    parser.add_argument('--work', type=Path, required=True, help='folder of checkpoints and metrics')
    parser.add_argument('--out', type=Path, required=True, help='npz to write')
    parser.add_argument('--steps', type=int, default=steps, help=f'default {steps}')
    parser.add_argument(
        '--learning-rate',
        type=float,
        default=learning_rate,
        help=f'highest rate of the cosine; default {learning_rate:g}',
    )
    parser.add_argument('--seed', type=int, default=0, help='default 0')
    return parser


def add_changes(parser: argparse.ArgumentParser, default: Augmentation) -> None:
    """Add the limits of the random change of what is learned from, see `changes_of`.

    Args:
        parser: The parser.
        default: The limits where none are given.
    """
    for name, text in CHANGES.items():
        limit = getattr(default, name)
        parser.add_argument(f'--{name}', type=float, default=limit, help=f'{text}; default {limit:g}')


def changes_of(options: argparse.Namespace) -> Augmentation:
    """Return the limits that the options of `add_changes` give.

    Raises:
        UserError: A limit is out of its range.
    """
    return Augmentation(**{name: getattr(options, name) for name in CHANGES})


def train_branch(
    options: argparse.Namespace, examples: Examples, objective: Objective, params: Params, multiples: Multiples = ()
) -> tuple[Params, dict[str, Any]] | None:
    """Train to the last step, or until a signal asks for an end.

    Rates rise over 50 steps and fall along a cosine, gradients are clipped at norm 1, and the average of the parameters
    over about 200 steps is what counts.

    Args:
        options: 'work', the folder of checkpoints and metrics, 'steps', 'learning_rate' and 'seed'. All of them are
            kept, and a training goes on with the same ones only.
        examples: What each step learns from.
        objective: What is minimised.
        params: Parameters of the branches that learn, to begin with.
        multiples: Rates of groups of parameters, see `optimizers.multiple_of`; default none.

    Returns:
        The averages, as NumPy arrays, and what a record says of the training; None where it was ended before.

    Raises:
        DivergedError: A loss or a gradient is not finite any more.
        UserError: The folder holds a training with other options, or is in use.
        OSError: It cannot be written.
    """
    schedule = make_schedule(
        options.learning_rate, schedule='cosine', warmup_steps=WARMUP_STEPS, total_steps=options.steps
    )
    optimizer = make_optimizer(schedule, clip_norm=CLIP_NORM, multiples=multiples)
    step = jax.jit(make_train_step((objective,), optimizer, AVERAGE_DECAY), donate_argnums=0)
    begin = functools.partial(_begin, objective, optimizer, options.seed)
    with locked(options.work) as lock:
        state, minutes = _advance(options, lock, examples, step, begin, params)
    if int(state.step) < options.steps:
        return None
    return jax.device_get(state.evaluated), {'settings': settings_of(options), 'train_minutes': minutes}


def settings_of(options: argparse.Namespace) -> dict[str, Any]:
    """Return the options of a command line as they stand in records."""
    return {name: str(value) if isinstance(value, Path) else value for name, value in vars(options).items()}


def note_training(origin: dict[str, Any], branch: str, options: argparse.Namespace, record: dict[str, Any]) -> None:
    """Write down how a branch was trained.

    Args:
        origin: The description's, which gets an entry of the branch.
        branch: What is said of the branch, such as 'registering'.
        options: Options of the training.
        record: Of `train_branch`; written to the folder of the training.

    Raises:
        OSError: The record cannot be written.
    """
    about = provenance()
    origin[branch] = {
        'run': options.work.name,
        'step': options.steps,
        'date': about['date'],
        'commit': about['commit'],
    }
    write_json(options.work / RECORD_NAME, about | record)


def _begin(objective: Objective, optimizer: optax.GradientTransformation, seed: int, params: Params) -> TrainState:
    key = jax.random.key_data(jax.random.key(seed))
    # Buffers of their own, because those of a state are donated.
    own, average = (jax.tree.map(jnp.copy, params) for _ in range(2))
    return TrainState(jnp.zeros((), jnp.int32), own, {objective.name: optimizer.init(own)}, key, average)


def _advance(
    options: argparse.Namespace,
    lock: Lock,
    examples: Examples,
    step_function: StepFunction,
    begin: Callable[[Params], TrainState],
    params: Params,
) -> tuple[TrainState, float]:
    """Train from the latest checkpoint, or from the start; returns the state and the minutes of all invocations."""
    minutes = 0.0
    if checkpoint_folders.latest_step(options.work) is None:
        state = begin(params)
    else:
        structure = jax.eval_shape(begin, params)
        state, record = checkpoints.restore(options.work, structure, replicated(make_mesh(1)))
        minutes = record['minutes']
        if record['settings'] != settings_of(options):
            raise UserError(
                f'{options.work} holds a training with other options: {record["settings"]}',
                expected='the command that began it',
                fix='use another --work',
            )
    step = int(state.step)
    print(f'from step {step} of {options.steps}', file=sys.stderr)
    checkpoint_folders.begin(options.work, step)
    started, window = time.monotonic(), []

    def log() -> None:
        rows = jax.device_get(window)
        _check_finite(rows, step - len(rows) + 1)
        values = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
        window.clear()
        writer.write(step, 'train', values)
        print(f'step {step}: {json.dumps({name: round(value, 4) for name, value in values.items()})}', flush=True)

    def save() -> None:
        lock.confirm()
        spent = minutes + (time.monotonic() - started) / 60.0
        checkpoints.save(options.work, state, {'minutes': spent, 'settings': settings_of(options)})

    with MetricsWriter(options.work, step=step) as writer, StopRequest() as stop:
        while step < options.steps and not stop.ending:
            state, metrics = step_function(state, examples(step))
            window.append(metrics)
            step += 1
            if step % LOG_EVERY == 0:
                log()
            if step % SAVE_EVERY == 0:
                save()
        # Whenever the signal came: what was done since is kept.
        if window:
            log()
        if step % SAVE_EVERY:
            save()
    return state, minutes + (time.monotonic() - started) / 60.0


def _check_finite(rows: Sequence[Mapping[str, Any]], first: int) -> None:
    """Check the metrics of the steps from `first` on before anything is saved after them."""
    for number, row in enumerate(rows, first):
        broken = sorted(name for name, value in row.items() if not np.isfinite(value))
        if broken:
            raise DivergedError(
                f'at step {number} these are not finite any more: {", ".join(broken)}',
                fix='use a lower --learning-rate and another --work',
            )
