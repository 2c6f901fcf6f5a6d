"""Everything that a config describes, opened and checked."""

import contextlib
import functools
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import optax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from autofuse_jax.data.augment import Augmentation
from autofuse_jax.data.frame_store import FrameStore
from autofuse_jax.data.manifests import Manifest
from autofuse_jax.data.open_dataset import open_dataset
from autofuse_jax.data.pair_policies import pair_source
from autofuse_jax.data.teacher_fields import TeacherFields, open_teacher
from autofuse_jax.errors import UserError
from autofuse_jax.evaluation.case_scores import OnCase, Record, score_cases
from autofuse_jax.files import claim_folder
from autofuse_jax.methods.base import Method, Params
from autofuse_jax.methods.registry import make_method, section_options
from autofuse_jax.porting.convert import check_shapes, parameter_structure, unflatten
from autofuse_jax.sharding import DATA_AXIS, DEPTH_AXIS, make_mesh, replicated, single_sharded
from autofuse_jax.storage.locks import locked
from autofuse_jax.storage.temporary import remove_leftovers_in
from autofuse_jax.training.config_checks import check_against_data, validate
from autofuse_jax.training.config_differences import differing_fields
from autofuse_jax.training.distributed import first_process_first, is_first
from autofuse_jax.training.memory import kept_by_compiler
from autofuse_jax.training.official_switches import with_official_switches
from autofuse_jax.training.optimizers import check_multiples, make_optimizer, make_schedule
from autofuse_jax.training.phases import Phase, phases_of
from autofuse_jax.training.precision import check_precision, compute_dtype, products_in
from autofuse_jax.training.state import TrainState, create_train_state
from autofuse_jax.training.training_data import TrainingData
from autofuse_jax.training.validation import PairPredictor, PredictFunction, make_predict, training_protocol
from autofuse_jax.weights.released import read_released
from autofuse_jax.weights.shipped import weights_file


@contextlib.contextmanager
def training_folder(config: ConfigDict, workdir: Path) -> Iterator[Callable[[], None]]:
    """Hold the lock of a run's folder while it is trained, and remove what killed trainings left unfinished there.

    Args:
        config: Config of the run, which is checked before anything is made.
        workdir: The run's folder; made if missing.

    Yields:
        Function that raises InUseError where the lock is lost, for the moment before a checkpoint is written.

    Raises:
        UserError: The config is wrong, or another process trains in the folder; the message says which.
    """
    validate(with_official_switches(config))
    claim_folder(workdir, continues=True, option='--workdir')
    if not is_first():
        # Of several processes of a run one writes.
        yield lambda: None
        return
    with locked(workdir) as lock:
        remove_leftovers_in(workdir)
        yield lock.confirm


