"""Errors that a user can act on, and the one place where commands turn them into a message and an exit status."""

import sys
from collections.abc import Callable, Collection

USER_ERROR_STATUS = 2
INTERRUPTED_STATUS = 130
# Longer lists are shortened in messages.
SHOWN_NAMES = 8


class UserError(ValueError):
    """An error caused by input, configuration or environment, told in words that a user can act on.

    The text has three parts: what was found, what was expected, and what to do.

    Args:
        found: What is wrong, naming the file, field or value.
        expected: What would have been right; empty where `found` says it already.
        fix: The next thing to do.
    """

    def __init__(self, found: str, *, expected: str = '', fix: str = ''):
        self.found = found
        self.expected = expected
        self.fix = fix
        parts = [found.rstrip('.') + '.']
        if expected:
            parts.append(f'Expected: {expected.rstrip(".")}.')
        if fix:
            parts.append(f'To fix: {fix.rstrip(".")}.')
        super().__init__(' '.join(parts))


def describe_differences(*, missing: Collection[str], extra: Collection[str]) -> str:
    """Return a readable list of what is missing and what is extra, shortened where it is long."""
    parts = []
    for kind, names in (('missing', missing), ('extra', extra)):
        if names:
            shown = ', '.join(sorted(names)[:SHOWN_NAMES])
            more = f' and {len(names) - SHOWN_NAMES} more' if len(names) > SHOWN_NAMES else ''
            parts.append(f'{len(names)} {kind} ({shown}{more})')
    return ', '.join(parts) or 'nothing missing, nothing extra'


def run_command(command: Callable[[], int | None]) -> int:
    """Run the body of a command line tool and return its exit status.

    `UserError` and operating system errors (full disk, missing permission) become one line on standard error
    instead of a traceback. Every other exception is a defect of this package and keeps its traceback.

    Args:
        command: Called without arguments; its return value is the exit status, None meaning 0.

    Returns:
        0 on success, 2 after an error the user can act on, 130 after an interrupt from the keyboard.
    """
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
    except KeyboardInterrupt:
        print('interrupted; what was written before is kept, run the same command again to continue.', file=sys.stderr)
        return INTERRUPTED_STATUS
