"""The folders in which a run has its checkpoints: which there are, and what goes before training goes on."""

import os
import shutil
import time
from pathlib import Path

from autofuse_jax.records.run_folder import CHECKPOINTS_NAME
from autofuse_jax.storage.temporary import temporary_path

LATEST = 'latest'
BEST = 'best'
# Part of the names of checkpoints that Orbax is writing.
UNFINISHED = '.orbax-checkpoint-tmp'
# How often and after how many seconds it is looked for them.
REMOVALS, REMOVAL_PAUSE = 20, 0.05


def folder_of(workdir: str | os.PathLike, kind: str) -> Path:
    """Return the folder of the checkpoints of a kind."""
    return Path(workdir).absolute() / CHECKPOINTS_NAME / kind


def begin(workdir: str | os.PathLike, step: int) -> None:
    """Bring the checkpoints of a run in order before training goes on from a step.

    Remains of saves that were killed are removed, and the best checkpoints of later steps, which belong to a
    continuation that is given up: the run was rolled back, begun anew, or killed after a validation.

    Args:
        workdir: The run's folder, whose lock this process holds.
        step: Step from which training goes on.
    """
    for kind in (LATEST, BEST):
        remove_unfinished(folder_of(workdir, kind))
    for later in (number for number in steps_in(workdir, BEST) if number > step):
        remove_checkpoint(folder_of(workdir, BEST) / str(later))


def remove_unfinished(folder: Path) -> None:
    """Remove what saves that failed or were killed have left in the folder of a kind."""
    # After a failure, other threads of the same save may still be writing: what is removed comes back a few times.
    for _ in range(REMOVALS):
        remains = list(folder.glob(f'*{UNFINISHED}*'))
        for path in remains:
            shutil.rmtree(path, ignore_errors=True)
        if not remains:
            break
        time.sleep(REMOVAL_PAUSE)


def remove_checkpoint(checkpoint: Path) -> None:
    """Remove a checkpoint in such a way that nobody takes a part of it for the whole."""
    hidden = temporary_path(checkpoint, place=checkpoint.parents[1])
    os.rename(checkpoint, hidden)
    shutil.rmtree(hidden, ignore_errors=True)


def latest_step(workdir: str | os.PathLike, kind: str = LATEST) -> int | None:
    """Return the step of the checkpoint of a kind, or None where there is none."""
    return max(steps_in(workdir, kind), default=None)


def steps_in(workdir: str | os.PathLike, kind: str) -> list[int]:
    """Return the steps of the checkpoints of a kind, in no order."""
    folder = folder_of(workdir, kind)
    return [int(entry.name) for entry in folder.iterdir() if entry.name.isdigit()] if folder.is_dir() else []
