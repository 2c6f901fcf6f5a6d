"""Commands that are killed: what was there is whole, the same command then does its work, nothing is left over."""

import functools
import os
import random
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from autofuse_jax.storage.temporary import READY_PREFIX
from tests.reliability.campaign.contents import bytes_of, facts_of, leftovers_of
from tests.reliability.campaign.moments import (
    WRITING_SECONDS,
    count_changes,
    kill_at,
    kill_sometime,
    kill_while,
    writes,
)
from tests.reliability.campaign.outcomes import LOST, WRONG, Trial, trial
from tests.reliability.campaign.stage import Job, Stage

KIND = 'kills'


def kill_commands(stage: Stage, names: Sequence[str], each: int, rng: random.Random) -> list[Trial]:
    """Kill each of some commands so many times.

    Args:
        stage: The stage.
        names: Names of the jobs.
        each: Number of kills of each.
        rng: Source of the moments.

    Returns:
        The trials.
    """
    trials: list[Trial] = []
    for name in names:
        job = stage.jobs()[name]
        seconds, changes = _measure(stage, job)
        for number in range(each):
            with trial(trials, KIND, name) as one:
                _kill(stage, job, one, rng, seconds, changes, way=number % 3)
    return trials


def _measure(stage: Stage, job: Job) -> tuple[float, int]:
    """Return how long a command takes and how often it changes a name."""
    folder = prepared(stage, job)
    counter = folder / 'changes'
    started = time.monotonic()
    running = stage.start(job.command(folder / 'out'), functools.partial(count_changes, counter))
    if running.end() != 0:
        raise RuntimeError(f'{job.name} ended with {running.end()}: {running.text[-2000:]}')
    seconds = time.monotonic() - started
    changes = counter.stat().st_size
    shutil.rmtree(folder)
    return seconds, changes


def prepared(stage: Stage, job: Job) -> Path:
    """Return a new folder, with the results in it that are there before a command."""
    folder = stage.folder(job.name)
    if job.earlier is not None:
        stage.run(job.earlier(folder / 'out'))
    return folder


def _kill(stage: Stage, job: Job, one: Trial, rng: random.Random, seconds: float, changes: int, way: int) -> None:
    folder = prepared(stage, job)
    out = folder / 'out'
    earlier, wanted = bytes_of(out), stage.facts(job)
    if way == 0:
        running = stage.start(job.command(out))
        one.about = kill_sometime(running, rng, seconds)
    elif way == 1:
        running = stage.start(job.command(out))
        one.about = kill_while(running, rng, lambda: writes(out), WRITING_SECONDS)
    else:
        moment = rng.randrange(changes)
        running = stage.start(job.command(out), functools.partial(kill_at, moment))
        running.end()
        one.about = f'before change {moment} of a name'
    one.read_output(running.text)
    whole = bytes_of(out)
    if job.adds:
        there = {name: fact for name, fact in facts_of(out).items() if wanted.get(name, fact) != fact}
        one.expect(not there, WRONG, f'{sorted(there)} are there and differ')
    else:
        waiting = job.in_place and any(READY_PREFIX in name for name in leftovers_of(folder))
        state = waiting or whole == earlier or facts_of(out) == wanted
        one.expect(state, LOST, f'neither the earlier nor the new results are whole: {sorted(whole)}')
    check_again(stage, job, one, out, wanted)
    shutil.rmtree(folder)


def check_again(stage: Stage, job: Job, one: Trial, out: Path, wanted: dict[str, str]) -> None:
    """Run the same command again and note what is not as after an undisturbed one.

    Args:
        stage: The stage.
        job: The command.
        one: The trial.
        out: Folder of the results.
        wanted: Facts of an undisturbed one.
    """
    again = stage.start(job.command(out))
    status = again.end()
    one.read_output(again.text)
    there = facts_of(out)
    # Where the results were complete already, one without --overwrite is right to refuse.
    refused = status == 2 and 'exist' in again.text and there == wanted
    one.expect(status == 0 or refused, LOST, f'the same command ends with {status}: {again.text}')
    differing = sorted(name for name in there.keys() | wanted.keys() if there.get(name) != wanted.get(name))
    one.expect(not differing, LOST, f'{differing} are not those of an undisturbed command')
    left = leftovers_of(out.parent)
    one.expect(not left, LOST, f'left over: {left}')
    # A killed child of the command must not go on.
    one.expect(not _is_open(out), LOST, 'a process still works in the folder')


def _is_open(folder: Path) -> bool:
    """Tell whether any process has a file below a folder open."""
    for process in os.listdir('/proc'):
        if process.isdigit():
            try:
                links = [os.readlink(entry.path) for entry in os.scandir(f'/proc/{process}/fd')]
            except OSError:
                continue
            if any(link.startswith(f'{folder}{os.sep}') for link in links):
                return True
    return False
