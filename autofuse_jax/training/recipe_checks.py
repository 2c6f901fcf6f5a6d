"""Checks of what a recipe combines: branches on grids of their own, phases of several kinds, a teacher."""

from typing import Any

from ml_collections import ConfigDict

from autofuse_jax.data.augment import WHOLE
from autofuse_jax.data.pairs import LABELLED_FRAMES
from autofuse_jax.errors import UserError
from autofuse_jax.models.field_outputs import SIZE_MULTIPLE
from autofuse_jax.models.fusion_unet import LEVELS

# Fields of the section `loss` that name phases, each of another kind.
KINDS = ('segmentation_phases', 'fusion_phases', 'teacher_phases')


def check_recipe(config: ConfigDict) -> None:
    """Check grids of the branches, kinds of phases, the teacher and the optimiser's groups.

    Args:
        config: The config, whose sections belong to its method.

    Raises:
        UserError: Names the first field that is wrong, its value, what is allowed, and what to do.
    """
    _check_branches(config)
    _check_kinds(config)
    _check_teacher(config)
    for name in config.phases:
        _check_phase(config, name)
    optimizer = config.optimizer
    if not 0 <= optimizer.average_decay < 1:
        raise _wrong('optimizer.average_decay', optimizer.average_decay, 'at least 0 and less than 1')
    if not all(len(pair) == 2 and pair[1] >= 0 for pair in optimizer.multiples):
        raise _wrong('optimizer.multiples', optimizer.multiples, 'pairs of a name and a factor of at least 0')


def fusion_pooling(config: ConfigDict) -> tuple[int, ...]:
    """Return the voxels of the images that become one of the fusion branch; ones where a network has no such option."""
    return tuple(config.model.get('fusion_pooling', (1, 1, 1)))


def _check_branches(config: ConfigDict) -> None:
    pooling, fine = fusion_pooling(config), tuple(config.model.get('fine_pooling', (0, 0, 0)))
    if len(pooling) != 3 or any(step < 1 for step in pooling):
        raise _wrong('model.fusion_pooling', pooling, 'three numbers of 1 or more')
    divides = len(fine) == 3 and all(step > 0 and whole % step == 0 for whole, step in zip(pooling, fine, strict=True))
    if any(fine) and not divides:
        raise _wrong('model.fine_pooling', fine, f'divisors of model.fusion_pooling {pooling}, or zeros')
    if config.model.get('thin_levels', 0) >= len(LEVELS):
        raise _wrong('model.thin_levels', config.model.thin_levels, f'less than {len(LEVELS)}')


def _check_kinds(config: ConfigDict) -> None:
    named = [name for kind in KINDS for name in config.loss.get(kind, ())]
    twice = sorted({name for name in named if named.count(name) > 1})
    if twice:
        raise UserError(
            f'the phase {twice[0]} is of several kinds', expected=f'one of {", ".join(KINDS)}', fix='correct loss'
        )
    unknown = sorted(set(named) - set(config.phases))
    if unknown:
        raise UserError(
            f'the section loss names the phase {unknown[0]}',
            expected=f'phases among {", ".join(sorted(config.phases))}',
            fix=f'correct {", ".join(f"loss.{kind}" for kind in KINDS)}',
        )
    if config.loss.get('segmentation_phases', ()) and not config.model.get('num_classes', 0):
        raise UserError(
            f'loss.segmentation_phases is {tuple(config.loss.segmentation_phases)} and model.num_classes 0',
            expected='a network with a segmentation in phases that train it',
            fix='set model.num_classes, or loss.segmentation_phases=()',
        )


def _check_teacher(config: ConfigDict) -> None:
    weight, phases = config.loss.get('teacher', 0.0), tuple(config.loss.get('teacher_phases', ()))
    if bool(weight or phases) != bool(config.data.teacher):
        raise UserError(
            f'data.teacher is {config.data.teacher!r}, loss.teacher {weight} and loss.teacher_phases {phases}',
            expected='a folder of velocities where a term uses them, and nowhere else',
            fix='correct data.teacher, or loss.teacher and loss.teacher_phases',
        )


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
    crop = tuple(phase.get('crop', WHOLE))
    multiples = tuple(SIZE_MULTIPLE * step for step in fusion_pooling(config))
    if len(crop) != 3 or any(size < 0 or size % step for size, step in zip(crop, multiples, strict=True)):
        raise _wrong(f'phases.{name}.crop', crop, f'three multiples of {multiples}; 0 along an axis: all of it')
    if any(crop) and config.data.teacher and not frames:
        raise _wrong(
            f'phases.{name}.crop', crop, 'zeros with data.teacher, whose velocities are those of whole volumes'
        )


def _wrong(field: str, value: Any, expected: str) -> UserError:
    return UserError(
        f'{field} is {value!r}', expected=expected, fix=f'correct it in the config or add --config.{field}=VALUE'
    )
