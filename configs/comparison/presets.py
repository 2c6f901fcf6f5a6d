"""From a task and a row of a table to a config: the same data, steps and optimiser for every method of a task."""

import dataclasses
from typing import Any

from autofuse_jax.configs.comparison.rows import Row, find_row
from ml_collections import ConfigDict

from autofuse_jax.configs import default
from autofuse_jax.methods.registry import section_options
from autofuse_jax.models.transmorph_blocks import fitting_window

SECTIONS = ('model', 'loss', 'inference')
# Methods whose attention window follows from the size of the images.
WINDOWED = ('transmorph', 'transmatch')
# The paper's comparison had no thinner attention windows.
THINNEST_WINDOW = 2


@dataclasses.dataclass(frozen=True)
class Task:
    """A data set as the methods see it.

    Attributes:
        num_classes: Background included.
        size: (D, H, W) of the grid that the networks work on; the prepared one, unless `on_grid` chose another.
        unsupervised: (steps, pair policy) of each phase without labels.
        semi: The same with labels on part of the data.
        labelled: Pair policy in which both images have labels.
        evaluation: Pair policy of the evaluation.
        labelled_subjects: Training subjects whose labels may be used by methods trained with labels on part of the
            data; -1: all that have any.
        labelled_alone: Pair policy of subjects whose labels may be used, where those of others are hidden; default '':
            `labelled`.
    """

    num_classes: int
    size: tuple[int, int, int]
    unsupervised: tuple[tuple[int, str], ...]
    semi: tuple[tuple[int, str], ...]
    labelled: str
    evaluation: str
    labelled_subjects: int = -1
    labelled_alone: str = ''


# The paper's schedules, section 4.
CARDIAC = Task(
    num_classes=4,
    size=(128, 128, 32),
    unsupervised=((40_000, 'intra_random'), (10_000, 'ed_es')),
    semi=((40_000, 'semi'), (10_000, 'ed_es')),
    labelled='ed_es',
    evaluation='ed_es',
    labelled_alone='ed_es_labelled',
)
# Of data that holds no other frames.
CARDIAC_ED_ES = dataclasses.replace(CARDIAC, unsupervised=((50_000, 'ed_es'),), semi=((50_000, 'ed_es'),))
BRAIN = Task(
    num_classes=20,
    size=(144, 192, 160),
    unsupervised=((100_000, 'inter'),),
    semi=((50_000, 'inter_labelled'), (50_000, 'inter_semi')),
    labelled='inter_labelled',
    evaluation='inter_fixed',
)
# Small volumes on which every method can be trained in minutes to hours; a third of the subjects is labelled.
HIPPOCAMPUS = Task(
    num_classes=3,
    size=(48, 64, 48),
    unsupervised=((10_000, 'inter'),),
    semi=((5_000, 'inter_labelled'), (5_000, 'inter_semi')),
    labelled='inter_labelled',
    evaluation='inter_all',
    labelled_subjects=15,
)
TASKS = {'cardiac': CARDIAC, 'cardiac_ed_es': CARDIAC_ED_ES, 'brain': BRAIN, 'hippocampus': HIPPOCAMPUS}


def attention_window(size: tuple[int, int, int]) -> tuple[int, int, int]:
    """Return the attention window of TransMorph and TransMatch: the padded size / 32, and at least 2.

    Args:
        size: (D, H, W) of the images.
    """
    depth, height, width = (max(length, THINNEST_WINDOW) for length in fitting_window(size))
    return depth, height, width


def on_grid(task: Task, row_name: str, grid: tuple[int, int, int]) -> ConfigDict:
    """Return the config of a row whose network works on another grid over the same field of view.

    Args:
        task: The data.
        row_name: Name that `autofuse_jax.configs.comparison.rows.find_row` knows.
        grid: (D, H, W); scores stay those on the prepared grid.

    Raises:
        UserError: There is no such row.
    """
    config = comparison_config(dataclasses.replace(task, size=grid), row_name)
    config.data.grid = grid
    return config


def comparison_config(task: Task, row_name: str) -> ConfigDict:
    """Return the config of a row on a task; `data.root` must be given.

    Args:
        task: The data.
        row_name: Name that `autofuse_jax.configs.comparison.rows.find_row` knows.

    Raises:
        UserError: There is no such row.
    """
    row = find_row(row_name)
    config = default.get_config().copy_and_resolve_references()
    config.unlock()
    config.method = row.method
    for section in SECTIONS:
        config[section] = ConfigDict(section_options(row.method, section))
    for section, options in (('model', dict(row.model)), ('loss', dict(row.loss)), *_of_task(task, row)):
        config[section].update(options)
    config.data.source = 'prepared'
    if row.semi:
        config.data.labelled_subjects = (
            task.labelled_subjects if row.labelled_subjects is None else row.labelled_subjects
        )
    config.evaluation.pairs = task.evaluation
    config.phases = ConfigDict(_phases(task, row))
    if row.first_share:
        config.loss.first_stage = _first_stage(task, row)
    return config.lock()


def _of_task(task: Task, row: Row) -> list[tuple[str, dict[str, Any]]]:
    """Options that follow from the data."""
    options = []
    if row.classes:
        options.append((row.classes, {'num_classes': task.num_classes}))
    if row.method in WINDOWED:
        options.append(('model', {'window': attention_window(task.size)}))
    if row.method == 'dtn':
        options.append(('model', {'size': task.size}))
    return options


def _stretches(task: Task, row: Row) -> list[tuple[int, str]]:
    """Steps and pair policy of each phase; a phase in which the first stage ends is split there."""
    stretches = list(task.semi if row.semi else task.unsupervised)
    if row.labelled_pairs:
        pairs = task.labelled if row.labelled_subjects is None else task.labelled_alone or task.labelled
        return [(sum(steps for steps, _ in stretches), pairs)]
    left = round(row.first_share * sum(steps for steps, _ in stretches))
    split = []
    for steps, pairs in stretches:
        if 0 < left < steps:
            split += [(left, pairs), (steps - left, pairs)]
        else:
            split.append((steps, pairs))
        left -= steps
    return split


def _phases(task: Task, row: Row) -> dict[str, Any]:
    return {
        f'phase_{number}': ConfigDict({'steps': steps, 'pairs': pairs})
        for number, (steps, pairs) in enumerate(_stretches(task, row), 1)
    }


def _first_stage(task: Task, row: Row) -> tuple[str, ...]:
    """Names of the phases that lie before the end of the first stage."""
    stretches = _stretches(task, row)
    end = round(row.first_share * sum(steps for steps, _ in stretches))
    done, names = 0, []
    for number, (steps, _) in enumerate(stretches, 1):
        if done < end:
            names.append(f'phase_{number}')
        done += steps
    return tuple(names)
