"""Training and evaluation of a registration method from a config: the whole path in one place."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from autofuse_jax.data.pair_policies import LABELLED_FRAMES
from autofuse_jax.errors import DivergedError
from autofuse_jax.methods.base import Batch
from autofuse_jax.progress import format_duration
from autofuse_jax.sharding import put_batch
from autofuse_jax.training import checkpoint_folders, checkpoints
from autofuse_jax.training.compiled_steps import CompiledSteps
from autofuse_jax.training.distributed import is_first, largest_of_all
from autofuse_jax.training.experiment import Experiment, training_folder
from autofuse_jax.training.final_report import report_run
from autofuse_jax.training.metrics_log import MetricsWriter, Progress
from autofuse_jax.training.phases import Phase
from autofuse_jax.training.run_record import REGISTRATION_MEASURE, SEGMENTATION_MEASURE
from autofuse_jax.training.run_start import start_of
from autofuse_jax.training.scoring_config import config_for_scoring
from autofuse_jax.training.step import StepFunction
from autofuse_jax.training.stopping import Ending, StopRequest
from autofuse_jax.training.validation import summarise

# Steps handed to the device before the host waits for one: enough to keep it busy, few enough that a stop is prompt.
STEPS_AHEAD = 2
# What interrupts the steps now and then.
PAUSES = VALIDATION, CHECKPOINT = 'validation', 'checkpoint'


def train_and_evaluate(config: ConfigDict, workdir: str | Path) -> dict[str, float] | None:
    """Train, or continue training, and report on the evaluation split.

    Writes into the work folder: config.json (resolved), metrics.jsonl, checkpoints/, and at the end the report.

    Args:
        config: Config, see configs/default.py.
        workdir: The run's folder. Training continues from its latest checkpoint if it has one.

    Returns:
        Means over the evaluation pairs with the best parameters; None where a signal ended training early.

    Raises:
        DivergedError: A loss or a gradient is not finite any more.
        UserError: Config, data or checkpoint are wrong.
        OSError: Something could not be written; the last complete checkpoint is kept.

    Example:
        >>> from autofuse_jax.configs import quickstart
        >>> config = quickstart.get_config()
        >>> config.model.base_channels = 2
        >>> config.data.phantom.update({'train': 1, 'validation': 1, 'test': 1, 'frames': 3, 'shape': (32, 32, 16)})
        >>> config.phases.phase_1.steps, config.phases.phase_2.steps, config.optimizer.warmup_steps = 1, 1, 0
        >>> config.training.devices = 1
        >>> means = train_and_evaluate(config, 'runs/quickstart')  # doctest: +ELLIPSIS
        DSC %...
        >>> 0 < means['dsc_after'] <= 1
        True
    """
    workdir = Path(workdir)
    with training_folder(config, workdir) as confirm:
        experiment = Experiment(config, workdir)
        return report_run(experiment) if _train(experiment, confirm) else None


def evaluate(config: ConfigDict, workdir: str | Path) -> dict[str, float]:
    """Report on the evaluation split with the best parameters of a run.

    Where the folder has no checkpoint and the config names a file of weights, those are evaluated.

    Args:
        config: Config, see configs/default.py; the model must be the one of the run.
        workdir: The run's folder.

    Returns:
        Means over the evaluation pairs.

    Raises:
        UserError: Config, data or checkpoint are wrong.
        OSError: The report could not be written.
    """
    config, remarks = config_for_scoring(config)
    for remark in remarks:
        _say(remark)
    return report_run(Experiment(config, Path(workdir)))


def _train(experiment: Experiment, confirm: Callable[[], None]) -> bool:
    """Train, and leave nothing of the training on the devices; see `Trainer.run`."""
    with experiment.computing():
        return Trainer(experiment, confirm).run()


class Trainer:
    """The training loop of one invocation.

    `__init__` finds or makes the state that training goes on from; `run` sets what belongs to its time: the progress
    line, the writer of metrics and the clocks.

    Args:
        experiment: Experiment to train. Where its work folder has a checkpoint, training continues from it.
        confirm: Function that is called before anything is saved and raises where another process has the folder now.

    Raises:
        UserError: The checkpoint belongs to another architecture or is damaged.
    """

    def __init__(self, experiment: Experiment, confirm: Callable[[], None] = lambda: None):
        self._experiment, self._confirm = experiment, confirm
        self._training = experiment.config.training
        self._data = experiment.training_data()
        self._predictor = experiment.predictor('validation')
        self._state, so_far = start_of(experiment, _say)
        self._best, self._measure = so_far.best, so_far.measure
        self._seconds_before = so_far.seconds
        # The place in the data belongs to a phase; `_run_phase` hands it over once that phase starts.
        self._data_state = so_far.data
        self._window = so_far.window  # Metrics of the steps since the last logged row.
        # Steps count over all phases and invocations; this invocation begins at the first step.
        self._step = self._first_step = int(self._state.step)
        # Steps of this invocation since the last row, and whether the next step is the first of a phase or a program.
        self._row_steps, self._fresh = 0, True
        self._ending = Ending.NONE

    def run(self) -> bool:
        """Train to the last step or until something asks for an end.

        Returns:
            True where training is complete or its time budget is used up; False where a signal ended it.
        """
        experiment, training = self._experiment, self._training
        labelled, total = len(self._data.labelled_ids), len(experiment.manifest.subjects_of('train'))
        _say(f'{total} training subjects, labels used of {labelled}')
        self._progress = Progress(experiment.total_steps, first_step=self._step)
        self._steps = CompiledSteps(experiment, self._progress.say)
        writer = MetricsWriter(experiment.workdir, step=self._step, tensorboard=training.tensorboard, active=is_first())
        with writer as self._writer, StopRequest(training.max_minutes) as stop, self._progress.watched():
            self._started = time.monotonic()
            for phase in experiment.phases:
                # Phases that an earlier invocation completed lie before the step; the first other one may be half done.
                if self._step < phase.end and not self._ending:
                    self._run_phase(phase, stop)
            if self._ending and self._step < experiment.total_steps:
                # The checkpoint takes the open window along, which no row has yet.
                self._flush()
                self._save()
                reason = stop.reason or 'another process asked for it'
                self._progress.say(f'ending at step {self._step}: {reason}; the same command continues from here')
            return self._ending != Ending.SIGNAL

    def _run_phase(self, phase: Phase, stop: StopRequest) -> None:
        training, mesh = self._training, self._experiment.mesh
        self._progress.say(f'{phase.name}: steps {phase.first + 1} to {phase.end}, pairs {phase.pairs}')
        self._data.start(phase, self._data_state)
        self._row_started, self._row_steps, self._fresh = time.monotonic(), 0, True
        self._ask_for_an_end(stop)
        while self._step < phase.end and not self._ending:
            batch = put_batch(self._data.next(), mesh)
            step_function = self._step_function(phase, batch)
            with jax.profiler.StepTraceAnnotation('train', step_num=self._step):
                self._state, metrics = step_function(self._state, batch)
            # Numbers of a step that may still be running: `_flush` waits for them.
            self._window.append(metrics)
            self._step += 1
            self._row_steps += 1
            if self._fresh:
                # Steps that follow take as long as each other.
                jax.block_until_ready(metrics)
                self._progress.measure_from(self._step)
                self._fresh = False
            if self._step == self._first_step + 1 or self._progress.is_due():
                self._show(self._window[-1])
            if len(self._window) > STEPS_AHEAD:
                jax.block_until_ready(self._window[-1 - STEPS_AHEAD])
            # The row and the validation of a step come before its checkpoint, so that a resume repeats neither. A phase
            # ends with a row and a checkpoint: no window reaches over two phases.
            last = self._step == phase.end
            if self._step % training.log_every == 0 or last:
                self._log()
            if self._step % training.validate_every == 0 or self._step == self._experiment.total_steps:
                self._validate(phase)
            if self._step % training.checkpoint_every == 0 or last:
                self._save()
            self._ask_for_an_end(stop)

    def _ask_for_an_end(self, stop: StopRequest) -> None:
        """Find out whether to end now; the shortest time budget allows one step, so that each invocation gets further.

        Several processes must end at the same step. Asking each other keeps the devices waiting, so that they do so
        only where a row is logged.
        """
        here = stop.ending
        if here == Ending.BUDGET and self._step == self._first_step:
            here = Ending.NONE
        if jax.process_count() == 1:
            self._ending = here
        elif self._step % self._training.log_every == 0:
            self._ending = Ending(largest_of_all(here))

    def _step_function(self, phase: Phase, batch: Batch) -> StepFunction:
        """The compiled step of a phase. The speed of the row should not suffer from the compiler."""
        step_function, seconds = self._steps.step_of(phase, self._state, batch)
        if seconds:
            self._progress.leave_out(seconds)
            self._row_started += seconds
            self._fresh = True
        return step_function

    def _flush(self) -> None:
        """Bring the metrics of the last steps to the host and stop if one is not finite."""
        self._window = [{name: float(value) for name, value in row.items()} for row in jax.device_get(self._window)]
        first = self._step - len(self._window) + 1
        for number, row in enumerate(self._window, first):
            broken = [name for name, value in row.items() if not np.isfinite(value)]
            if broken:
                terms = [name for name in broken if name.startswith('term/')] or broken
                saved = checkpoint_folders.latest_step(self._experiment.workdir)
                raise DivergedError(
                    f'at step {number} these are not finite any more: {", ".join(sorted(terms))}',
                    fix=f'lower optimizer.learning_rate or set optimizer.clip_norm and run again; training continues '
                    f'from {"the start" if saved is None else f"step {saved}"}',
                )

    def _log(self) -> None:
        self._flush()
        # Steps before an interruption may have had other terms, where the config was changed for the continuation.
        names = dict.fromkeys(name for row in self._window for name in row)
        means = {name: float(np.mean([row[name] for row in self._window if name in row])) for name in names}
        means['learning_rate'] = float(self._experiment.schedule(self._step - 1))
        speed = self._show(means)
        self._writer.write(self._step, 'train', means | {'pairs_per_second': speed})
        self._window = []
        self._row_started, self._row_steps = time.monotonic(), 0

    def _show(self, metrics: dict[str, Any]) -> float:
        """Write the progress line with metrics of a step or means of some, and return pairs a second."""
        values = {name: float(value) for name, value in jax.device_get(metrics).items()}
        # The window may hold steps of an earlier invocation, whose time nobody knows here.
        seconds = time.monotonic() - self._row_started
        speed = self._row_steps * self._training.batch_size / max(seconds, 1e-9)
        total, every = self._experiment.total_steps, (self._training.validate_every, self._training.checkpoint_every)
        ahead = {pause: total // steps - self._step // steps for pause, steps in zip(PAUSES, every, strict=True)}
        self._progress.report(self._step, speed, values, ahead)
        return speed

    def _validate(self, phase: Phase) -> None:
        self._flush()
        started = time.monotonic()
        means = summarise(self._experiment.score(self._predictor, self._state.evaluated))
        before, after, njd = means['dsc_before'], means['dsc_after'], means['njd_percent']
        self._writer.write(self._step, 'validation', means)
        self._progress.note_validation(after, njd)
        segmented = (
            f', segmentation DSC {100 * means[SEGMENTATION_MEASURE]:.1f} %' if SEGMENTATION_MEASURE in means else ''
        )
        self._progress.say(
            f'validation at step {self._step}: DSC {100 * before:.1f} -> {100 * after:.1f} %, NJD {njd:.3f} %'
            f'{segmented} ({format_duration(time.monotonic() - started)})'
        )
        measure = SEGMENTATION_MEASURE if phase.pairs == LABELLED_FRAMES else REGISTRATION_MEASURE
        if measure != self._measure:
            # What the phases before are measured by cannot be compared.
            self._best, self._measure = float('-inf'), measure
        # Without labels in the validation split there is no score, and the latest parameters count.
        score = means.get(measure, float('nan'))
        if score > self._best:
            self._best = score
            self._confirm()
            checkpoints.save_best(self._experiment.workdir, self._state, self._record())
        self._pause(VALIDATION, started)

    def _save(self) -> None:
        self._flush()
        if checkpoint_folders.latest_step(self._experiment.workdir) == self._step:
            # What is there would be removed first.
            return
        started = time.monotonic()
        self._confirm()
        checkpoints.save(self._experiment.workdir, self._state, self._record())
        self._pause(CHECKPOINT, started)

    def _pause(self, kind: str, started: float) -> None:
        """Seconds of validation and saving are not those of the steps in the row."""
        seconds = time.monotonic() - started
        self._row_started += seconds
        self._progress.pause(kind, seconds)

    def _record(self) -> dict[str, Any]:
        return {
            'config': self._experiment.resolved,
            'best': self._best if np.isfinite(self._best) else None,
            'measure': self._measure,
            'train_seconds': self._seconds_before + time.monotonic() - self._started,
            'data': self._data.get_state(),
            'window': self._window,
            'labelled_subjects': len(self._data.labelled_ids),
        }


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
