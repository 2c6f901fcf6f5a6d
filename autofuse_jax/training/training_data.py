"""The training batches of a run, phase by phase, and their position for exact resumption."""

from typing import Any

import grain
import jax

from autofuse_jax.data.augment import Arrays, Augmentation
from autofuse_jax.data.batches import training_batches
from autofuse_jax.data.frame_store import FrameStore
from autofuse_jax.data.manifests import Manifest
from autofuse_jax.data.pair_policies import pair_source
from autofuse_jax.data.pairs import PairSource, labelled_subject_ids
from autofuse_jax.data.teacher_fields import TeacherFields
from autofuse_jax.errors import UserError
from autofuse_jax.runtime import available_cores
from autofuse_jax.training.phases import Phase

# Seeds of the phases are this far apart, so that neighbouring run seeds do not share them.
PHASE_SEED_STRIDE = 1_000_003
LARGEST_SEED = 2**32
# Reading threads that are started unasked.
MOST_THREADS = 16


def reading_threads(count: int) -> int:
    """Return how many threads read: as many as asked for, or one a core and at most `MOST_THREADS` where 0 are."""
    return count or min(available_cores(), MOST_THREADS)


class TrainingData:
    """Batches of the phases of a run.

    All phases are checked when this is made: a policy that the data cannot serve is told before training starts.

    Args:
        manifest: The prepared data.
        store: Frames on the network's grid.
        phases: Phases in order.
        batch_size: Pairs a step, all processes together.
        labelled_subjects: Training subjects whose labels may be used; -1 means all.
        augmentation: Limits of the random change of training pairs.
        seed: Seed of the run.
        threads: Reading threads; 0: one a core, at most `MOST_THREADS`.
        teacher: Velocities of the training pairs; None: there are none.

    Raises:
        UserError: The data has nothing for a phase, or labels that are hidden took part in the teacher.
    """

    def __init__(
        self,
        manifest: Manifest,
        store: FrameStore,
        phases: tuple[Phase, ...],
        *,
        batch_size: int,
        labelled_subjects: int,
        augmentation: Augmentation,
        seed: int,
        threads: int,
        teacher: TeacherFields | None = None,
    ):
        subjects = manifest.subjects_of('train')
        self.labelled_ids = labelled_subject_ids(subjects, count=labelled_subjects, seed=seed)
        self._teacher = teacher
        if teacher is not None and teacher.labelled_subjects - self.labelled_ids:
            raise UserError(
                f'labels of {len(teacher.labelled_subjects - self.labelled_ids)} training subjects that this run must '
                f'not use guided the teacher in {teacher.root}',
                expected='a teacher that was guided by the labels of data.labelled_subjects at most',
                fix='autofuse-jax teach with --labelled-subjects and --seed as in the config',
            )
        self._sources: dict[str, PairSource] = {
            phase.name: pair_source(phase.pairs, manifest, 'train', self.labelled_ids) for phase in phases
        }
        self._phases = phases
        self._store = store
        self._batch_size = batch_size
        self._augmentation = augmentation
        self._seed = seed
        self._threads = reading_threads(threads)
        self._phase: Phase | None = None
        self._iterator: grain.DatasetIterator | None = None

    def start(self, phase: Phase, state: dict[str, Any] | None = None) -> None:
        """Begin a phase, or continue it where a checkpoint left it.

        Args:
            phase: One of the run's phases.
            state: Result of `get_state`; ignored where it belongs to another phase.
        """
        number = self._phases.index(phase)
        self._phase = phase
        self._iterator = training_batches(
            self._sources[phase.name],
            self._store,
            batch_size=self._batch_size // jax.process_count(),
            augmentation=self._augmentation,
            crop=phase.crop,
            teacher=self._teacher,
            seed=(self._seed + PHASE_SEED_STRIDE * number) % LARGEST_SEED,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
            threads=self._threads,
        )
        if state is not None and state['phase'] == phase.name:
            self._iterator.set_state(state['iterator'])

    def next(self) -> Arrays:
        """Return the next batch of the current phase."""
        return next(self._iterator)

    def get_state(self) -> dict[str, Any]:
        """Return the position as a JSON-compatible dictionary."""
        return {'phase': self._phase.name, 'iterator': self._iterator.get_state()}
