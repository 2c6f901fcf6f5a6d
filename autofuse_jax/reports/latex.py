"""Tables for LaTeX that need no package."""

from collections.abc import Sequence

# Characters with a meaning in LaTeX, and signs that not every font encoding has.
SPECIAL = {
    '\\': r'\textbackslash{}',
    '&': r'\&',
    '%': r'\%',
    '$': r'\$',
    '#': r'\#',
    '_': r'\_',
    '{': r'\{',
    '}': r'\}',
    '~': r'\textasciitilde{}',
    '^': r'\textasciicircum{}',
    '|': r'$|$',
    '<': r'$<$',
    '>': r'$>$',
    '±': r'$\pm$',
    '–': '--',
    '−': '$-$',
}


def escape(text: str) -> str:
    """Return text as LaTeX shows it."""
    return ''.join(SPECIAL.get(character, character) for character in text)


def latex_table(head: Sequence[str], rows: Sequence[Sequence[str]], caption: str) -> str:
    """A tabular with the first column on the left and the others on the right.

    Args:
        head: Column titles.
        rows: Rows of as many cells each.
        caption: One sentence, written above as a comment.

    Returns:
        LaTeX text that ends with a line break; nothing but plain LaTeX is needed.
    """
    lines = [f'% {" ".join(caption.split())}', f'\\begin{{tabular}}{{l{"r" * (len(head) - 1)}}}', '\\hline']
    for position, row in enumerate([head, *rows]):
        line = ' & '.join(escape(str(cell)) for cell in row)
        # Behind the end of a row, LaTeX takes these for options of it.
        lines.append(('{}' if line.startswith(('[', '*')) else '') + line + r' \\')
        if position == 0:
            lines.append('\\hline')
    return '\n'.join([*lines, '\\hline', '\\end{tabular}']) + '\n'
