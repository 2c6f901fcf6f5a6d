"""The reader of JSON files: whatever their bytes are, the answer is a value of a form or one sentence to the user.

Of numbers, those count that a computer can compute with: NaN, infinities and thousands of digits are told as damage.
"""

import json
import math
import os
from pathlib import Path
from typing import Any

from autofuse_jax.errors import UserError
from autofuse_jax.records.forms import Form, FormError, shown

# Bytes of the longest list of frames or scores that anybody has, many times over.
LARGEST_FILE = 1 << 28
# Nobody nests values deeper.
DEEPEST = 64
# As many as the largest unsigned integer of 64 bits.
MOST_DIGITS = 20
COPY_AGAIN = 'fetch or make the file again'
MISFIT = 'is incomplete or damaged'


def read_json(
    path: str | os.PathLike,
    form: Form | None = None,
    *,
    kind: str = '',
    misfit: str = MISFIT,
    expected: str = '',
    fix: str = COPY_AGAIN,
) -> Any:
    """Read a JSON file and check what it holds.

    Args:
        path: The file, UTF-8.
        form: Form of its content; default any.
        kind: What it is, in words before its name in messages, such as 'the label table'.
        misfit: What is wrong with a file of another kind, in words behind its name.
        expected: What it should be, in words; default as its form says.
        fix: Advice.

    Returns:
        The content.

    Raises:
        UserError: There is no such file, it cannot be read, is no JSON, or holds something else.
    """
    path = Path(path)
    name = f'{kind} {path}' if kind else str(path)
    try:
        size = path.stat().st_size
        if size > LARGEST_FILE:
            raise UserError(f'{name} has {size} bytes', expected=expected or f'at most {LARGEST_FILE}', fix=fix)
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f'{name} cannot be read ({error.strerror})', expected=expected, fix=fix) from error
    return parse_json(content, name, form, misfit=misfit, expected=expected, fix=fix)


def parse_json(
    content: bytes | str,
    name: str,
    form: Form | None = None,
    *,
    misfit: str = MISFIT,
    expected: str = '',
    fix: str = COPY_AGAIN,
) -> Any:
    """Parse JSON and check what it holds.

    Args:
        content: The bytes, UTF-8, or the text.
        name: Where it comes from, for messages.
        form: Form of the content; default any.
        misfit: What is wrong with content of another kind, in words behind the name.
        expected: What it should be, in words; default as its form says.
        fix: Advice.

    Returns:
        The content.

    Raises:
        UserError: It is no JSON, or something else.
    """
    problem = 'cannot be read' if misfit == MISFIT else misfit
    try:
        text = content if isinstance(content, str) else content.decode('utf-8-sig')
        value = json.loads(text, parse_int=_whole_number, parse_float=_number, parse_constant=_constant)
        _check_depth(value)
    except RecursionError as error:
        reason = f'more than {DEEPEST} values inside each other'
        raise UserError(f'{name} {problem}: it is no JSON ({reason})', expected=expected, fix=fix) from error
    except ValueError as error:
        reason = 'it is empty' if not content.strip() else str(error)
        raise UserError(f'{name} {problem}: it is no JSON ({reason})', expected=expected, fix=fix) from error
    if form is not None:
        check_form(value, form, name, misfit=misfit, expected=expected, fix=fix)
    return value


def check_form(
    value: Any, form: Form, name: str, *, misfit: str = MISFIT, expected: str = '', fix: str = COPY_AGAIN
) -> None:
    """Check a value that was read.

    Args:
        value: The value, of JSON types.
        form: Form that it should have.
        name: Where it comes from, for messages.
        misfit: What is wrong with a value of another form, in words behind the name.
        expected: What it should be, in words; default as its form says.
        fix: Advice.

    Raises:
        UserError: It is something else.
    """
    try:
        form.check(value, '')
    except FormError as error:
        raise UserError(f'{name} {misfit}: {error}', expected=expected or error.expected, fix=fix) from error


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(DEEPEST):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return
    raise RecursionError


def _whole_number(text: str) -> int:
    if len(text.lstrip('-')) > MOST_DIGITS:
        raise ValueError(f'it holds a number of {len(text)} digits')
    return int(text)


def _number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f'it holds the number {shown(text, quoted=False)}, which is too large')
    return number


def _constant(text: str) -> float:
    raise ValueError(f'it holds {text}, which is no number')
