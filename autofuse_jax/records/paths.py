"""Paths in records: files in the folder of the record or below it, and no others."""

import dataclasses
import os
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from autofuse_jax.records.forms import LONGEST_TEXT, FormError

# Bytes that a name may have on common file systems.
LONGEST_NAME = 255


@dataclasses.dataclass(frozen=True)
class PathInside:
    """A relative path that does not lead out of the folder it is relative to, on any system."""

    def check(self, value: Any, place: str) -> None:
        """See `forms.Form`."""
        if not isinstance(value, str) or not 0 < len(value) <= LONGEST_TEXT or not leads_inside(value):
            raise FormError(place, value, 'a path without .. inside the folder of this file')


INSIDE = PathInside()


def leads_inside(path: str) -> bool:
    """Tell whether a path is relative, has no '..' in it, and can be the name of a file.

    Args:
        path: A path as a record holds it, with the slashes of any system.
    """
    windows = PureWindowsPath(path)
    absolute = PurePosixPath(path).is_absolute() or bool(windows.drive) or bool(windows.root)
    try:
        longest = max((len(os.fsencode(part)) for part in windows.parts), default=0)
    except UnicodeEncodeError:
        return False
    return not absolute and '..' not in windows.parts and '\0' not in path and longest <= LONGEST_NAME
