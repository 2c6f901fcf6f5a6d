"""Two commands at the same moment: one does its work, the other does or says who is there; a reader reads."""

import random
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from tests.reliability.campaign.contents import facts_of, leftovers_of
from tests.reliability.campaign.outcomes import LOST, WRONG, Trial, trial
from tests.reliability.campaign.stage import Job, Stage
from tests.reliability.campaign.trainings import Trainings

KIND = 'neighbours'
# Seconds by which the second command comes later, at most: the first one is at any of its places then.
LATER = 3.0
# What the second command may say: somebody is there, or was there.
REFUSALS = ('is in use by', 'exists')


def meet(stage: Stage, names: Sequence[str], each: int, rng: random.Random) -> list[Trial]:
    """Start each of some commands twice in one folder, so many times."""
    trials: list[Trial] = []
    for name in names:
        for _ in range(each):
            with trial(trials, KIND, f'{name} twice') as one:
                _meet(stage, stage.jobs()[name], one, rng)
    return trials


def _meet(stage: Stage, job: Job, one: Trial, rng: random.Random) -> None:
    folder = stage.folder(job.name)
    if job.earlier is not None:
        stage.run(job.earlier(folder / 'out'))
    wanted, later = stage.facts(job), rng.uniform(0, LATER) * rng.random()
    both = [stage.start(job.command(folder / 'out'))]
    time.sleep(later)
    both.append(stage.start(job.command(folder / 'out')))
    one.about = f'{later:.3f} s apart'
    statuses = [running.end() for running in both]
    for running, status in zip(both, statuses, strict=True):
        one.read_output(running.text)
        told = status == 0 or status == 2 and any(words in running.text for words in REFUSALS)
        one.expect(told, LOST, f'one ended with {status}: {running.text}')
    one.expect(0 in statuses, LOST, f'neither did its work: {statuses}')
    there = facts_of(folder / 'out')
    differing = sorted(name for name in there.keys() | wanted.keys() if there.get(name) != wanted.get(name))
    one.expect(not differing, WRONG, f'{differing} are not those of an undisturbed command')
    left = leftovers_of(folder)
    one.expect(not left, LOST, f'left over: {left}')
    shutil.rmtree(folder)


def read_while_training(trainings: Trainings, each: int, rng: random.Random) -> list[Trial]:
    """Train twice in one folder, and read a run while it trains, so many times for each command that reads.

    Args:
        trainings: Makes trainings and holds them against an undisturbed one.
        each: Number of trials of each command.
        rng: Source of the moments.

    Returns:
        The trials.
    """
    stage, trials = trainings.stage, []
    readers = {
        'training': lambda run, to: trainings.command(run),
        'evaluate-run': lambda run, to: [*trainings.command(run), '--mode=evaluate'],
        'port_weights': lambda run, to: [
            'autofuse_jax.port_weights',
            f'--from={run}',
            f'--to={to / "net.npz"}',
            '--naming=ours',
        ],
        'export': lambda run, to: [
            'autofuse_jax.export',
            f'--weights={run}',
            '--size=16,16,16',
            '--platforms=cpu',
            f'--to={to / "net.stablehlo"}',
        ],
    }
    for name, command in readers.items():
        for _ in range(each):
            with trial(trials, KIND, f'{name} while training') as one:
                run = trainings.folder()
                training = stage.start(trainings.command(run))
                reads = 0
                # Before that there is no run to read.
                training.wait(until=(run / 'config.json').is_file)
                while not training.ended:
                    to = run.parent / f'read{reads}'
                    reads += 1
                    training.wait(seconds=rng.uniform(0, LATER))
                    _read(stage, one, command(run, to), to)
                one.about = f'{reads} times'
                one.expect(training.end() == 0, LOST, f'the training ended with {training.end()}: {training.text}')
                one.read_output(training.text)
                trainings.check(one, run)
    return trials


def _read(stage: Stage, one: Trial, command: list[str], to: Path) -> None:
    reader = stage.start(command)
    status = reader.end()
    one.read_output(reader.text)
    told = status == 0 or status == 2 and any(words in reader.text for words in ('is in use by', 'no checkpoint'))
    one.expect(told, LOST, f'the reader ended with {status}: {reader.text}')
    one.expect(not (status and to.exists()), LOST, f'a reader that was refused left {to.name}')
