"""All checks of a config in one place, before anything long starts."""

import dataclasses
from typing import Any

from ml_collections import ConfigDict

from autofuse_jax.choices import SPLITS
from autofuse_jax.data.augment import WHOLE, Size
from autofuse_jax.data.manifests import Manifest
from autofuse_jax.data.open_dataset import DATA_SOURCES
from autofuse_jax.data.pairs import ALL_LABELLED, PAIR_POLICIES
from autofuse_jax.errors import UserError, describe_differences
from autofuse_jax.losses.autofuse import CONSISTENCY_GRADIENTS, LABEL_WARPS, MISSING_LABELS
from autofuse_jax.losses.regularity import JACOBIAN_REDUCTIONS
from autofuse_jax.methods.registry import METHODS, SECTIONS, make_method, section_options
from autofuse_jax.metrics.determinants import DETERMINANTS
from autofuse_jax.models.autofuse_trans import CHANNELS_PER_HEAD, SINGLE_BRANCHES
from autofuse_jax.models.field_outputs import SIZE_MULTIPLE
from autofuse_jax.models.fusion_gate import FUSIONS
from autofuse_jax.models.pair_network import FEEDBACKS, OUTPUTS
from autofuse_jax.models.remat import check_remat
from autofuse_jax.models.windows import RELATIVE_BIASES
from autofuse_jax.training.optimizers import SCHEDULES
from autofuse_jax.training.precision import PRECISIONS
from autofuse_jax.training.recipe_checks import check_recipe, fusion_pooling

EVALUATION_POLICIES = ('ed_es', 'inter_all', 'inter_fixed', 'listed')
# What a field is that the method's network does not have.
ABSENT = object()

# Field: the values it may have. Fields of `model`, `loss` and `inference` count where the method has them.
CHOICES = {
    'data.source': DATA_SOURCES,
    'model.fusion': FUSIONS,
    'model.output': OUTPUTS,
    'model.segmentation_feedback': FEEDBACKS,
    'model.single_branch': SINGLE_BRANCHES,
    'model.relative_bias': RELATIVE_BIASES,
    'loss.jacobian_reduction': JACOBIAN_REDUCTIONS,
    'loss.jacobian_determinant': tuple(DETERMINANTS),
    'loss.consistency_grad': CONSISTENCY_GRADIENTS,
    'loss.label_warp': LABEL_WARPS,
    'loss.missing_labels': MISSING_LABELS,
    'optimizer.schedule': SCHEDULES,
    'training.precision': PRECISIONS,
    'evaluation.split': SPLITS,
    'evaluation.pairs': EVALUATION_POLICIES,
    'evaluation.jacobian_determinant': tuple(DETERMINANTS),
}
# Field: the smallest value it may have.
SMALLEST = {
    'data.labelled_subjects': ALL_LABELLED,
    'data.cache_gib': 0,
    'data.threads': 0,
    'data.augmentation.rotation': 0,
    'data.augmentation.scale': 0,
    'data.augmentation.shift': 0,
    'data.augmentation.gamma': 0,
    'model.base_channels': 1,
    'model.num_classes': 0,
    'model.depth': 1,
    'model.fusion_channels': 0,
    'model.fine_channels': 0,
    'model.thin_levels': 0,
    'loss.kl': 0,
    'loss.prior_lambda': 0,
    'loss.jacobian': 0,
    'loss.ncc_window': 1,
    'loss.segmentation': 0,
    'loss.fusion': 0,
    'loss.inverse': 0,
    'loss.smoothness': 0,
    'loss.teacher': 0,
    'optimizer.warmup_steps': 0,
    'optimizer.clip_norm': 0,
    'training.batch_size': 1,
    'training.devices': 0,
    'training.depth_devices': 1,
    'training.log_every': 1,
    'training.validate_every': 1,
    'training.checkpoint_every': 1,
    'training.max_minutes': 0,
    'evaluation.pictures': -1,
}


@dataclasses.dataclass(frozen=True)
class Phase:
    """A stretch of training with one pair policy.

    Attributes:
        name: Key in `config.phases`.
        pairs: Pair policy.
        first: Steps done before it starts.
        end: Steps done when it ends.
        crop: Size of the part of each volume that a step sees, see `training_batches`; zeros: all of it.
    """

    name: str
    pairs: str
    first: int
    end: int
    crop: Size = WHOLE


def phases_of(config: ConfigDict) -> tuple[Phase, ...]:
    """Return the phases in the order of their names, those without steps left out.

    Args:
        config: The config.

    Returns:
        Phases that follow one another without gaps.
    """
    phases, first = [], 0
    for name in sorted(config.phases):
        phase = config.phases[name]
        if phase.steps > 0:
            crop = tuple(phase.get('crop', WHOLE))
            phases.append(Phase(name, phase.pairs, first, first + phase.steps, crop))
            first += phase.steps
    return tuple(phases)


