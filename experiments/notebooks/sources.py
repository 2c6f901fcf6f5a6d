"""The notebooks as they are written: Python files in percent format, read without any tool of Jupyter."""

import re
from pathlib import Path
from typing import NamedTuple

NOTEBOOKS = Path(__file__).resolve().parents[2] / 'notebooks'
MARKER = re.compile(r'^# %%(?P<markdown> \[markdown\])?$', re.MULTILINE)
CODE, MARKDOWN = 'code', 'markdown'


class Cell(NamedTuple):
    """A cell of a notebook.

    Attributes:
        kind: 'code' or 'markdown'.
        text: Content; for Markdown without the marks of a comment.
    """

    kind: str
    text: str


def sources() -> list[Path]:
    """Return the files of the notebooks, in their order."""
    return sorted(NOTEBOOKS.glob('*.py'))


def cells_of(path: Path) -> list[Cell]:
    """Return the cells of a notebook.

    Args:
        path: The source.

    Returns:
        The cells, what stands before the first one left out.
    """
    text = path.read_text(encoding='utf-8')
    markers = list(MARKER.finditer(text))
    ends = [marker.start() for marker in markers[1:]] + [len(text)]
    cells = []
    for marker, end in zip(markers, ends, strict=True):
        content = text[marker.end() : end].strip('\n')
        if marker['markdown']:
            lines = (line.removeprefix('#').removeprefix(' ') for line in content.splitlines())
            cells.append(Cell(MARKDOWN, '\n'.join(lines)))
        else:
            cells.append(Cell(CODE, content))
    return cells
