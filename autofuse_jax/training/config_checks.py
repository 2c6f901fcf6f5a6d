"""The checks of a config before anything long starts: of data, optimiser and training; options check themselves."""

import contextlib
from collections.abc import Collection, Iterator
from typing import Any

from ml_collections import ConfigDict

from autofuse_jax.choices import SPLITS
from autofuse_jax.data.augment import Augmentation
from autofuse_jax.data.manifests import Manifest
from autofuse_jax.data.open_dataset import DATA_SOURCES
from autofuse_jax.data.pair_policies import PAIR_POLICIES
from autofuse_jax.data.pairs import ALL_LABELLED
from autofuse_jax.errors import COUNT, POSITIVE, WEIGHT, Range, UserError, check_option, describe_differences
from autofuse_jax.methods.base import Method
from autofuse_jax.methods.registry import METHODS, SECTIONS, make_method, section_options
from autofuse_jax.metrics.determinants import DETERMINANTS
from autofuse_jax.models.field_outputs import SIZE_MULTIPLE
from autofuse_jax.training.optimizers import SCHEDULES
from autofuse_jax.training.phases import phases_of
from autofuse_jax.training.precision import PRECISIONS
from autofuse_jax.training.recipe_checks import check_recipe, fusion_pooling, is_size

EVALUATION_POLICIES = ('ed_es', 'inter_all', 'inter_fixed', 'listed')
AT_LEAST_0 = Range(least=0, whole=True)
# What a field may be: one of some words, or a number in a range. Options of the method and of augmentation are not
# here: they check themselves.
DOMAINS: dict[str, Any] = {
    'method': METHODS,
    'seed': Range(least=0, most=2**32 - 1, whole=True),
    'data.source': DATA_SOURCES,
    'data.labelled_subjects': Range(least=ALL_LABELLED, whole=True),
    'data.cache_gib': WEIGHT,
    'data.threads': AT_LEAST_0,
    'optimizer.learning_rate': POSITIVE,
    'optimizer.schedule': SCHEDULES,
    'optimizer.warmup_steps': AT_LEAST_0,
    'optimizer.clip_norm': WEIGHT,
    'training.batch_size': COUNT,
    'training.devices': AT_LEAST_0,
    'training.depth_devices': COUNT,
    'training.precision': PRECISIONS,
    'training.log_every': COUNT,
    'training.validate_every': COUNT,
    'training.checkpoint_every': COUNT,
    'training.max_minutes': WEIGHT,
    'evaluation.split': SPLITS,
    'evaluation.pairs': EVALUATION_POLICIES,
    'evaluation.jacobian_determinant': tuple(DETERMINANTS),
    'evaluation.pictures': Range(least=-1, whole=True),
}
# Switches, of which a word such as 'no' would turn each on.
SWITCHES = ('reproduce_official', 'training.check_memory', 'training.tensorboard')


