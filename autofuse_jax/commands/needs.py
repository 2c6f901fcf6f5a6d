"""Options that mean nothing without others: told where they are given in vain, for all commands in one way."""

import argparse
import dataclasses
from collections.abc import Callable, Sequence

from autofuse_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Need:
    """What some options need.

    Attributes:
        options: Names of the options, as attributes of the parsed ones.
        met: Function of the parsed options that tells whether they have it.
        lacking: What is wrong where they have it not, in words behind 'is given'.
        fix: The next thing to do.
    """

    options: tuple[str, ...]
    met: Callable[[argparse.Namespace], bool]
    lacking: str
    fix: str = 'leave out one of the two'


def given_options(parser: argparse.ArgumentParser, options: argparse.Namespace) -> frozenset[str]:
    """Return the names of the options that say something else than their defaults.

    Args:
        parser: The parser.
        options: What it parsed.
    """
    return frozenset(name for name, value in vars(options).items() if value != parser.get_default(name))


def check_needs(options: argparse.Namespace, needs: Sequence[Need]) -> None:
    """Check before any work that no option is given in vain.

    Args:
        options: Parsed options, with the names of `given_options` as `given`.
        needs: What options need.

    Raises:
        UserError: One is given without what it needs.
    """
    for need in needs:
        vain = [name for name in need.options if name in options.given]
        if vain and not need.met(options):
            raise UserError(f'--{vain[0].replace("_", "-")} is given {need.lacking}', fix=need.fix)
