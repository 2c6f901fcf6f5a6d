"""Choose the number of pairs of a training step by measuring some, and see that the input pipeline keeps up with it.

    python -m experiments.accelerator.batch_size --sizes 1 2 4 --out=RECORD.json -- --config=configs/cardiac_semi.py ...

What stands after `--` is what `autofuse_jax.main` will be given. All steps are compiled at the same time, then run one
after the other, the smallest first, without those that the compiler has not finished by then. The record is written
after each, so that an early end leaves those measured.
"""

import argparse
import concurrent.futures
import dataclasses
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from autofuse_jax.data.frame_cache import BYTES_PER_GIB
from autofuse_jax.data.open_dataset import open_dataset
from autofuse_jax.data.pair_policies import pair_source
from autofuse_jax.data.pairs import labelled_subject_ids
from autofuse_jax.errors import COUNT, POSITIVE, UserError, check_numbers, check_option, run_command
from autofuse_jax.files import write_json
from autofuse_jax.main import parse
from autofuse_jax.provenance import provenance
from autofuse_jax.runtime import keep_compiled_programs
from autofuse_jax.sharding import put_batch, replicated
from autofuse_jax.training.experiment import Experiment
from autofuse_jax.training.memory import check_compiled_fits, check_step_fits
from autofuse_jax.training.phases import phases_of
from autofuse_jax.training.step import compile_train_step
from autofuse_jax.training.stopping import SECONDS_PER_MINUTE
from experiments.record_parser import record_parser
from experiments.speed.input_rate import measure

# Smaller batches make more steps of the same time: one is taken that reaches this share of the best throughput.
GOOD_SHARE = 0.9
WARM_UP, STEPS, BATCHES = 3, 10, 20
ED_ES = 'ed_es'
Measured = dict[str, Any]


@dataclasses.dataclass
class Candidate:
    """A batch size that is measured.

    Attributes:
        experiment: Config with that size, opened.
        batch: Pairs on the device.
        compiled: Training step.
        compile_seconds: Time that the compiler took, beside others.
    """

    experiment: Experiment
    batch: dict[str, jax.Array]
    compiled: jax.stages.Compiled
    compile_seconds: float


def choose(measured: Sequence[Measured]) -> Measured | None:
    """Return the smallest batch with at least `GOOD_SHARE` of the best throughput; None where no step could be run.

    Args:
        measured: Of each candidate 'batch_size' and, where it was run, 'pairs_per_second'.
    """
    run = [one for one in measured if 'pairs_per_second' in one]
    best = max((one['pairs_per_second'] for one in run), default=0.0)
    good = [one for one in run if one['pairs_per_second'] >= GOOD_SHARE * best]
    return min(good, key=lambda one: one['batch_size'], default=None)


def servable_phases(config: ConfigDict) -> dict[str, dict[str, Any]]:
    """Return 'steps' and 'pairs' of the phases by name; those whose pairs the data has not take ED and ES.

    Args:
        config: With `data.root`.

    Raises:
        UserError: There is no such data.
    """
    data = config.data
    manifest = open_dataset(data.source, data.root, data.phantom.to_dict())
    labelled = labelled_subject_ids(manifest.subjects_of('train'), count=data.labelled_subjects, seed=config.seed)
    phases = {}
    for phase in phases_of(config):
        pairs = phase.pairs
        try:
            pair_source(pairs, manifest, 'train', labelled)
        except UserError as error:
            print(f'{phase.name}: {error} Here it takes {ED_ES!r} instead.', file=sys.stderr)
            pairs = ED_ES
        phases[phase.name] = {'steps': phase.end - phase.first, 'pairs': pairs}
    return phases


def prepare_candidate(experiment: Experiment, state: Any) -> Candidate:
    """Draw a batch and compile the training step of the first phase as the training loop does.

    Raises:
        UserError: The device cannot hold the step.
    """
    phase = experiment.phases[0]
    data = experiment.training_data()
    data.start(phase)
    with experiment.computing():
        batch = put_batch(data.next(), experiment.mesh)
        objectives, devices = experiment.method.objectives(phase.name), experiment.mesh.size
        kept = experiment.method_in_memory().objectives(phase.name)
        check_step_fits(kept, state, batch, devices=devices, platform=experiment.mesh.devices.flat[0].platform)
        started = time.perf_counter()
        decay = experiment.config.optimizer.average_decay
        step = compile_train_step(objectives, experiment.optimizer, experiment.mesh, decay)
        compiled = step.lower(state, batch).compile()
        check_compiled_fits(compiled, batch, devices=devices)
    return Candidate(experiment, batch, compiled, time.perf_counter() - started)


def time_step(candidate: Candidate, state: Any) -> tuple[Measured, Any]:
    """Time a step on one batch; returns what was measured and the state after it, the given one is used up."""
    for number in range(WARM_UP + STEPS):
        if number == WARM_UP:
            jax.block_until_ready(state)
            started = time.perf_counter()
        state, _ = candidate.compiled(state, candidate.batch)
    jax.block_until_ready(state)
    seconds = (time.perf_counter() - started) / STEPS
    pairs = candidate.experiment.config.training.batch_size
    return {'step_seconds': seconds, 'pairs_per_second': pairs / seconds}, state


