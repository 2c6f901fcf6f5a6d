"""Errors that a user can act on: the checks of options that raise them, and how a command ends with one."""

import dataclasses
import io
import math
import sys
from collections.abc import Callable, Collection
from numbers import Integral, Real
from typing import Any

USER_ERROR_STATUS = 2
INTERRUPTED_STATUS = 130
# True of commands that add to what is there.
CONTINUES = 'what was written before is kept, run the same command again to continue'
# True of commands whose results appear all at once at the end.
NOTHING_WRITTEN = 'nothing was written, results that were there before are as they were'
# Longer lists are shortened in messages.
SHOWN_NAMES = 8
# A damaged file may hold a value of any length.
LONGEST_FOUND = 2000


class UserError(ValueError):
    """An error caused by input, configuration or environment, told in words that a user can act on.

    The text has three parts: what was found, what was expected, and what to do.

    Args:
        found: Fault, with the file, field or value.
        expected: Right form; empty where `found` says it already.
        fix: The next thing to do.
    """

    def __init__(self, found: str, *, expected: str = '', fix: str = ''):
        found = found if len(found) <= LONGEST_FOUND else f'{found[:LONGEST_FOUND]}...'
        self.found = found
        self.expected = expected
        self.fix = fix
        parts = [found.rstrip('.') + '.']
        if expected:
            parts.append(f'Expected: {expected.rstrip(".")}.')
        if fix:
            parts.append(f'To fix: {fix.rstrip(".")}.')
        super().__init__(' '.join(parts))


class DivergedError(UserError):
    """Training cannot go on because a number in it is not finite any more."""


def describe_differences(*, missing: Collection[str], extra: Collection[str]) -> str:
    """Return a readable list of what is missing and what is extra, shortened where it is long."""
    parts = []
    for kind, names in (('missing', missing), ('extra', extra)):
        if names:
            first_names = ', '.join(sorted(names)[:SHOWN_NAMES])
            more = f' and {len(names) - SHOWN_NAMES} more' if len(names) > SHOWN_NAMES else ''
            parts.append(f'{len(names)} {kind} ({first_names}{more})')
    return ', '.join(parts) or 'nothing missing, nothing extra'


@dataclasses.dataclass(frozen=True)
class Range:
    """The finite numbers that an option may be; as text, what a message says is expected.

    Attributes:
        least: Smallest number; default any.
        most: Largest number; default any.
        above: Number that all must exceed; default none.
        below: Number that all must stay under; default none.
        whole: Whether only whole numbers count; default False.
    """

    least: float = -math.inf
    most: float = math.inf
    above: float = -math.inf
    below: float = math.inf
    whole: bool = False

    def __contains__(self, value: Any) -> bool:
        kind: Any = Integral if self.whole else Real
        # True and False are whole numbers to Python.
        if not isinstance(value, kind) or isinstance(value, bool) or not math.isfinite(value):
            return False
        number = float(value)
        return self.least <= number <= self.most and self.above < number < self.below

    def __str__(self) -> str:
        bounds = {
            f'of {self.least} or more': self.least,
            f'above {self.above}': self.above,
            f'at most {self.most}': self.most,
            f'less than {self.below}': self.below,
        }
        limits = [words for words, bound in bounds.items() if math.isfinite(bound)]
        return ' '.join(['a whole number' if self.whole else 'a number', ', '.join(limits)]).rstrip()


# Ranges that many options have.
COUNT = Range(least=1, whole=True)
WHOLE = Range(least=0, whole=True)
POSITIVE = Range(above=0)
WEIGHT = Range(least=0)
SHARE = Range(least=0, most=1)


