"""The training of a row: with the learning rate of the comparison and, where that diverges, with the published one."""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

from autofuse_jax.configs.comparison.rows import find_row
from ml_collections import ConfigDict

from autofuse_jax.errors import DivergedError
from autofuse_jax.files import write_json
from autofuse_jax.training.final_report import RESULT_NAME
from autofuse_jax.training.loop import train_and_evaluate
from experiments.comparison.run_identity import fingerprint, holds_run

# Exit status of a command that a signal ended.
STOPPED_STATUS = 143
# In the folder of a run that diverged: with which learning rate, and what was not finite.
DIVERGENCE_NAME = 'diverged.json'
# The run with the published learning rate lies beside the one that diverged.
PUBLISHED_ENDING = '_published'


@dataclasses.dataclass(frozen=True)
class RowRun:
    """A training of a row.

    Attributes:
        name: Name that `autofuse_jax.configs.comparison.rows.find_row` knows.
        config: Its config.
        folder: Its work folder.
        divergence: Learning rate and message of the run that diverged before it; None where it is the first.
    """

    name: str
    config: ConfigDict
    folder: Path
    divergence: dict[str, Any] | None = None

    @property
    def evaluation(self) -> Path:
        """Folder of its report."""
        return self.folder / f'evaluation_{self.config.evaluation.split}'

    @property
    def is_done(self) -> bool:
        """Whether it has been trained and evaluated; an error where its folder holds another run."""
        return holds_run(self.folder, self.config) and (self.evaluation / RESULT_NAME).is_file()

    @property
    def own_divergence(self) -> dict[str, Any] | None:
        """Learning rate and message where it diverged itself; None where it did not, or has not begun."""
        path = self.folder / DIVERGENCE_NAME
        if not holds_run(self.folder, self.config) or not path.is_file():
            return None
        return json.loads(path.read_text(encoding='utf-8'))

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to train: it is done, or has diverged."""
        return self.is_done or self.own_divergence is not None


def run_of(name: str, config: ConfigDict, workdir: Path) -> RowRun:
    """Return the run that counts for a row.

    Args:
        name: Name that `autofuse_jax.configs.comparison.rows.find_row` knows.
        config: Config with the learning rate of the comparison.
        workdir: Folder with a folder for each run.

    Returns:
        The run with that config; once it has diverged, the one with the published learning rate, unless it had that.

    Raises:
        UserError: The folder of the row holds a run with another config.
    """
    first = RowRun(name, config, workdir / name)
    divergence = first.own_divergence
    if divergence is None or config.optimizer.learning_rate == find_row(name).published_rate:
        return first
    return RowRun(name, published_config(name, config), workdir / f'{name}{PUBLISHED_ENDING}', divergence)


def published_config(name: str, config: ConfigDict) -> ConfigDict:
    """Return the config of a row with the learning rate that its authors published."""
    published = config.copy_and_resolve_references()
    published.optimizer.learning_rate = find_row(name).published_rate
    return published


def is_run_of(row: dict[str, Any], name: str, config: ConfigDict) -> bool:
    """Tell whether a row of a record was trained as `run_of` would train it.

    Args:
        row: Row of a record.
        name: Its name.
        config: Config with the learning rate of the comparison.
    """
    divergence = row.get('diverged_before')
    if divergence is None:
        return row['config'] == fingerprint(config)
    same_first = divergence['learning_rate'] == config.optimizer.learning_rate
    return same_first and row['config'] == fingerprint(published_config(name, config))


def train_row(name: str, config: ConfigDict, workdir: Path) -> bool:
    """Train and evaluate a row, see `run_of`; a run that diverges leaves a note of it in its folder.

    Args:
        name: Name that `autofuse_jax.configs.comparison.rows.find_row` knows.
        config: Config with the learning rate of the comparison.
        workdir: Folder with a folder for each run.

    Returns:
        False where a signal ended it; True where it is done or has diverged with both learning rates.
    """
    while True:
        run = run_of(name, config, workdir)
        if run.is_over:
            return True
        rate = run.config.optimizer.learning_rate
        if run.divergence is not None:
            print(f'{name} again, with the published learning rate of {rate:g}', file=sys.stderr)
        try:
            return train_and_evaluate(run.config, run.folder) is not None
        except DivergedError as error:
            print(f'{name} diverged with a learning rate of {rate:g}: {error}', file=sys.stderr)
            write_json(run.folder / DIVERGENCE_NAME, {'learning_rate': rate, 'error': str(error)})
