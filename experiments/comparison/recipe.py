"""What all rows of a comparison have in common: grid, steps, schedule, warm-up and clipping, from the command line."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autofuse_jax.configs.comparison.presets import TASKS, Task, comparison_config, on_grid
from ml_collections import ConfigDict

from autofuse_jax.errors import UserError
from autofuse_jax.training.optimizers import SCHEDULES

# A run that is killed loses no more; one that is asked to end loses nothing.
CHECKPOINT_STEPS = 50


def add_recipe(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Add the arguments that say what all rows have in common; whether task, data and steps must be given."""
    parser.add_argument('--task', choices=tuple(TASKS), required=required)
    parser.add_argument('--data', type=Path, required=required, help='folder that autofuse_jax.prepare wrote')
    parser.add_argument('--grid', metavar='D,H,W', help='of the networks; default the prepared one')
    parser.add_argument('--steps', type=int, required=required, help='of every row, all phases together')
    parser.add_argument('--schedule', choices=SCHEDULES, help='of every row; default that of the configs')
    parser.add_argument('--warmup', type=int, metavar='STEPS', help='over which the learning rate rises from zero')
    parser.add_argument('--clip-norm', type=float, metavar='X', help='largest norm of a gradient')


def recipe_of(options: argparse.Namespace) -> dict[str, Any]:
    """Return what `add_recipe` asks for, as it stands in records; None: what the configs say."""
    return {
        'task': options.task,
        'steps': options.steps,
        'grid': list(parse_grid(options.grid)) if options.grid else None,
        'schedule': options.schedule,
        'warmup_steps': options.warmup,
        'clip_norm': options.clip_norm,
    }


def recipe_differences(record: Mapping[str, Any], recipe: Mapping[str, Any]) -> str:
    """Return in which fields of a recipe a record differs from it, as text; '' where in none."""
    return ', '.join(
        f'{field} {record.get(field)} instead of {value}'
        for field, value in recipe.items()
        if record.get(field) != value
    )


def parse_grid(text: str) -> tuple[int, int, int]:
    """Return the grid that 'D,H,W' names; what networks need of it is checked with the config.

    Raises:
        UserError: It is not three numbers.
    """
    sizes = text.split(',')
    if len(sizes) != 3 or not all(size.isdecimal() and int(size) for size in sizes):
        raise UserError(f'--grid={text}', expected='three whole numbers with commas', fix='write --grid=64,64,16')
    depth, height, width = map(int, sizes)
    return depth, height, width


def row_config(
    name: str, options: argparse.Namespace, learning_rate: float | None = None, task: Task | None = None
) -> ConfigDict:
    """Return the config of a row under the recipe of the command line.

    Args:
        name: Name that `autofuse_jax.configs.comparison.rows.find_row` knows.
        options: What `add_recipe` asks for, and 'validations' and 'split'.
        learning_rate: Default that of the configs.
        task: Data as the methods see it; default the task that the options name.

    Returns:
        The config, its phases scaled to the steps of the recipe.

    Raises:
        UserError: There are fewer steps than phases, or the grid is not three numbers.
    """
    task = task or TASKS[options.task]
    config = on_grid(task, name, parse_grid(options.grid)) if options.grid else comparison_config(task, name)
    config.data.root = str(options.data)
    # One pair a step, as in the paper, cannot be shared by several devices.
    config.training.devices = 1
    for phase, steps in scaled_phases({p: config.phases[p].steps for p in config.phases}, options.steps).items():
        config.phases[phase].steps = steps
    config.training.validate_every = max(1, options.steps // max(1, options.validations))
    config.training.checkpoint_every = min(config.training.validate_every, CHECKPOINT_STEPS)
    config.training.log_every = max(1, min(config.training.log_every, options.steps // 4))
    config.evaluation.split = options.split
    config.evaluation.pictures = 1
    given = {
        'learning_rate': learning_rate,
        'schedule': options.schedule,
        'warmup_steps': options.warmup,
        'clip_norm': options.clip_norm,
    }
    config.optimizer.update({field: value for field, value in given.items() if value is not None})
    return config


def scaled_phases(steps: Mapping[str, int], total: int) -> dict[str, int]:
    """Scale the steps of phases to a total, keeping their shares.

    Args:
        steps: By phase, in order.
        total: What the result sums to.

    Returns:
        At least one step for each phase that had any.

    Raises:
        UserError: The total is less than the number of phases.
    """
    used = {name: count for name, count in steps.items() if count}
    if total < len(used):
        raise UserError(f'--steps={total} for {len(used)} phases', expected='at least one step a phase')
    whole, scaled, before = sum(used.values()), {}, 0
    for number, (name, count) in enumerate(used.items(), 1):
        before += count
        # Later phases keep at least a step each.
        end = min(round(total * before / whole), total - (len(used) - number))
        scaled[name] = max(1, end - sum(scaled.values()))
    return {name: scaled.get(name, 0) for name in steps}
