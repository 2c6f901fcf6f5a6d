"""Compressed content read to its very end, where the checksum and the length of what was compressed stand.

Readers stop when they have the values they want, and so miss that a bit of them was flipped: gzip and zlib say it only
at the end of the stream.
"""

import gzip
import os
import re
import zlib
from pathlib import Path
from typing import Any, BinaryIO

GZIP_MAGIC = b'\x1f\x8b'
# Takes streams of zlib and of gzip.
EITHER_HEADER = zlib.MAX_WBITS | 32
# The header of a file of ITK is text; no header is longer.
LONGEST_HEADER = 1 << 20
LOCAL = 'LOCAL'


def whole_content(path: str | os.PathLike) -> bytes:
    """Return the content of a file, unpacked as often as it was packed by gzip.

    Args:
        path: The file, compressed or not, of one member or several one after the other.

    Raises:
        OSError, EOFError, zlib.error: The file cannot be read; a checksum or a length is wrong, or the end is missing.
    """
    content = Path(path).read_bytes()
    while content.startswith(GZIP_MAGIC):
        content = gzip.decompress(content)
    return content


def gzip_layers(path: str | os.PathLike) -> int:
    """Return how often a file was packed by gzip, whatever its name says; only its beginning is read."""
    layers = 0
    with open(path, 'rb') as content:
        file: Any = content
        while file.read(len(GZIP_MAGIC)) == GZIP_MAGIC:
            file.seek(0)
            file = gzip.GzipFile(fileobj=file, mode='rb')
            layers += 1
    return layers


def check_itk_values(path: str | os.PathLike) -> None:
    """Check the compressed values of a NRRD or MetaImage file, of which ITK takes as much as can be unpacked.

    Args:
        path: The file; of a header with its values in one file beside it, the header. Values that are not compressed,
            and such in several files, have no checksum and pass.

    Raises:
        OSError, EOFError, ValueError, zlib.error: A checksum is wrong, or the end is missing.
    """
    path = Path(path)
    with path.open('rb') as file:
        start = file.read(LONGEST_HEADER)
    packed, values, rest = _nrrd_values(start) if start.startswith(b'NRRD') else _meta_image_values(start)
    if not packed:
        return
    with path.open('rb') if values == LOCAL else (path.parent / values).open('rb') as file:
        file.seek(rest if values == LOCAL else 0)
        _unpack(file)


def _nrrd_values(start: bytes) -> tuple[bool, str, int]:
    """Whether values are compressed, their file, and where in this one they begin."""
    end = re.search(rb'\r?\n\r?\n', start)
    header = (start if end is None else start[: end.start()]).decode('utf-8', 'replace')
    fields = dict(re.findall(r'^([\w ]+): (.*?)\s*$', header, re.MULTILINE))
    file = fields.get('data file') or fields.get('datafile') or ''
    # Skipped bytes count before or after unpacking, and of several files each would be looked for: ITK's matter.
    usual = not {'byte skip', 'byteskip', 'line skip', 'lineskip'} & fields.keys() and not re.match(r'LIST|.*%', file)
    packed = fields.get('encoding', '').lower() in ('gz', 'gzip') and usual and (bool(file) or end is not None)
    return packed, file or LOCAL, 0 if end is None else end.end()


def _meta_image_values(start: bytes) -> tuple[bool, str, int]:
    """As `_nrrd_values`; the field that names the file is the last of the header."""
    end = re.search(rb'ElementDataFile *= *([^\r\n]*?) *\r?\n', start)
    if end is None:
        return False, LOCAL, 0
    file = end[1].decode('utf-8', 'replace')
    packed = re.search(rb'^CompressedData *= *True', start[: end.start()], re.MULTILINE | re.IGNORECASE) is not None
    return packed and not re.match(r'LIST|.*%', file), file, end.end()


def _unpack(file: BinaryIO) -> None:
    """Unpack a stream without keeping what it holds."""
    unpacking = zlib.decompressobj(EITHER_HEADER)
    while not unpacking.eof:
        block = file.read(LONGEST_HEADER)
        if not block:
            raise EOFError('the end of its compressed values is missing')
        unpacking.decompress(block)