def validate(config: ConfigDict) -> None:
    """Check every value and combination that can be checked without data.

    Args:
        config: The config.

    Raises:
        UserError: Names the first field that is wrong, its value, what is allowed, and what to do.
    """
    for field, domain in DOMAINS.items():
        section, _, name = field.rpartition('.')
        fields = config.get(section, {}) if section else config
        if name not in fields:
            raise UserError(f'the config has no {field}', expected=str(domain), fix='start from configs/default.py')
        _check(field, fields[name], domain)
    for field in SWITCHES:
        section, _, name = field.rpartition('.')
        value = (config[section] if section else config).get(name, False)
        if not isinstance(value, bool):
            raise UserError(f'{field} is {value!r}', expected='True or False', fix=_how_to_set(field))
    _check_sections(config)
    _check_fields_of_phases(config)
    with _telling_how_to_set():
        Augmentation(**config.data.augmentation.to_dict())
        _method(config)
    check_recipe(config)
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
        UserError: The number of classes differs, the network cannot work on the data's shape, or a part of volumes is
            larger than they are.
    """
    _check_classes(config, manifest)
    method = _method(config)
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
    _check_crops(config, grid, method)
    return grid


def _check_crops(config: ConfigDict, grid: tuple[int, ...], method: Method) -> None:
    for phase in phases_of(config):
        part = tuple(size or whole for size, whole in zip(phase.crop, grid, strict=True))
        if any(size > whole for size, whole in zip(part, grid, strict=True)):
            raise UserError(
                f'phases.{phase.name}.crop is {phase.crop} for volumes of {grid} voxels',
                expected='at most that along each axis; 0: all of it',
                fix=_how_to_set(f'phases.{phase.name}.crop'),
            )
        if method.size is not None and part != grid:
            raise UserError(
                f'phases.{phase.name}.crop is {phase.crop}, and the network of {method.name} is made for size {grid}',
                expected='zeros, because it has a parameter for each position',
                fix=_how_to_set(f'phases.{phase.name}.crop'),
            )


def _check_classes(config: ConfigDict, manifest: Manifest) -> None:
    for section in ('model', 'loss'):
        field, classes = f'{section}.num_classes', config[section].get('num_classes', 0)
        if classes and classes != len(manifest.classes):
            names = ', '.join(f'{label} {name}' for label, name in manifest.classes.items())
            raise UserError(
                f'{field} is {classes}, but the data in {manifest.root} has {len(manifest.classes)} classes ({names})',
                fix=f'set {field}={len(manifest.classes)}, or 0 for unsupervised training',
            )


def _check_sections(config: ConfigDict) -> None:
    """Check that the sections belong to the method."""
    for section in SECTIONS:
        options = section_options(config.method, section)
        fields = set(config[section])
        if set(options) != fields:
            differences = describe_differences(missing=set(options) - fields, extra=fields - set(options))
            raise UserError(
                f'the section {section} does not belong to method {config.method!r}: {differences}',
                expected=f'the fields {", ".join(options)}' if options else 'no fields',
                fix='start from a config of this method in configs/',
            )


def _check_fields_of_phases(config: ConfigDict) -> None:
    """Check that there are phases, each with the fields that all other checks take for granted."""
    phases = config.get('phases')
    named = (
        {f'phases.{name}': phases[name] for name in phases} if isinstance(phases, ConfigDict) else {'phases': phases}
    )
    for name, phase in named.items():
        if not isinstance(phase, ConfigDict) or not {'steps', 'pairs'} <= set(phase):
            raise UserError(
                f'{name} is {phase.to_dict() if isinstance(phase, ConfigDict) else phase!r}',
                expected="a section with the fields steps and pairs, such as {'steps': 1000, 'pairs': 'ed_es'}",
                fix='start from configs/default.py',
            )


def _check_grid(name: str, grid: Any, *, zeros_allowed: bool, pooling: tuple[int, ...]) -> None:
    numbers = is_size(grid)
    if zeros_allowed and numbers and not any(grid):
        return
    multiples = tuple(SIZE_MULTIPLE * step for step in pooling)
    if not numbers or any(size < step or size % step for size, step in zip(grid, multiples, strict=True)):
        fitting: tuple[int, ...] = ()
        if numbers:
            fitting = tuple(max(1, round(size / step)) * step for size, step in zip(grid, multiples, strict=True))
        multiple = SIZE_MULTIPLE if len({*multiples}) == 1 else multiples
        raise UserError(
            f'{name} is {tuple(grid) if isinstance(grid, list) else grid!r}',
            expected=f'three multiples of {multiple}, because the network halves its grid four times',
            fix=f'set data.grid={fitting}' if numbers else 'give three numbers',
        )


def _check_phases(config: ConfigDict) -> None:
    for name in config.phases:
        phase = config.phases[name]
        _check(f'phases.{name}.steps', phase.steps, AT_LEAST_0)
        _check(f'phases.{name}.pairs', phase.pairs, PAIR_POLICIES)
    total = sum(config.phases[name].steps for name in config.phases)
    if total == 0:
        raise UserError('all phases have 0 steps', fix='set phases.phase_1.steps')
    if config.optimizer.warmup_steps >= total:
        raise UserError(
            f'optimizer.warmup_steps is {config.optimizer.warmup_steps}',
            expected=f'less than the {total} steps of training',
            fix=_how_to_set('optimizer.warmup_steps'),
        )


def _method(config: ConfigDict) -> Method:
    """Make the config's method; its options refuse what they cannot be."""
    return make_method(config.method, *(config[section].to_dict() for section in SECTIONS))


def _check(field: str, value: Any, domain: Range | Collection[Any]) -> None:
    check_option(field, value, domain, fix=_how_to_set(field))


@contextlib.contextmanager
def _telling_how_to_set() -> Iterator[None]:
    """Let what options say of themselves end with how a config sets them."""
    try:
        yield
    except UserError as error:
        fix = f'{error.fix}, in the config or by --config.FIELD=VALUE'
        raise UserError(error.found, expected=error.expected, fix=fix) from error


def _how_to_set(field: str) -> str:
    return f'correct it in the config or add --config.{field}=VALUE'