def input_rate(experiment: Experiment, step_seconds: float) -> dict[str, Any]:
    """Measure how long a device of this speed waits for pairs once all frames have been read.

    Args:
        experiment: With the chosen batch size.
        step_seconds: Of a training step.

    Returns:
        'seconds' a batch, 'idle' share of the device, 'frames_gib' of the training frames in memory, and 'cache_gib'
        that they may take: where the first is larger, frames are read again and again.
    """
    frames = [frame for subject in experiment.manifest.subjects_of('train') for frame in subject.frames]
    with concurrent.futures.ThreadPoolExecutor() as pool:
        loaded = list(pool.map(experiment.store.load, frames))
    held = sum(array.nbytes for arrays in loaded for array in arrays if array is not None)
    data = experiment.training_data()
    data.start(experiment.phases[0])
    measured = measure(lambda: put_batch(data.next(), experiment.mesh), [step_seconds], BATCHES)
    return {
        'seconds': measured['seconds'],
        'idle': measured['idle'][0]['share'],
        'frames_gib': held / BYTES_PER_GIB,
        'cache_gib': experiment.config.data.cache_gib,
    }


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = record_parser(__doc__)
    parser.add_argument('--sizes', type=int, nargs='+', required=True, help='pairs of a step')
    parser.add_argument('--compile-minutes', type=float, default=1.2, help='for all; default %(default)s')
    parser.add_argument('training', nargs='+', metavar='ARGUMENT', help='of autofuse_jax.main, after --')
    options = parser.parse_args(arguments)
    return run_command(lambda: _run(options))


def _run(options: argparse.Namespace) -> None:
    check_numbers('--sizes', options.sizes, COUNT)
    check_option('--compile-minutes', options.compile_minutes, POSITIVE)
    invocation = parse(options.training)
    if invocation is None:
        raise UserError('only help was asked for', fix='name a config')
    config = invocation.config
    keep_compiled_programs(config.training.compilation_cache)
    with tempfile.TemporaryDirectory() as folder:
        phases = servable_phases(config)
        record = provenance() | {'phases': phases, 'candidates': [], 'batch_size': None}
        # Which pairs the data has is of use even where nothing can be measured.
        write_json(options.out, record)
        experiments = {}
        for size in sorted(set(options.sizes)):
            settings = {f'phases.{name}.pairs': phase['pairs'] for name, phase in phases.items()}
            one = config.copy_and_resolve_references()
            one.update_from_flattened_dict(settings | {'training.batch_size': size})
            experiments[size] = Experiment(one, Path(folder))
        _measure(experiments, record, options.out, SECONDS_PER_MINUTE * options.compile_minutes)


def _measure(experiments: Mapping[int, Experiment], record: dict[str, Any], out: Path, compile_seconds: float) -> None:
    """Measure all sizes and write the record after each."""
    first = next(iter(experiments.values()))
    with first.computing():
        state = first.create_state(replicated(first.mesh))
    with concurrent.futures.ThreadPoolExecutor(len(experiments)) as pool:
        # The arrays themselves are used up by the first step, while others may still be compiled.
        shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state)
        waiting = {size: pool.submit(prepare_candidate, one, shapes) for size, one in experiments.items()}
        # Autotuning would disturb what is timed meanwhile.
        concurrent.futures.wait(waiting.values(), compile_seconds)
        for size, future in waiting.items():
            about: Measured = {'batch_size': size}
            try:
                candidate = future.result(timeout=0)
            except (UserError, TimeoutError) as error:
                record['candidates'].append(about | {'not_run': str(error) or 'not compiled in time'})
                write_json(out, record)
                continue
            measured, state = time_step(candidate, state)
            record['candidates'].append(about | {'compile_seconds': candidate.compile_seconds} | measured)
            chosen = choose(record['candidates'])
            record |= {'batch_size': chosen['batch_size'], 'step_seconds': chosen['step_seconds']}
            write_json(out, record)
            seconds, rate = measured['step_seconds'], measured['pairs_per_second']
            print(f'{size} pairs: {seconds:.4f} s, {rate:.2f} pairs/s', flush=True)
    if record['batch_size'] is None:
        reasons = '; '.join(f'{one["batch_size"]}: {one["not_run"]}' for one in record['candidates'])
        raise UserError(f'no step could be run ({reasons})', fix='name smaller --sizes, or set model.remat')
    record['input'] = input_rate(experiments[record['batch_size']], record['step_seconds'])
    write_json(out, record)
    print(f'chosen: {record["batch_size"]} pairs; the device waits {100 * record["input"]["idle"]:.1f} % for pairs')


if __name__ == '__main__':
    sys.exit(main())
