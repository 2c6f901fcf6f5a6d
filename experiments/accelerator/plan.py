"""What is done with an accelerator, as commands of this project: at full size, or as a tiny rehearsal on a CPU."""

import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autofuse_jax.files import write_json
from experiments.accelerator.parts import PARTIAL, SECONDS_PER_MINUTE, Part

CONFIG = 'configs/cardiac_semi.py'
NETWORKS = 'tests/torch_networks.py'
WEIGHTS = 'cardiac_accelerator'
SPLIT = 'validation'
# Minutes of a training's budget that opening the data, the last checkpoint and the evaluation at its end take.
AROUND_TRAINING = 1.5
# Share of the training's time that is planned for steps; the rest is for compiling and validations.
STEP_SHARE = 0.85
VALIDATIONS = 5
# Share of the time for the choice of a batch size that compiling may take.
COMPILE_SHARE = 0.7
MINUTES_PER_HOUR = 60
# PyTorch has memory of its own in the same process.
SHARED_MEMORY = 'XLA_PYTHON_CLIENT_MEM_FRACTION=0.45'


@dataclasses.dataclass(frozen=True)
class Scale:
    """How large everything is.

    Attributes:
        training: Settings of the config besides those that are measured.
        batch_sizes: Numbers of pairs of a step to choose from.
        batch_size_minutes: Time in which one is chosen; most of it for compiling.
        benchmarks: Arguments of the benchmark by name of the part.
        together: Arguments of the registration of several pairs together.
    """

    training: Mapping[str, Any]
    batch_sizes: tuple[int, ...]
    batch_size_minutes: float
    benchmarks: Mapping[str, Sequence[str]]
    together: Sequence[str]


FULL = Scale(
    training={'training.precision': 'bfloat16', 'training.devices': 1, 'training.log_every': 100},
    batch_sizes=(1, 2, 4),
    batch_size_minutes=1.75,
    benchmarks={
        'benchmark_cardiac': ('--sizes=128x128x32', '--precisions=default,bfloat16', '--compile', '--jobs=2'),
        'benchmark_brain': ('--sizes=144x192x160', '--precisions=default,bfloat16', '--compile', '--jobs=2'),
    },
    together=('--pairs=8', '--together', '1', '8'),
)
# Synthetic hearts, unless data is named. No CPU computes in bfloat16, and compiling networks takes minutes there.
PHANTOM = {
    'data.source': 'phantom',
    'data.phantom.train': 2,
    'data.phantom.validation': 1,
    'data.phantom.test': 1,
    'data.phantom.frames': 4,
    'data.phantom.shape': (32, 32, 16),
}
FIELDS = ('--only', 'warp', 'NCC', '--repeats=1')
REHEARSAL = Scale(
    training={
        'training.devices': 1,
        'model.base_channels': 2,
        'model.large_kernel': False,
        'phases.phase_1.steps': 8,
        'phases.phase_2.steps': 2,
    },
    batch_sizes=(1, 2),
    # As long as it takes: compilers are slow on a CPU that others use too.
    batch_size_minutes=20.0,
    benchmarks={
        'benchmark_cardiac': ('--sizes=16x16x16', *FIELDS),
        'benchmark_brain': ('--sizes=16x24x16', *FIELDS),
    },
    together=('--shape', '24', '24', '8', '--pairs=2', '--together', '1', '2'),
)


def steps_that_fit(steps: Mapping[str, int], minutes: float, step_seconds: float) -> dict[str, int]:
    """Return the steps of the phases, all shortened by the same share where they do not fit.

    Args:
        steps: Steps of each phase that the config asks for.
        minutes: Time of training.
        step_seconds: Time of a step.

    Returns:
        At least one step of each.
    """
    share = STEP_SHARE * minutes * SECONDS_PER_MINUTE / step_seconds / sum(steps.values())
    return {name: max(1, int(min(share, 1.0) * asked)) for name, asked in steps.items()}


