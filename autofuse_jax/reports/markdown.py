"""Tables and text in Markdown, in which names that people gave are shown as they are."""

import re
from collections.abc import Iterable, Sequence

MISSING = '–'
# Signs that begin something in Markdown: a star before what it would emphasise, an underscore outside of words.
SIGNS = re.compile(r'[\\`\[\]|~$]|\*(?=\S)|(?<![^\W_])_|_(?![^\W_])')
ENTITY = re.compile(r'&(?=#?\w+;)')


def markdown_text(text: str) -> str:
    """Return text for one line of Markdown, with what Markdown or HTML would take for markup escaped.

    Args:
        text: Any text, such as the name of a label or of a file.
    """
    line = ''.join(sign if sign.isprintable() else ' ' for sign in str(text))
    line = SIGNS.sub(lambda found: f'\\{found[0]}', ENTITY.sub('&amp;', line))
    return line.replace('<', '&lt;').replace('>', '&gt;')


def text_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table of cells that are text, such as names that people gave: nothing in them is markup."""
    head, *cells = [[markdown_text(cell) for cell in row] for row in (head, *rows)]
    return markdown_table(head, cells)


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table of cells in Markdown, the first column on the left and the others on the right."""
    lines = ['| ' + ' | '.join(row) + ' |' for row in (head, *rows)]
    lines.insert(1, '|' + '|'.join([':---', *['---:'] * (len(head) - 1)]) + '|')
    return '\n'.join(lines)