class Experiment:
    """Everything that a config describes, opened and checked: data, method, optimiser, devices.

    Args:
        config: The config.
        workdir: The run's folder; made if missing.

    Raises:
        UserError: The config or the data is wrong.
        OSError: The folder cannot be written.
    """

    def __init__(self, config: ConfigDict, workdir: Path):
        config = with_official_switches(config)
        validate(config)
        claim_folder(workdir, continues=True, option='--workdir')
        workdir.mkdir(parents=True, exist_ok=True)
        self.config = config
        self.workdir = workdir
        self.resolved = _resolved(config)
        root = config.data.root or (workdir / 'phantom' if config.data.source == 'phantom' else '')
        self.manifest: Manifest = first_process_first(
            lambda: open_dataset(config.data.source, root, config.data.phantom.to_dict())
        )
        self.grid = check_against_data(config, self.manifest)
        self.phases = phases_of(config)
        self.total_steps = self.phases[-1].end
        self.protocol = training_protocol(config.evaluation.jacobian_determinant)
        self.mesh: Mesh = make_mesh(config.training.devices, config.training.depth_devices)
        _check_shares(config.training.batch_size, self.grid, self.mesh)
        _check_parts(self.phases, self.mesh)
        self.augmentation = Augmentation(**config.data.augmentation.to_dict())
        self.store = FrameStore(self.manifest, self.grid, config.data.cache_gib)
        check_precision(config.training.precision, self.mesh.devices.flat[0])
        self.method: Method = self._make_method()
        self.schedule = make_schedule(
            config.optimizer.learning_rate,
            schedule=config.optimizer.schedule,
            warmup_steps=config.optimizer.warmup_steps,
            total_steps=self.total_steps,
        )
        self.optimizer: optax.GradientTransformation = make_optimizer(
            self.schedule, clip_norm=config.optimizer.clip_norm, multiples=tuple(config.optimizer.multiples)
        )
        if config.optimizer.multiples:
            check_multiples(config.optimizer.multiples, parameter_structure(self.method))

    def _make_method(self, **model: Any) -> Method:
        """Make the config's method, with some options of its section `model` replaced."""
        config = self.config
        return make_method(
            config.method,
            config.model.to_dict() | model,
            config.loss.to_dict(),
            config.inference.to_dict(),
            compute_dtype=compute_dtype(config.training.precision),
        )

    def method_in_memory(self) -> Method:
        """Return the method with which to estimate memory: it keeps for the reverse pass what the compiler keeps."""
        configured = (section_options(self.config.method, 'model') | self.config.model.to_dict()).get('remat')
        if configured is None:
            return self.method
        remat = kept_by_compiler(configured, self.mesh.devices.flat[0].platform)
        return self.method if remat == configured else self._make_method(remat=remat)

    @contextlib.contextmanager
    def computing(self) -> Iterator[None]:
        """Compute what is inside on the experiment's devices and in its precision."""
        with jax.set_mesh(self.mesh), products_in(self.config.training.precision):
            yield

    def create_state(self, layout: jax.sharding.Sharding) -> TrainState:
        """Return the state at step 0, built where it will live."""
        key = jax.random.key(self.config.seed)
        return jax.jit(self._create_state, out_shardings=layout, compiler_options=_for_one_call())(key)

    def state_structure(self) -> TrainState:
        """Return shapes and types of the state without making it."""
        return self._state_structure

    # Tracing a large network takes seconds.
    @functools.cached_property
    def _state_structure(self) -> TrainState:
        return jax.eval_shape(self._create_state, jax.random.key(self.config.seed))

    def _create_state(self, key: jax.Array) -> TrainState:
        names = tuple(phase.name for phase in self.phases)
        average = self.config.optimizer.average_decay > 0
        return create_train_state(self.method, self.optimizer, names, self.grid, key, average=average)

    def read_weights(self, layout: jax.sharding.Sharding) -> Params:
        """Return the parameters of the file that the config names, checked against the config's network.

        Raises:
            UserError: The file cannot be read, or its weights are not those of the network.
        """
        config = self.config
        flat, description = read_released(weights_file(config.weights))
        check_shapes(flat, config.method, config.model.to_dict())
        for difference in differing_fields({'model': description.model}, {'model': self.resolved['model']}):
            if difference.in_both:
                print(f'the weights were made with another option than the config: {difference}', file=sys.stderr)
        return jax.device_put(unflatten(flat), layout)

    def training_data(self, store: FrameStore | None = None) -> TrainingData:
        """Return the batches of all phases; frames come from `store`, by default the experiment's."""
        config = self.config
        return TrainingData(
            self.manifest,
            store or self.store,
            self.phases,
            batch_size=config.training.batch_size,
            labelled_subjects=config.data.labelled_subjects,
            augmentation=self.augmentation,
            seed=config.seed,
            threads=config.data.threads,
            teacher=self._teacher(),
        )

    def _teacher(self) -> TeacherFields | None:
        """Return the teacher of the config, or None.

        Raises:
            UserError: It is missing, was made of other data, or with labels that an unsupervised network must not see.
        """
        loss = self.config.loss
        if not self.config.data.teacher:
            if not loss.get('teacher', 0.0) and not loss.get('teacher_phases', ()):
                return None
            raise UserError(
                'data.teacher is empty, and loss.teacher or loss.teacher_phases ask for it',
                expected='the folder that `autofuse-jax teach` wrote',
                fix='add --config.data.teacher=FOLDER',
            )
        teacher = open_teacher(Path(self.config.data.teacher), self.manifest)
        if teacher.labelled_subjects and not self.method.uses_labels:
            raise UserError(
                f'labels guided the teacher in {teacher.root}, and this network is trained without',
                expected='a teacher of images alone',
                fix=f'autofuse-jax teach --data={self.manifest.root} --out=FOLDER, without --labels',
            )
        return teacher

    @functools.cached_property
    def _predict(self) -> PredictFunction:
        """Compiled once for validations and the report."""
        return make_predict(self.method, self.manifest.shape, replicated(self.mesh))

    def predictor(self, split: str) -> PairPredictor:
        """Return the predictor of the pairs of a split that the config evaluates; all their labels are used."""
        everyone = frozenset(subject.id for subject in self.manifest.subjects)
        pairs = pair_source(self.config.evaluation.pairs, self.manifest, split, everyone).anchors
        return PairPredictor(
            self._predict,
            self.manifest,
            self.store,
            pairs,
            seed=self.config.seed,
            image_layout=single_sharded(self.mesh),
            computing=self.computing,
        )

    def score(self, predictor: PairPredictor, params: Params, on_case: OnCase | None = None) -> list[Record]:
        """Register and score pairs as the config says.

        Args:
            predictor: Result of `predictor`.
            params: Parameters of the method.
            on_case: Callback after each pair, for pictures.

        Returns:
            One record a pair, see `evaluation.case_scores`.
        """
        return score_cases(predictor.cases(params), [self.protocol], on_case)[self.protocol.name]


