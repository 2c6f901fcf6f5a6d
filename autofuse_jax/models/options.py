"""Checks of the options of every network, the section `model` of a config; a network checks its own when made."""

import dataclasses
from collections.abc import Collection, Sequence

import flax.linen as nn

from autofuse_jax.errors import COUNT, Range, UserError, check_numbers, check_option, check_types
from autofuse_jax.models.windows import Size

SECTION = 'model.'
# Fields of modules that are no options: what Flax adds, and what a run decides for its device.
COMPUTE_DTYPE = 'compute_dtype'
NO_OPTIONS = ('parent', 'name', COMPUTE_DTYPE)
# A probability with which a branch can be left out.
DROP_RATE = Range(least=0, below=1)


def check_network(network: nn.Module, **domains: Range | Collection[str]) -> None:
    """Check the options of a network: whole numbers count something, so that each is 1 or more unless `domains` says.

    Args:
        network: The module.
        **domains: Range or words of an option that is no such number.

    Raises:
        UserError: Names the first option that is wrong, its value, what is expected and what to do.
    """
    for field in dataclasses.fields(network):
        name, value = SECTION + field.name, getattr(network, field.name)
        if field.name in domains:
            check_option(name, value, domains[field.name])
        elif field.type is int:
            check_option(name, value, COUNT)
        elif field.type in (Size, tuple[int, ...]):
            check_numbers(name, value, COUNT, count=3 if field.type == Size else None)
    check_types(network, SECTION)


def check_multiple(name: str, value: int, divisor: int, reason: str) -> None:
    """Check that an option of a network is a multiple of a number.

    Args:
        name: Name of the option.
        value: Its value, a whole number of 1 or more.
        divisor: The number.
        reason: Reason, to follow 'because'.

    Raises:
        UserError: It is not.
    """
    if value % divisor:
        raise UserError(
            f'{SECTION}{name} is {value}',
            expected=f'a multiple of {divisor}, because {reason}',
            fix=f'set {SECTION}{name}={-(-value // divisor) * divisor}',
        )


def check_stage_heads(embed_dim: int, num_heads: Sequence[int]) -> None:
    """Check that the attention heads of each stage divide its channels, which double from stage to stage.

    Args:
        embed_dim: Channels of the first stage.
        num_heads: Heads of each stage.

    Raises:
        UserError: They do not.
    """
    channels = [embed_dim * 2**stage for stage in range(len(num_heads))]
    if any(width % heads for width, heads in zip(channels, num_heads, strict=True)):
        raise UserError(
            f'{SECTION}num_heads is {tuple(num_heads)} for stages of {", ".join(map(str, channels))} channels',
            expected='numbers that divide the channels of their stage',
            fix=f'correct {SECTION}num_heads or {SECTION}embed_dim',
        )
