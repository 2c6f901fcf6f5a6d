"""A look at an HDF5 file before its library reads it, which reads a certain kind of damage without end.

Texts of any length lie in heaps (HDF5 File Format Specification, Global Heap): the bytes 'GCOL', a version, the size of
the whole, then objects one after the other, each with its number and its size; number 0 is the free space behind them.
The library goes from one to the next by these sizes; where one is 0, or so large that the sum begins anew, it stays
there for ever.
"""

import mmap
import os
import struct
from pathlib import Path

from autofuse_jax.errors import UserError

SIGNATURE = b'GCOL\x01\0\0\0'
# The size of a heap behind its signature; number, references, filling and size of an object; in files whose sizes have
# eight bytes, as those of all libraries today.
HEAP_SIZE, OBJECT = struct.Struct('<Q'), struct.Struct('<HHIQ')
FREE, ALIGNMENT = 0, 8


def check_heaps(path: str | os.PathLike) -> None:
    """Refuse a file with a heap that the library would not come to the end of.

    Args:
        path: The file.

    Raises:
        UserError: It has such a heap.
        OSError: It cannot be read.
    """
    if Path(path).stat().st_size == 0:
        return
    with open(path, 'rb') as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        start = content.find(SIGNATURE)
        while start >= 0:
            if _has_no_end(content, start):
                raise UserError(
                    f'{path} cannot be read (the heap at byte {start} is damaged)',
                    fix='check that it was copied completely; fetch it again',
                )
            start = content.find(SIGNATURE, start + 1)


def _has_no_end(content: mmap.mmap, start: int) -> bool:
    place = start + len(SIGNATURE)
    if place + HEAP_SIZE.size > len(content):
        return False
    end = min(start + HEAP_SIZE.unpack_from(content, place)[0], len(content))
    place += HEAP_SIZE.size
    while place + OBJECT.size <= end:
        number, _, _, size = OBJECT.unpack_from(content, place)
        step = size if number == FREE else OBJECT.size + -(-size // ALIGNMENT) * ALIGNMENT
        if not 0 < step <= end - place:
            return True
        place += step
    return False
