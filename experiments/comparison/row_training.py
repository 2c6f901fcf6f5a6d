"""The training of several rows one after the other, and the record of those that are complete."""

import dataclasses
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
from autofuse_jax.configs.comparison.rows import find_row
from ml_collections import ConfigDict

from autofuse_jax.errors import UserError
from autofuse_jax.files import json_types
from autofuse_jax.provenance import provenance
from experiments.comparison.row_runs import run_of, train_row
from experiments.comparison.rows import row_of, with_tests


@dataclasses.dataclass(frozen=True)
class Rows:
    """Rows of a comparison under one recipe.

    Attributes:
        configs: Config of each row by name, in the order of training.
        workdir: Folder with a folder for each run.
        budget: What all rows have in common, as it stands in the record.
        earlier: Result of `rows.earlier_rows`: rows that need no training.
    """

    configs: Mapping[str, ConfigDict]
    workdir: Path
    budget: Mapping[str, Any]
    earlier: Mapping[str, Any] = dataclasses.field(default_factory=lambda: {'rows': {}, 'pairs': []})


def train_rows(rows: Rows, on_row: Callable[[], Any], *, minutes: float = 0.0) -> bool:
    """Train and evaluate the rows that are not complete; what has begun goes on from its last checkpoint.

    Args:
        rows: The rows.
        on_row: Callback after each row that was completed.
        minutes: Time after which no further row begins; default 0: no limit.

    Returns:
        False where a signal ended it.
    """
    started = time.monotonic()
    for number, (name, config) in enumerate(rows.configs.items(), 1):
        if name in rows.earlier['rows'] or run_of(name, config, rows.workdir).is_over:
            continue
        if minutes and time.monotonic() - started > 60 * minutes:
            print(f'{minutes:g} minutes are over; the same command goes on with {name}', file=sys.stderr)
            break
        print(f'[{number}/{len(rows.configs)}] {find_row(name).title}', file=sys.stderr)
        if not train_row(name, config, rows.workdir):
            return False
        if run_of(name, config, rows.workdir).is_done:
            on_row()
        # Each row compiles programs of its own, which nobody needs any more.
        jax.clear_caches()
    return True


def record_of(rows: Rows) -> dict[str, Any]:
    """Return the record of the rows that are complete, those of the earlier record among them.

    Args:
        rows: The rows.

    Returns:
        Provenance, the budget, 'not_done', 'diverged', 'pairs', and 'rows' with their tests.

    Raises:
        UserError: No row is complete, or rows were scored on different pairs.
    """
    complete, pairs, diverged = {}, rows.earlier['pairs'], {}
    for name, config in rows.configs.items():
        run = run_of(name, config, rows.workdir)
        if name in rows.earlier['rows']:
            complete[name] = rows.earlier['rows'][name]
        elif run.is_done:
            complete[name], scored = row_of(run)
            if pairs and scored != pairs:
                raise UserError(f'{name} was scored on other pairs than the rows before it', fix='use the same data')
            pairs = scored
        elif run.own_divergence is not None:
            diverged[name] = run.own_divergence
    if not complete:
        raise UserError('no row is complete', fix='give more --minutes, or fewer --steps')
    return json_types(
        provenance()
        | rows.budget
        | {
            'not_done': [name for name in rows.configs if name not in complete],
            'diverged': diverged,
            'pairs': pairs,
            'rows': with_tests(complete, pairs),
        }
    )
