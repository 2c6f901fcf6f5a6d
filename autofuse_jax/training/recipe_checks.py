"""Checks of what a recipe combines: phases of several kinds, parts of volumes, a teacher, groups of parameters."""

from typing import Any

from ml_collections import ConfigDict

from autofuse_jax.data.augment import WHOLE
from autofuse_jax.data.pair_policies import LABELLED_FRAMES
from autofuse_jax.errors import WEIGHT, Range, UserError
from autofuse_jax.models.field_outputs import SIZE_MULTIPLE

# Fields of the section `loss` that name phases, each of another kind; a method has some of them.
KINDS = ('segmentation_phases', 'fusion_phases', 'teacher_phases', 'first_stage')

WHOLE_NUMBER = Range(whole=True)


def check_recipe(config: ConfigDict) -> None:
    """Check kinds of phases, their parts of volumes, the teacher and the optimiser's groups.

    Args:
        config: The config, whose sections belong to its method.

    Raises:
        UserError: Names the first field that is wrong, its value, what is allowed, and what to do.
    """
    _check_kinds(config)
    _check_planes(config)
    _check_teacher(config)
    for name in config.phases:
        _check_phase(config, name)
    optimizer = config.optimizer
    if optimizer.average_decay not in Range(least=0, below=1):
        raise _wrong('optimizer.average_decay', optimizer.average_decay, 'at least 0 and less than 1')
    multiples = optimizer.multiples
    if not isinstance(multiples, tuple | list) or not all(_is_multiple(pair) for pair in multiples):
        raise _wrong('optimizer.multiples', optimizer.multiples, 'pairs of a name and a factor of at least 0')


def fusion_pooling(config: ConfigDict) -> tuple[int, ...]:
    """Return the voxels of the images that become one of the fusion branch; ones where a network has no such option."""
    return tuple(config.model.get('fusion_pooling', (1, 1, 1)))


def is_size(value: Any) -> bool:
    """Tell whether a value is three whole numbers."""
    return isinstance(value, tuple | list) and len(value) == 3 and all(number in WHOLE_NUMBER for number in value)


def _is_multiple(pair: Any) -> bool:
    # A pair that was written without the brackets around all of them comes as a word and a number.
    return isinstance(pair, tuple | list) and len(pair) == 2 and isinstance(pair[0], str) and pair[1] in WEIGHT


def _check_kinds(config: ConfigDict) -> None:
    kinds = [kind for kind in KINDS if kind in config.loss]
    phases = [name for kind in kinds for name in config.loss[kind]]
    twice = sorted({name for name in phases if phases.count(name) > 1})
    if twice:
        raise UserError(
            f'the phase {twice[0]} is of several kinds', expected=f'one of {", ".join(kinds)}', fix='correct loss'
        )
    unknown = sorted(set(phases) - set(config.phases))
    if unknown:
        raise UserError(
            f'the section loss names the phase {unknown[0]}',
            expected=f'phases among {", ".join(sorted(config.phases))}',
            fix=f'correct {", ".join(f"loss.{kind}" for kind in kinds)}',
        )


def _check_planes(config: ConfigDict) -> None:
    channels = config.model.get('plane_channels', 0)
    alone = {name for kind in KINDS for name in config.loss.get(kind, ())}
    trained = any(config.phases[name].steps and name not in alone for name in config.phases)
    if channels and not config.weights and not trained:
        raise UserError(
            f'model.plane_channels is {channels}, and no phase trains the branch that segments plane by plane',
            expected='weights in which it is trained, or a phase that trains everything',
            fix='set model.plane_channels=0, or weights',
        )


def _check_teacher(config: ConfigDict) -> None:
    weight, phases = config.loss.get('teacher', 0.0), tuple(config.loss.get('teacher_phases', ()))
    # Where it is missing, that is said when data are opened, as with data.root.
    if config.data.teacher and not weight and not phases:
        raise UserError(
            f'data.teacher is {config.data.teacher!r}, loss.teacher {weight} and loss.teacher_phases {phases}',
            expected='a folder of velocities where a term uses them, and nowhere else',
            fix='correct data.teacher, or loss.teacher and loss.teacher_phases',
        )
    elastic = config.data.augmentation.elastic
    if config.data.teacher and elastic:
        raise _wrong('data.augmentation.elastic', elastic, '0 with data.teacher, whose velocities know nothing of it')


def _check_phase(config: ConfigDict, name: str) -> None:
    phase, frames = config.phases[name], config.phases[name].pairs == LABELLED_FRAMES
    alone = name in config.loss.get('segmentation_phases', ())
    if alone != frames:
        raise UserError(
            f'phases.{name}.pairs is {phase.pairs!r} and loss.segmentation_phases '
            f'{"names" if alone else "does not name"} that phase',
            expected=f'{LABELLED_FRAMES!r} in the phases that train the segmentation alone, and in no other',
            fix='correct phases or loss.segmentation_phases',
        )
    crop = phase.get('crop', WHOLE)
    multiples = tuple(SIZE_MULTIPLE * step for step in fusion_pooling(config))
    sizes = is_size(crop) and all(size >= 0 and not size % step for size, step in zip(crop, multiples, strict=True))
    if not sizes:
        raise _wrong(f'phases.{name}.crop', crop, f'three multiples of {multiples}; 0 along an axis: all of it')
    if any(crop) and config.data.teacher and not frames:
        raise _wrong(
            f'phases.{name}.crop', crop, 'zeros with data.teacher, whose velocities are those of whole volumes'
        )


def _wrong(field: str, value: Any, expected: str) -> UserError:
    return UserError(
        f'{field} is {value!r}', expected=expected, fix=f'correct it in the config or add --config.{field}=VALUE'
    )