def validate(config: ConfigDict) -> None:
    """Check every value and combination that can be checked without data.

    Args:
        config: The config.

    Raises:
        UserError: Names the first field that is wrong, its value, what is allowed, and what to do.
    """
    if config.method not in METHODS:
        raise _wrong('method', config.method, f'one of {", ".join(METHODS)}')
    _check_sections(config)
    for field, known in CHOICES.items():
        value = _get(config, field)
        if value is not ABSENT and value not in known:
            raise _wrong(field, value, f'one of {", ".join(known)}')
    for field, smallest in SMALLEST.items():
        value = _get(config, field)
        if value is not ABSENT and not value >= smallest:
            raise _wrong(field, value, f'{smallest} or more')
    if not 0 <= config.seed < 2**32:
        raise _wrong('seed', config.seed, f'0 to {2**32 - 1}')
    if config.data.augmentation.scale >= 1:
        raise _wrong('data.augmentation.scale', config.data.augmentation.scale, 'less than 1')
    if not config.optimizer.learning_rate > 0:
        raise _wrong('optimizer.learning_rate', config.optimizer.learning_rate, 'more than 0')
    if _get(config, 'model.num_classes') == 1:
        raise _wrong(
            'model.num_classes', 1, '0 (unsupervised), or background plus at least one structure, so 2 or more'
        )
    window = _get(config, 'loss.ncc_window')
    if window is not ABSENT and window % 2 == 0:
        raise _wrong('loss.ncc_window', window, 'an odd number')
    _check_remat(config)
    _check_inference(config)
    check_recipe(config)
    # What the method itself refuses.
    make_method(config.method, *(config[section].to_dict() for section in SECTIONS))
    _check_grid('data.grid', config.data.grid, zeros_allowed=True, pooling=fusion_pooling(config))
    _check_phases(config)


def check_against_data(config: ConfigDict, manifest: Manifest) -> tuple[int, int, int]:
    """Check what only the data can tell, and return the grid that the network works on.

    Args:
        config: The config.
        manifest: The data it will be used with.

    Returns:
        (D, H, W), in voxels.

    Raises:
        UserError: The number of classes differs, or the network cannot work on the data's shape.
    """
    _check_classes(config, manifest)
    method = make_method(config.method, *(config[section].to_dict() for section in SECTIONS))
    if method.uses_labels and not any(
        frame.has_labels for subject in manifest.subjects_of('train') for frame in subject.frames
    ):
        raise UserError(
            f'{config.method} is trained with labels, but no training subject in {manifest.root} has any',
            expected='data with labels on part of the training subjects',
            fix='prepare the data with its labels, or choose a method that is trained without',
        )
    grid = tuple(config.data.grid)
    if not any(grid):
        name, pooling = f'the shape of the data in {manifest.root}', fusion_pooling(config)
        _check_grid(name, manifest.shape, zeros_allowed=False, pooling=pooling)
        grid = tuple(manifest.shape)
    if method.size is not None and tuple(method.size) != grid:
        raise UserError(
            f'the network of {config.method} is made for size {tuple(method.size)}, and the grid is {grid}',
            expected='the same size, because it has a parameter for each position',
            fix=f'set model.size={grid}',
        )
    return grid


def _check_classes(config: ConfigDict, manifest: Manifest) -> None:
    for field in ('model.num_classes', 'loss.num_classes'):
        classes = _get(config, field)
        if classes is not ABSENT and classes and classes != len(manifest.classes):
            named = ', '.join(f'{label} {name}' for label, name in manifest.classes.items())
            raise UserError(
                f'{field} is {classes}, but the data in {manifest.root} has {len(manifest.classes)} classes ({named})',
                fix=f'set {field}={len(manifest.classes)}, or 0 for unsupervised training',
            )


def with_absent_options(config: ConfigDict) -> ConfigDict:
    """Return a stored config with the options that its method has got since, at their defaults.

    Args:
        config: As a run wrote it.

    Raises:
        UserError: The method is unknown.
    """
    complete = config.copy_and_resolve_references()
    for section in SECTIONS:
        complete[section] = ConfigDict(section_options(config.method, section) | config[section].to_dict())
    return complete


