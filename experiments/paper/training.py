"""The runs behind a table or a figure: which task a prepared folder is, its rows trained in turn, and their record."""

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from autofuse_jax.configs.comparison.presets import BRAIN, CARDIAC, CARDIAC_ED_ES, TASKS, Task
from autofuse_jax.configs.comparison.rows import find_row
from ml_collections import ConfigDict

from autofuse_jax.data.manifests import Manifest, read_manifest
from autofuse_jax.data.pair_policies import pair_source
from autofuse_jax.errors import UserError
from autofuse_jax.files import write_json
from autofuse_jax.records.reading import read_json
from autofuse_jax.runtime import enable_compilation_cache
from autofuse_jax.training.config_checks import validate
from experiments.comparison.rates import read_rates
from experiments.comparison.recipe import recipe_of, row_config
from experiments.comparison.row_training import Rows, record_of, train_rows
from experiments.comparison.rows import earlier_rows
from experiments.paper.forms import COMPARISON

PHASES_OF_A_HEART = ('ED', 'ES')
NEW_RECORD = 'give another folder as --records, or the recipe of the record'


def task_of(manifest: Manifest) -> tuple[str, Task]:
    """Return what a prepared folder is to the methods: hearts where its subjects have both phases, otherwise brains.

    Args:
        manifest: The prepared data.

    Returns:
        The name of the task, and the task with classes and size of the data. Hearts without other frames than ED and
        ES are trained on those; brains that all have labels on labelled pairs.
    """
    subjects = manifest.subjects_of('train')
    hearts = all(subject.frame_of_phase(phase) for subject in subjects for phase in PHASES_OF_A_HEART)
    frames = [frame for subject in subjects for frame in subject.frames]
    if hearts and subjects:
        name = 'cardiac' if any(frame.phase not in PHASES_OF_A_HEART for frame in frames) else 'cardiac_ed_es'
        task = CARDIAC if name == 'cardiac' else CARDIAC_ED_ES
    else:
        name, task = 'brain', BRAIN
        if all(frame.has_labels for frame in frames):
            steps = sum(steps for steps, _ in task.semi)
            task = dataclasses.replace(task, semi=((steps, task.labelled),))
    return name, dataclasses.replace(task, num_classes=len(manifest.classes), size=tuple(manifest.shape))


def scored_split(manifest: Manifest) -> str:
    """Return the split that is scored unless the command line names one: 'test', or 'validation' where there is no
    test split."""
    return 'test' if manifest.subjects_of('test') else 'validation'


def data_record(manifest: Manifest, name: str) -> dict[str, Any]:
    """Return what a record says of its data.

    Args:
        manifest: The prepared data.
        name: Name of the data in tables.
    """
    return {
        'dataset': manifest.dataset,
        'name': name,
        'shape': list(manifest.shape),
        'spacing_mm': list(manifest.spacing),
        'train_subjects': len(manifest.subjects_of('train')),
    }


def rows_of(names: Sequence[str], options: argparse.Namespace, path: Path) -> Rows:
    """Return the rows under the recipe of the command line, every config checked.

    Args:
        names: Names that `autofuse_jax.configs.comparison.rows.find_row` knows.
        options: Options of `python -m experiments.paper`; `task` and `split` are filled in where they are not given.
        path: The record; its rows need no training, and stay in it.

    Raises:
        UserError: The data, a row or the recipe is wrong, or the record is of another recipe.
    """
    missing = [f'--{name}' for name in ('data', 'steps', 'work') if getattr(options, name) is None]
    if missing:
        raise UserError(
            f'{" and ".join(missing)} must be given to train',
            expected='a prepared folder, steps of every row, and a folder that keeps what is done',
            fix='add them, or --from-records to train nothing',
        )
    manifest = read_manifest(options.data)
    name, task = task_of(manifest)
    if options.task is None:
        options.task = name
    elif options.task != name:
        task = TASKS[options.task]
    options.split = options.split or scored_split(manifest)
    names = [*names, *(name for name in _names_in(path) if name not in names)]
    rates = read_rates(options.rates, names, options.learning_rate) if options.rates else {}
    configs = {name: row_config(name, options, rates.get(name, options.learning_rate), task) for name in names}
    for name, config in configs.items():
        _check(name, config, manifest)
    data = data_record(manifest, options.name if options.score is None and options.name else manifest.dataset)
    budget = recipe_of(options) | {'split': options.split, 'data': data}
    if not path.is_file():
        return Rows(configs, options.work, budget)
    return Rows(configs, options.work, budget, earlier_rows(path, configs, budget, fix=NEW_RECORD))


def train_record(names: Sequence[str], options: argparse.Namespace, path: Path) -> dict[str, Any] | None:
    """Train the rows that a record lacks and write it anew after each.

    Args:
        names: Names that `autofuse_jax.configs.comparison.rows.find_row` knows.
        options: Options of `python -m experiments.paper`.
        path: The record.

    Returns:
        The record; None where a signal ended the training.

    Raises:
        UserError: The data, a row or the recipe is wrong, or the record is of another recipe.
    """
    enable_compilation_cache()
    rows = rows_of(names, options, path)

    def write() -> dict[str, Any]:
        record = record_of(rows)
        write_json(path, record)
        return record

    return write() if train_rows(rows, write, minutes=options.minutes) else None


def _names_in(path: Path) -> list[str]:
    """Names of the rows of a record that other items may have trained; none where there is no record."""
    return list(read_json(path, COMPARISON)['rows']) if path.is_file() else []


def _check(name: str, config: ConfigDict, manifest: Manifest) -> None:
    """Check a config against the data now: what is wrong with the last row should not come out days later."""
    validate(config)
    count = config.data.labelled_subjects
    labelled = [one.id for one in manifest.subjects_of('train') if any(frame.has_labels for frame in one.frames)]
    if count > len(labelled):
        raise UserError(
            f'{find_row(name).title}: {config.data.root} has {len(labelled)} training subjects with labels',
            fix='give fewer as --labelled',
        )
    for phase in config.phases.values():
        pair_source(phase.pairs, manifest, 'train', frozenset(labelled if count < 0 else labelled[:count]))