def measured_settings(record: Mapping[str, Any] | None, minutes: float) -> dict[str, Any]:
    """Return the settings that follow from the measurement of batch sizes.

    Args:
        record: Of that measurement; None where there is none.
        minutes: Time of training.

    Returns:
        Fields of the config. Where no step was measured: the config's batch size, and as many steps as the time allows.
    """
    if record is None:
        return {}
    phases = record['phases']
    pairs = {f'phases.{name}.pairs': phase['pairs'] for name, phase in phases.items()}
    if record['batch_size'] is None:
        return pairs
    steps = steps_that_fit({name: phase['steps'] for name, phase in phases.items()}, minutes, record['step_seconds'])
    every = max(1, sum(steps.values()) // VALIDATIONS)
    settings = {f'phases.{name}.steps': number for name, number in steps.items()}
    cadence = {'training.validate_every': every, 'training.checkpoint_every': every}
    return pairs | settings | cadence | {'training.batch_size': record['batch_size']}


def parts_of(
    scale: Scale,
    out: Path,
    work: Path,
    *,
    data: Path | None,
    training_minutes: float,
    more: Sequence[str] = (),
) -> list[Part]:
    """Return all parts in their order.

    Args:
        scale: `FULL` or `REHEARSAL`.
        out: Folder of the results.
        work: Folder for all else: checkpoints, pictures, compiled programs.
        data: Prepared data; None: the phantom.
        training_minutes: Time for training alone.
        more: Further arguments of the training, which come last and win.
    """
    run, record = work / 'training', work / 'batch_size.json'
    remembered = work / 'training_arguments.json'
    evaluation, weights = run / f'evaluation_{SPLIT}' / 'result.json', work / f'{WEIGHTS}.npz'
    root = {'data.root': str(data)} if data else PHANTOM | {'data.root': str(work / 'phantom')}
    places = {'training.compilation_cache': str(work / 'compiled'), 'evaluation.split': SPLIT}
    settings = root | dict(scale.training) | places
    config = [f'--config={CONFIG}', *_arguments(settings)]

    def measure_batches(_: float) -> list[list[str]]:
        limit = COMPILE_SHARE * scale.batch_size_minutes
        sizes = [f'--compile-minutes={limit:.2f}', '--sizes', *map(str, scale.batch_sizes)]
        return [[*_python('experiments.accelerator.batch_size'), f'--out={record}', *sizes, '--', *config, *more]]

    def training(minutes: float) -> list[list[str]]:
        # An evaluation of fewer steps would be taken for that of this training.
        evaluation.unlink(missing_ok=True)
        time = max(minutes - AROUND_TRAINING, minutes / 2)
        fit = measured_settings(_read(out, record.name), time) | {'training.max_minutes': round(time, 2)}
        arguments = [f'--workdir={run}', *config, *_arguments(fit), *more]
        write_json(remembered, arguments)
        return [[*_python('autofuse_jax.main'), *arguments]]

    def evaluate(_: float) -> list[list[str]]:
        if evaluation.is_file():
            # Training that ends by itself evaluates at its end.
            return []
        arguments = json.loads(remembered.read_text(encoding='utf-8')) if remembered.is_file() else config
        return [[*_python('autofuse_jax.main'), *arguments, '--mode=evaluate']]

    def ship(_: float) -> list[list[str]]:
        if not evaluation.is_file():
            # Without scores there is no card, but the weights are kept.
            return [[*_python('autofuse_jax.port_weights'), f'--from={run}', f'--to={weights}', '--naming=ours']]
        hours = json.loads(evaluation.read_text(encoding='utf-8'))['training_minutes'] / MINUTES_PER_HOUR
        command = [*_python('experiments.weights.ship_weights'), f'--run={run}', f'--name={WEIGHTS}', f'--out={work}']
        return [[*command, f'--split={SPLIT}', f'--processor-hours={hours:.2f}']]

    described = {weights.with_suffix(suffix): f'{WEIGHTS}{suffix}' for suffix in ('.npz', '.json', '.md')}
    training_results = {run / 'metrics.jsonl': 'training_metrics.jsonl'}
    parts = [
        Part('batch_size', scale.batch_size_minutes, 0.2, measure_batches, {record: record.name}),
        Part('training', training_minutes + AROUND_TRAINING, 0.5, training, training_results),
        Part('evaluation', 1.0, 0.2, evaluate, {evaluation: 'evaluation.json'}),
        Part('weights', 0.5, 0.2, ship, described),
    ]
    for name, arguments in scale.benchmarks.items():
        target = work / f'{name}.json'
        command = ['env', SHARED_MEMORY, *_python('experiments.benchmark'), f'--official={NETWORKS}']
        command += [f'--out={target}', *arguments]
        results = {target: target.name, target.with_suffix('.md'): f'{name}.md'}
        parts.append(Part(name, 3.0, 1.0, lambda _, command=command: [command], results))
    pairs = work / 'pairs_together.json'
    register = [*_python('experiments.speed.pairs_together'), f'--out={pairs}', *scale.together]
    parts.append(Part('pairs_together', 1.5, 0.5, lambda _: [register], {pairs: pairs.name}))
    return parts


def _read(out: Path, name: str) -> dict[str, Any] | None:
    """Return a record, or what there is of it."""
    for path in (out / name, out / f'{PARTIAL}{name}'):
        if path.is_file():
            return json.loads(path.read_text(encoding='utf-8'))
    return None


def _python(module: str) -> list[str]:
    return [sys.executable, '-m', module]


def _arguments(settings: Mapping[str, Any]) -> list[str]:
    return [f'--config.{name}={str(value).replace(" ", "")}' for name, value in settings.items()]
