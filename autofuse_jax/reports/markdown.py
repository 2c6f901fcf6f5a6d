"""Tables in Markdown."""

from collections.abc import Iterable, Sequence

MISSING = '–'


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table with the first column on the left and the others on the right."""
    escape = [[str(cell).replace('|', '\\|') for cell in row] for row in (head, *rows)]
    lines = ['| ' + ' | '.join(row) + ' |' for row in escape]
    lines.insert(1, '|' + '|'.join([':---', *['---:'] * (len(head) - 1)]) + '|')
    return '\n'.join(lines)
