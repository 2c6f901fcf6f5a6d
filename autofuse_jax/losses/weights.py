"""Checks of the weights and options of every objective, the section `loss` of a config."""

import dataclasses
from collections.abc import Collection
from typing import Any

from autofuse_jax.errors import WEIGHT, UserError, check_odd, check_option, check_types

SECTION = 'loss.'
# Options that are names of phases.
PHASES = ('first_stage', 'segmentation_phases', 'fusion_phases', 'teacher_phases')


def check_weights(weights: Any, **choices: Collection[str]) -> None:
    """Check a dataclass of weights and options: numbers that are no counts are weights, windows have a middle voxel.

    Args:
        weights: An instance; `ncc_window` and names of phases are looked at where it has them.
        **choices: Known values of each option that is a word.

    Raises:
        UserError: Names the first option that is wrong, its value, what is expected and what to do.
    """
    for field in dataclasses.fields(weights):
        name, value = SECTION + field.name, getattr(weights, field.name)
        if field.type is float:
            check_option(name, value, WEIGHT)
        if field.name in choices:
            check_option(name, value, choices[field.name])
        if field.name == 'ncc_window':
            check_odd(name, value)
        if field.name in PHASES:
            _check_phases(name, value)
    check_types(weights, SECTION)


def _check_phases(name: str, phases: Any) -> None:
    # A single name would be searched for each phase as a part of it.
    if not isinstance(phases, tuple | list) or not all(isinstance(phase, str) for phase in phases):
        raise UserError(
            f'{name} is {phases!r}',
            expected="names of phases in a sequence, such as ('phase_1',)",
            fix=f'correct {name}',
        )
