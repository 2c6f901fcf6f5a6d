"""How many pairs the input pipeline delivers, and how long devices of some speeds would wait for it.

    python -m experiments.speed.input_rate configs/cardiac_unsup.py=prepared/acdc \\
        configs/brain_unsup.py=prepared/brains --out=runs/input_rate.json

Reading, decompressing, checking, augmenting, batching and the transfer are those of training; the device is a clock:
it takes a fixed time for each step, no processor, and the loop stays as far ahead of it as `train.py` does. On CPU,
where a real step works on the cores that read, `experiments.speed.profile_step --loop` measures the share itself.
Each config is measured with the memory for frames that it asks for, once all that fit have been read, and without any,
as where a data set is much larger. Beside the record a Markdown table is written.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from autofuse_jax.data.frame_store import FrameStore
from autofuse_jax.errors import UserError, run_command
from autofuse_jax.files import write_json, write_text
from autofuse_jax.provenance import provenance
from autofuse_jax.reports.markdown import markdown_table
from autofuse_jax.sharding import put_batch
from autofuse_jax.training.experiment import Experiment
from autofuse_jax.training.loop import STEPS_AHEAD
from autofuse_jax.training.training_data import TrainingData, reading_threads
from experiments.record_parser import record_parser
from experiments.speed.profile_step import load_config

STEP_SECONDS = (0.05, 0.1, 0.2, 0.4)
BATCHES = 60
# Batches before a measurement: more than are prepared ahead, so that none of those is counted.
WARM_UP = 8
AS_CONFIGURED, READ_AGAIN = 'kept in memory', 'read each time'


class SimulatedDevice:
    """A device whose steps take a fixed time: when it is free, and how long it had nothing to do.

    Args:
        step_seconds: Of each step.
        clock: Returns seconds; default the clock of this machine.
        sleep: Waits some seconds; default on this machine.
    """

    def __init__(
        self,
        step_seconds: float,
        *,
        clock: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], None] = time.sleep,
    ):
        self._step_seconds = step_seconds
        self._clock, self._sleep = clock, sleep
        self._ends = [clock()]
        self._began = self._ends[0]
        self._idle = 0.0

    def step(self) -> None:
        """Hand it a step, and wait as the training loop does for the one `STEPS_AHEAD` before."""
        now, free = self._clock(), self._ends[-1]
        self._idle += max(0.0, now - free)
        self._ends.append(max(now, free) + self._step_seconds)
        if len(self._ends) > STEPS_AHEAD + 1:
            remaining = self._ends[-1 - STEPS_AHEAD] - self._clock()
            if remaining > 0:
                self._sleep(remaining)

    @property
    def idle_share(self) -> float:
        """Share of the time until the end of its last step in which it had nothing to do."""
        return self._idle / (self._ends[-1] - self._began)


def measure(next_batch: Callable[[], Any], step_seconds: Sequence[float], batches: int) -> dict[str, Any]:
    """Measure a pipeline alone and before devices of some speeds.

    Args:
        next_batch: Returns a batch that is on the device, or on its way.
        step_seconds: How long a step takes on each device.
        batches: Measured of each.

    Returns:
        'seconds': from one batch to the next where nothing else is done. 'idle': of each device 'step_seconds' and
        'share', the part of its time in which it waits.
    """
    for _ in range(WARM_UP):
        next_batch()
    started = time.perf_counter()
    for _ in range(batches):
        jax.block_until_ready(next_batch())
    seconds = (time.perf_counter() - started) / batches
    idle = []
    for length in step_seconds:
        for _ in range(WARM_UP):
            next_batch()
        device = SimulatedDevice(length)
        for _ in range(batches):
            next_batch()
            device.step()
        idle.append({'step_seconds': length, 'share': device.idle_share})
    return {'seconds': seconds, 'idle': idle}


def measure_config(config: ConfigDict, step_seconds: Sequence[float], batches: int) -> list[dict[str, Any]]:
    """Measure the first phase of a config with its frames in memory and without.

    Returns:
        Two times what `measure` returns, with 'frames', 'batch_size', 'shape', 'threads', 'cache_gib' and 'augmented'.
    """
    results = []
    with tempfile.TemporaryDirectory() as folder:
        experiment = Experiment(config, Path(folder))
        for frames, cache_gib in ((AS_CONFIGURED, config.data.cache_gib), (READ_AGAIN, 0.0)):
            data = _training_data(experiment, cache_gib)
            about = {
                'frames': frames,
                'batch_size': config.training.batch_size,
                'shape': list(experiment.grid),
                'threads': reading_threads(config.data.threads),
                'cache_gib': cache_gib,
                'augmented': experiment.augmentation.active,
            }

            def next_batch(data: TrainingData = data) -> dict[str, jax.Array]:
                return put_batch(data.next(), experiment.mesh)

            results.append(about | measure(next_batch, step_seconds, batches))
    return results


def _training_data(experiment: Experiment, cache_gib: float) -> TrainingData:
    """Return the batches of the first phase; what may be kept has been read."""
    store = FrameStore(experiment.manifest, experiment.grid, cache_gib)
    if cache_gib:
        for subject in experiment.manifest.subjects_of('train'):
            for frame in subject.frames:
                store.load(frame)
    data = experiment.training_data(store)
    data.start(experiment.phases[0])
    return data


def table(record: dict[str, Any]) -> str:
    """Return the record in Markdown: seconds a batch, and the share of its time that each device waits."""
    speeds = [device['step_seconds'] for device in record['results'][0]['idle']]
    rows = [
        [
            f'`{result["config"]}`',
            ' x '.join(map(str, result['shape'])),
            result['frames'],
            f'{result["seconds"]:.4f}',
            *(f'{100 * device["share"]:.1f}' for device in result['idle']),
        ]
        for result in record['results']
    ]
    return markdown_table(
        ['config', 'grid', 'frames', 'seconds a batch', *(f'waits, step of {speed:g} s, %' for speed in speeds)], rows
    )


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = record_parser(__doc__, beside='the table')
    parser.add_argument('configs', nargs='+', metavar='CONFIG[=DATA]', help='a config, and the folder of its data')
    parser.add_argument(
        '--step-seconds', type=float, nargs='+', default=STEP_SECONDS, help='of the devices; default %(default)s'
    )
    parser.add_argument('--batches', type=int, default=BATCHES, help='measured of each; default %(default)s')
    options = parser.parse_args(arguments)
    return run_command(lambda: _run(options))


def _run(options: argparse.Namespace) -> int:
    if options.batches < 1 or min(options.step_seconds) <= 0:
        raise UserError('--batches and --step-seconds must be above 0', fix='correct them')
    record = provenance() | {'results': []}
    for argument in options.configs:
        path, _, root = argument.partition('=')
        config = load_config(path).copy_and_resolve_references()
        config.data.root = root
        config.training.devices = 1
        for result in measure_config(config, options.step_seconds, options.batches):
            record['results'].append({'config': path} | result)
    write_json(options.out, record)
    about = f'`{record["command"]}`, commit {record["commit"]}, {record["machine"]["devices"]}, {record["date"]}'
    write_text(options.out.with_suffix('.md'), f'# The input pipeline\n\n{about}\n\n{table(record)}\n')
    print(table(record))
    return 0


if __name__ == '__main__':
    sys.exit(main())
