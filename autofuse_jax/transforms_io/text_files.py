"""The text of a file that people and spreadsheets write: UTF-8, or UTF-16 where it begins with its mark."""

import codecs
from pathlib import Path

from autofuse_jax.errors import UserError

UTF_16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read_text(path: Path, expected: str) -> str:
    """Read a text file.

    Args:
        path: The file.
        expected: What it should be, in words for messages.

    Returns:
        Its text, without a mark.

    Raises:
        UserError: It is in another encoding, or no text.
    """
    content = path.read_bytes()
    marked = content.startswith(UTF_16_MARKS)
    try:
        text = content.decode('utf-16' if marked else 'utf-8-sig')
    except UnicodeDecodeError as error:
        raise UserError(
            f'{path} is no text in {"UTF-16" if marked else "UTF-8"} ({error.reason})',
            expected=f'{expected} in UTF-8, or in UTF-16 with its mark',
            fix='save it as UTF-8, which spreadsheets call "CSV UTF-8"',
        ) from error
    if '\0' in text:
        raise UserError(f'{path} is no text file', expected=expected, fix='check the file')
    return text