def _for_one_call() -> dict[str, Any]:
    """Options to compile what runs once: optimising the draws of all layers takes longer on CPU than all else."""
    if jax.default_backend() != 'cpu':
        return {}
    # The older way to compile fused loops, which options of the compiler come and go with.
    older = {'xla_cpu_use_fusion_emitters': False} if jax.__version_info__ < (0, 11) else {}
    return {'xla_backend_optimization_level': 0} | older


def _check_shares(batch_size: int, grid: tuple[int, int, int], mesh: Mesh) -> None:
    """Check that batches and volumes can be shared equally by the devices."""
    pairs_at_once, depth = (mesh.shape[axis] for axis in (DATA_AXIS, DEPTH_AXIS))
    if batch_size % pairs_at_once:
        raise UserError(
            f'training.batch_size is {batch_size} on {mesh.size} devices, of which {depth} share a volume',
            expected=f'a multiple of {pairs_at_once}',
            fix=f'set training.batch_size={pairs_at_once}, training.depth_devices={mesh.size} or training.devices=1',
        )
    if grid[0] % depth:
        raise UserError(
            f'training.depth_devices is {depth} for volumes of {grid[0]} voxels along their first axis',
            expected='a divisor of that',
            fix='correct training.depth_devices or data.grid',
        )


def _check_parts(phases: Sequence[Phase], mesh: Mesh) -> None:
    """Check that parts of volumes can be shared equally, too."""
    depth = mesh.shape[DEPTH_AXIS]
    for phase in phases:
        if phase.crop[0] % depth:
            raise UserError(
                f'training.depth_devices is {depth} for parts of {phase.crop[0]} voxels along their first axis in '
                f'{phase.name}',
                expected='a divisor of that',
                fix=f'correct training.depth_devices or phases.{phase.name}.crop',
            )


def _resolved(config: ConfigDict) -> dict[str, Any]:
    """Return the config as JSON types."""

    def convert(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: convert(item) for name, item in value.items()}
        return [convert(item) for item in value] if isinstance(value, list | tuple) else value

    return convert(config.to_dict())