def check_option(name: str, value: Any, domain: Range | Collection[Any], *, fix: str = '') -> None:
    """Check that an option is in a range or one of the known values.

    Args:
        name: Name of the option in messages, with its section where it has one, such as 'loss.kl'.
        value: Value of the option.
        domain: Range or collection of its possible values.
        fix: Advice; default to correct it.

    Raises:
        UserError: It is not.
    """
    try:
        known = value in domain
    except TypeError:
        # A list or a dictionary, which sets and dictionaries of known values cannot be asked for.
        known = False
    if not known:
        expected = str(domain) if isinstance(domain, Range) else f'one of {", ".join(map(str, domain))}'
        raise UserError(f'{name} is {value!r}', expected=expected, fix=fix or f'correct {name}')


def check_numbers(name: str, values: Any, domain: Range, *, count: int | None = None) -> None:
    """Check that an option is a sequence of numbers in a range.

    Args:
        name: Name of the option, see `check_option`.
        values: Values of the option.
        domain: Range of each.
        count: Number of values; default None: one or more.

    Raises:
        UserError: It is not.
    """
    fits = isinstance(values, tuple | list) and len(values) > 0 and count in (None, len(values))
    if not fits or not all(value in domain for value in values):
        number = 'one or more' if count is None else count
        numbers = tuple(values) if isinstance(values, list) else values
        raise UserError(f'{name} is {numbers!r}', expected=f'{number} numbers, each {domain}', fix=f'correct {name}')


def check_odd(name: str, value: Any) -> None:
    """Check that an option is an odd number of 1 or more, as the side of a window around a voxel is.

    Args:
        name: Name of the option, see `check_option`.
        value: Value of the option.

    Raises:
        UserError: It is not.
    """
    whole = value in Range(whole=True)
    if not whole or value < 1 or value % 2 == 0:
        fix = f'set it to {max(value, 0) + 1}' if whole else ''
        raise UserError(f'{name} is {value!r}', expected='an odd number of 1 or more', fix=fix or f'correct {name}')


def check_types(options: Any, section: str = '') -> None:
    """Check that the fields of a dataclass that are said to be flags, numbers or text are.

    Args:
        options: An instance of the dataclass.
        section: Prefix of a field's name in messages, such as 'loss.'.

    Raises:
        UserError: One is not, or a number is not finite.
    """
    for field in dataclasses.fields(options):
        if field.type in (bool, int, float, str):
            name, value = section + field.name, getattr(options, field.name)
            if field.type in (int, float):
                check_option(name, value, Range(whole=field.type is int))
            elif not isinstance(value, field.type):
                expected = 'True or False' if field.type is bool else 'text'
                raise UserError(f'{name} is {value!r}', expected=expected, fix=f'correct {name}')


def run_command(command: Callable[[], int | None], *, interrupted: str = CONTINUES) -> int:
    """Run the body of a command line tool and return its exit status.

    `UserError`, operating system errors (full disk, missing permission) and too little memory become one line on
    standard error instead of a traceback. Every other exception is a defect of this package and keeps its traceback.

    Args:
        command: Function without arguments; its return value is the exit status, None meaning 0.
        interrupted: State of the results after an interrupt from the keyboard, in words for the user.

    Returns:
        0 on success, 2 after an error the user can act on, 130 after an interrupt from the keyboard.
    """
    _show_any_name()
    try:
        return command() or 0
    except UserError as error:
        print(f'error: {error}', file=sys.stderr)
        return USER_ERROR_STATUS
    except OSError as error:
        where = f' ({error.filename})' if error.filename else ''
        reason = error.strerror or str(error)
        print(
            f'error: {reason}{where}. To fix: check the path, its permissions and the free disk space.', file=sys.stderr
        )
        return USER_ERROR_STATUS
    except MemoryError as error:
        reason = ' '.join(str(error).split()) or 'there is no more memory'
        print(f'error: {reason}. To fix: use larger voxels, smaller images or a larger machine.', file=sys.stderr)
        return USER_ERROR_STATUS
    except KeyboardInterrupt:
        print(f'interrupted; {interrupted}.', file=sys.stderr)
        return INTERRUPTED_STATUS


def _show_any_name() -> None:
    """Let file names be printed that the terminal cannot show: as escapes, where Python would stop with an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors='backslashreplace')