def differing_fields(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """List the fields in which two resolved configs differ, as 'field: one -> other'.

    Args:
        one: Nested dictionary.
        other: Nested dictionary.

    Returns:
        Readable differences, sorted by field.
    """
    flat = [_flatten(config) for config in (one, other)]
    return [
        f'{field}: {flat[0].get(field, "absent")} -> {flat[1].get(field, "absent")}'
        for field in sorted(set(flat[0]) | set(flat[1]))
        if flat[0].get(field, 'absent') != flat[1].get(field, 'absent')
    ]


def _check_remat(config: ConfigDict) -> None:
    remat = _get(config, 'model.remat')
    if remat is ABSENT:
        return
    try:
        check_remat(remat)
    except ValueError as error:
        raise UserError(f'model.{str(error).rstrip(".")}', fix='correct model.remat') from error


def _check_inference(config: ConfigDict) -> None:
    symmetric = _get(config, 'inference.symmetric')
    if symmetric is ABSENT or not symmetric:
        return
    # The fusion baselines have no such option: they always predict a velocity.
    if _get(config, 'model.output') not in ('velocity', ABSENT):
        raise UserError(
            f'inference.symmetric is on with model.output {config.model.output!r}',
            expected="model.output='velocity', because the average is one of velocities",
            fix='set inference.symmetric=False',
        )
    if config.inference.sample_velocity:
        raise UserError(
            'inference.symmetric and inference.sample_velocity are both on',
            expected='one of them, because the average is one of mean velocities',
            fix='set inference.sample_velocity=False',
        )


def _check_sections(config: ConfigDict) -> None:
    """Check that the sections belong to the method, and the values that only some networks have."""
    for section in SECTIONS:
        wanted = section_options(config.method, section)
        found = set(config[section])
        if set(wanted) != found:
            differences = describe_differences(missing=set(wanted) - found, extra=found - set(wanted))
            raise UserError(
                f'the section {section} does not belong to method {config.method!r}: {differences}',
                expected=f'the fields {", ".join(wanted)}' if wanted else 'no fields',
                fix='start from a config of this method in configs/',
            )
    if config.method == 'autofuse_trans' and config.model.base_channels % CHANNELS_PER_HEAD:
        raise _wrong('model.base_channels', config.model.base_channels, f'a multiple of {CHANNELS_PER_HEAD}')
    window = config.model.get('window', (1, 1, 1))
    if len(window) != 3 or any(size < 1 for size in window):
        raise _wrong('model.window', tuple(window), 'three sizes of 1 or more')


def _check_grid(name: str, grid: tuple[int, ...], *, zeros_allowed: bool, pooling: tuple[int, ...]) -> None:
    if zeros_allowed and not any(grid):
        return
    multiples = tuple(SIZE_MULTIPLE * step for step in pooling)
    numbers = len(grid) == 3 and all(isinstance(size, int) for size in grid)
    if not numbers or any(size < step or size % step for size, step in zip(grid, multiples, strict=True)):
        fitting = ()
        if numbers:
            fitting = tuple(max(1, round(size / step)) * step for size, step in zip(grid, multiples, strict=True))
        known = SIZE_MULTIPLE if len({*multiples}) == 1 else multiples
        raise UserError(
            f'{name} is {tuple(grid)}',
            expected=f'three multiples of {known}, because the network halves its grid four times',
            fix=f'set data.grid={fitting}' if numbers else 'give three numbers',
        )


def _check_phases(config: ConfigDict) -> None:
    for name in config.phases:
        phase = config.phases[name]
        if phase.steps < 0:
            raise _wrong(f'phases.{name}.steps', phase.steps, '0 or more')
        if phase.pairs not in PAIR_POLICIES:
            raise _wrong(f'phases.{name}.pairs', phase.pairs, f'one of {", ".join(PAIR_POLICIES)}')
    total = sum(config.phases[name].steps for name in config.phases)
    if total == 0:
        raise UserError('all phases have 0 steps', fix='set phases.phase_1.steps')
    if config.optimizer.warmup_steps >= total:
        raise _wrong(
            'optimizer.warmup_steps', config.optimizer.warmup_steps, f'less than the {total} steps of training'
        )


def _get(config: ConfigDict, field: str) -> Any:
    value = config
    for part in field.split('.'):
        if part not in value:
            return ABSENT
        value = value[part]
    return value


def _wrong(field: str, value: Any, expected: str) -> UserError:
    return UserError(
        f'{field} is {value!r}', expected=expected, fix=f'correct it in the config or add --config.{field}=VALUE'
    )


def _flatten(config: dict[str, Any], prefix: str = '') -> dict[str, Any]:
    flat = {}
    for name, value in config.items():
        if isinstance(value, dict):
            flat |= _flatten(value, f'{prefix}{name}.')
        else:
            flat[prefix + name] = list(value) if isinstance(value, tuple) else value
    return flat
