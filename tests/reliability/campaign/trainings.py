"""Trainings that are killed and go on, held bit for bit against an undisturbed one."""

import json
import os
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.reliability.campaign.contents import leftovers_of
from tests.reliability.campaign.moments import kill_sometime, kill_while
from tests.reliability.campaign.outcomes import LOST, WRONG, Trial, trial
from tests.reliability.campaign.processes import Running, ask
from tests.reliability.campaign.stage import Stage

KIND = 'kills'
REPORT = 'evaluation_test'
# Seconds that a step, a checkpoint, a validation or a report takes here.
PART_SECONDS = 0.5
UNFINISHED = '.orbax-checkpoint-tmp'
# A training that is killed so often in a row is let go on to its end.
MOST_KILLS = 4


class Trainings:
    """Makes trainings of one small network and holds them against an undisturbed one.

    Args:
        stage: The stage.
    """

    def __init__(self, stage: Stage):
        self.stage = stage
        self._reference: dict[str, Any] | None = None
        self._seconds = 0.0

    def command(self, run: Path) -> list[str]:
        """Return the command that trains in a folder."""
        return self.stage.training(run)

    def folder(self) -> Path:
        """Return a new folder for a run, whose data is made by the training itself."""
        return self.stage.folder('training') / 'run'

    def reference(self) -> dict[str, Any]:
        """Return what an undisturbed training comes to; it is run twice, the first time to compile."""
        if self._reference is None:
            for _ in range(2):
                run = self.folder()
                started = time.monotonic()
                self.stage.run(self.command(run))
                self._seconds = time.monotonic() - started
                self._reference = ask(result_of, run, log=self.stage.log())
        return self._reference

    def check(self, one: Trial, run: Path) -> None:
        """Note what of a run that has ended differs from the undisturbed one, and remove it."""
        wanted = self.reference()
        try:
            result = ask(result_of, run, log=self.stage.log())
        except RuntimeError as error:
            one.expect(False, LOST, str(error))
        else:
            differing = sorted(name for name in wanted.keys() | result.keys() if wanted.get(name) != result.get(name))
            one.expect(not differing, WRONG, f'{differing} differ from those of an undisturbed training')
        left = leftovers_of(run.parent)
        one.expect(not left, LOST, f'left over: {left}')
        shutil.rmtree(run.parent)

    def kill(self, count: int, rng: random.Random) -> list[Trial]:
        """Kill trainings so many times, each several times on its way, and let them end."""
        self.reference()
        trials: list[Trial] = []
        moments = list(self._moments())
        while len(trials) < count:
            run = self.folder()
            chain = []
            for _ in range(min(rng.randint(1, MOST_KILLS), count - len(trials))):
                name = moments[len(trials) % len(moments)]
                with trial(trials, KIND, f'training, {name}') as one:
                    self._kill(one, run, name, rng)
                    chain.append(one)
            # The time and the faults of the end belong to the last kill.
            started = time.monotonic()
            running = self.stage.start(self.command(run))
            chain[-1].expect(running.end() == 0, LOST, f'the training ended with {running.end()}: {running.text}')
            chain[-1].read_output(running.text)
            self.check(chain[-1], run)
            chain[-1].seconds += time.monotonic() - started
        return trials

    def _moments(self) -> dict[str, Callable[[Path, Running], bool]]:
        """What begins in a folder when a part of a training does; None for any time."""
        return {
            'any time': lambda run, running: True,
            'while steps are taken': lambda run, running: 'step ' in running.text,
            'checkpoint': lambda run, running: any(run.glob(f'checkpoints/*/*{UNFINISHED}*')),
            'validation': lambda run, running: (
                'step 6/' in running.text or 'step 8/' in running.text or 'validation at step 9' in running.text
            ),
            'report': lambda run, running: 'evaluating the parameters' in running.text,
            'report is written': lambda run, running: any(run.glob(f'.writing-*{REPORT}*')),
        }

    def _kill(self, one: Trial, run: Path, name: str, rng: random.Random) -> None:
        before = _complete(run)
        running = self.stage.start(self.command(run))
        if name == 'any time':
            one.about = kill_sometime(running, rng, self._seconds)
        else:
            begins = self._moments()[name]
            one.about = kill_while(running, rng, lambda: begins(run, running), PART_SECONDS)
        one.read_output(running.text)
        after = _complete(run)
        one.expect(all(after[kind] >= step for kind, step in before.items()), LOST, f'{before} became {after}')
        _check_report(one, run)


def _complete(run: Path) -> dict[str, int]:
    """Return the latest complete checkpoint of each kind."""
    return {
        kind: max((int(name) for name in _names(run / 'checkpoints' / kind) if name.isdigit()), default=-1)
        for kind in ('latest', 'best')
    }


def _names(folder: Path) -> list[str]:
    return os.listdir(folder) if folder.is_dir() else []


def _check_report(one: Trial, run: Path) -> None:
    """A report that is there is whole."""
    if (run / REPORT).is_dir():
        try:
            record = json.loads((run / REPORT / 'result.json').read_text())
            one.expect('scores' in record, LOST, 'a report without scores')
        except (OSError, ValueError) as error:
            one.expect(False, LOST, f'a report that is not whole: {error}')


def _untimed(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if 'second' not in name}


def config_of(run: Path) -> Any:
    """Return the config that a run has written."""
    from ml_collections import ConfigDict

    from autofuse_jax.training.stored_config import read_config

    return ConfigDict(read_config(run / 'config.json', of_run=True))


def result_of(run: Path) -> dict[str, Any]:
    """Return what a run came to: hashes of its arrays, its rows of metrics, its scores. To be called with `ask`."""
    import hashlib

    import jax
    import numpy as np

    from autofuse_jax.training import checkpoints
    from autofuse_jax.training.checksums import leaf_names
    from autofuse_jax.training.experiment import Experiment
    from autofuse_jax.training.metrics_log import read_rows

    experiment = Experiment(config_of(run), run)
    layout = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    state, _ = checkpoints.restore(run, experiment.state_structure(), layout)
    best, record, step = checkpoints.load_params(run, experiment.state_structure().params, layout)
    arrays = leaf_names({'state': state, 'best': best})
    hashes = {name: hashlib.sha256(np.asarray(leaf).tobytes()).hexdigest() for name, leaf in arrays.items()}
    timed = {'pairs_per_second', 'seconds'}
    rows = [
        {name: value for name, value in row.items() if name not in timed} for row in read_rows(run / 'metrics.jsonl')
    ]
    scores = json.loads((run / REPORT / 'result.json').read_text())['scores']
    scores = {name: value for name, value in scores.items() if 'seconds' not in name}
    return hashes | {'rows': rows, 'best step': step, 'best score': record['best'], 'scores': scores}
